"""Assemble the site of each language: hand-written pages, generated pages, navigation and configuration."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from danlu.console.parser import VERBS
from danlu.data.format_table import readable_formats
from danlu.detection.detector_table import DETECTORS
from danlu.doctor.presentation.cards import style
from danlu.message import speaking
from danlu.models.network_table import MODELS
from danlu.pretraining.methods import METHODS
from danlu.segmentation.segmenter_table import SEGMENTERS

from . import commands, entries, findings, python_reference
from .markdown import FENCE, relinked, slug, write
from .words import word

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = {"en": "English", "zh": "中文"}
PYTHON_MARK = "<!-- below: written by python tools/pages.py -->"
# Pages of the repository -> their place in the site. README.md is for readers of the repository; index.md is its like.
PROJECT = {
    "ARCHITECTURE.md": "project/architecture.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "docs/reliability.md": "project/reliability.md",
    "docs/networks.md": "networks/figures.md",
    "benchmarks/README.md": "project/benchmarks.md",
    "benchmarks/faults/README.md": "project/planted-faults.md",
    "packages/danlu-doctor/README.md": "project/doctor-alone.md",
}
# Pages of the repository that the site has in another form.
REPLACED = {
    "README.md": "index.md",
    "README.zh-CN.md": "index.md",
    "docs/findings.md": "findings/index.md",
    "docs/formats.md": "formats/index.md",
    "docs/python.md": "python/index.md",
    "experiments/README.md": "experiments/index.md",
}
HOWTO_LINK = re.compile(r"\]\((?:\.\./)*(?:howto/)?([\w-]+)\.md\)")
# A line break after a Chinese character or full-width mark, which browsers would show as a space.
BREAK = re.compile(r"(?<=[，。；：、！？）])\n(?![\n\s#|>*-]|\d+\. )|(?<=[一-鿿])\n(?=[一-鿿])")
FEATURES = [
    *("navigation.tabs", "navigation.indexes", "navigation.prune", "navigation.top", "navigation.footer"),
    *("search.highlight", "content.code.copy"),
]
STARTS = ("install", "photos", "student", "engineer")


def sources() -> dict[str, str]:
    """Path in the repository -> path in the site, for hand-written pages and images; the same in every language."""
    found = PROJECT | REPLACED
    for page in sorted((ROOT / "docs").glob("**/*.md")):
        path = page.relative_to(ROOT).as_posix()
        inside = path.removeprefix("docs/")
        if "/" in inside or inside == "index.md":
            found[path] = inside.removeprefix("zh/")
    found["docs/report.png"] = "assets/report.png"
    for image in sorted((ROOT / "experiments" / "images").iterdir()):
        found[image.relative_to(ROOT).as_posix()] = f"assets/experiments/{image.name}"
    return found


def written(code: str) -> dict[str, str]:
    """Hand-written pages by their path in the site; in Chinese where docs/zh/ has the page, else in English."""
    site, found = sources(), {}
    for source, target in site.items():
        chinese = source.startswith("docs/zh/")
        if source in REPLACED or not source.endswith(".md") or (chinese and code != "zh"):
            continue
        if code == "zh" and not chinese and (ROOT / "docs" / "zh" / target).is_file():
            continue
        text = (ROOT / source).read_text(encoding="utf-8")
        found[target] = relinked(joined(text) if chinese else text, source, target, site, ROOT)
    return found


def joined(text: str) -> str:
    """Chinese Markdown without line breaks inside of its paragraphs, outside of code."""
    return "".join(piece if piece.startswith("```") else BREAK.sub("", piece) for piece in FENCE.split(text))


def pages(code: str) -> dict[str, str]:
    """All pages of a language by their path in the site."""
    with speaking(code):
        python = (ROOT / "docs" / "python.md").read_text(encoding="utf-8").partition(PYTHON_MARK)[0]
        head = relinked(python, "docs/python.md", "python/index.md", sources(), ROOT)
        generated = commands.pages() | findings.pages() | entries.pages() | python_reference.pages(head)
        generated["formats/index.md"] = relinked(
            generated["formats/index.md"], "docs/formats.md", "formats/index.md", sources(), ROOT
        )
    return written(code) | generated


def navigation(found: Mapping[str, str]) -> list[Any]:
    """The tree of pages, with titles in the current language. found: all hand-written pages, at least."""
    howtos = HOWTO_LINK.findall(found["howto/index.md"])
    project = [target for target in PROJECT.values() if target.startswith("project/")]
    return [
        {word("nav.home", "Home"): "index.md"},
        {word("nav.start", "Get started"): [f"start/{name}.md" for name in STARTS]},
        {word("nav.howto", "How to"): ["howto/index.md", *_titled("howto", [f"howto/{n}.md" for n in howtos], found)]},
        {word("nav.reference", "Reference"): _reference()},
        {word("findings.short", "Findings"): _findings()},
        {word("nav.models", "Models"): _models()},
        _folder(
            word("experiments.title", "Experiments"),
            "experiments",
            {title: name for name, (title, _) in entries.experiments().items()},
        ),
        {word("nav.project", "Project"): _titled("project", project, found)},
    ]


def _titled(kind: str, paths: Sequence[str], found: Mapping[str, str]) -> list[Any]:
    """Pages by a title in the current language: the heading of the page where there is no other."""
    headings = {path: found[path].partition("\n")[0].removeprefix("# ") for path in paths}
    return [{word(f"{kind}.{Path(path).stem}", heading): path} for path, heading in headings.items()]


def _folder(title: str, folder: str, names: Iterable[str] | Mapping[str, str]) -> dict[str, Any]:
    """The index of a folder, then its pages. names: of the entries; or title -> name."""
    titles = names if isinstance(names, Mapping) else {name: name for name in names}
    return {title: [f"{folder}/index.md", *({one: f"{folder}/{slug(name)}.md"} for one, name in titles.items())]}


def _reference() -> list[Any]:
    python = _folder("Python", "python", python_reference.documented())
    python["Python"].insert(1, {word("python.settings_title", "Settings"): "python/settings.md"})
    formats = [name.replace(" ", "-") for name in readable_formats()]
    return [
        _folder(word("cli.title", "Command line"), "cli", list(VERBS)),
        python,
        _folder(word("formats.title", "Data formats"), "formats", formats),
    ]


def _findings() -> list[Any]:
    families = findings.families().items()
    return [
        "findings/index.md",
        *({family: [{code: f"findings/{code}.md"} for code in codes]} for family, codes in families),
    ]


def _models() -> list[Any]:
    title = word("networks.title", "Networks")
    networks = _folder(title, "networks", list(MODELS))
    figures = word("networks.figures", "Measured and published figures")
    networks[title].insert(1, {figures: "networks/figures.md"})
    return [
        networks,
        _folder(word("detectors.title", "Detectors"), "detectors", list(DETECTORS)),
        _folder(word("segmenters.title", "Semantic segmentation"), "segmenters", list(SEGMENTERS)),
        _folder(word("methods.title", "Pretraining"), "pretraining", list(METHODS)),
    ]


def configuration(code: str, found: Mapping[str, str]) -> dict[str, Any]:
    """Configuration of the builder for one language."""
    other = {"en": ("index.html", "zh/index.html"), "zh": ("../index.html", "index.html")}[code]
    alternate = [{"name": name, "lang": lang, "link": path} for (lang, name), path in zip(LANGUAGES.items(), other)]
    with speaking(code):
        tree = navigation(found)
        about = word("site.about", "Train vision models from one command and find out what is wrong with a training")
    return {
        "site_name": "danlu 丹炉",
        "site_description": about,
        "docs_dir": "pages",
        "site_dir": "site",
        "use_directory_urls": False,
        "theme": {
            "name": "material",
            "variant": "classic",
            "language": code,
            "font": False,
            "features": FEATURES,
            "palette": [
                {"media": "(prefers-color-scheme: light)", "scheme": "default", "primary": "white", "accent": "red"},
                {"media": "(prefers-color-scheme: dark)", "scheme": "slate", "primary": "black", "accent": "red"},
            ],
        },
        "plugins": [{"search": {"lang": [code] if code == "en" else [code, "en"]}}],
        "markdown_extensions": [
            "admonition", "attr_list", "def_list", "md_in_html", "tables", "pymdownx.details", "pymdownx.superfences",
            {"toc": {"permalink": True}}, {"pymdownx.highlight": {"use_pygments": True}}, "pymdownx.inlinehilite",
        ],
        "extra": {"alternate": alternate, "generator": False},
        "extra_css": ["assets/site.css"],
        "nav": tree,
    }  # fmt: skip


def build(out: Path, work: Path) -> None:
    """Write both sites to `out`. work: folder for the pages that the builder reads; emptied first."""
    for folder in (work, out):
        shutil.rmtree(folder, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    for code in LANGUAGES:
        place = work / code
        found = pages(code)
        write(place / "pages", found)
        for source, target in sources().items():
            if target.startswith("assets/"):
                (place / "pages" / target).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / source, place / "pages" / target)
        own = Path(__file__).with_name("site.css").read_text(encoding="utf-8")
        (place / "pages" / "assets" / "site.css").write_text(f"{style()}\n{own}", encoding="utf-8")
        config = configuration(code, found)
        text = yaml.safe_dump(config, allow_unicode=True, sort_keys=False)
        (place / "mkdocs.yml").write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", str(place / "mkdocs.yml")]
        subprocess.run(command, check=True, cwd=place)
        shutil.move(place / "site", out if code == "en" else out / code)
