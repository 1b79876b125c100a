"""The documentation site: links, commands, words of both languages; slow: the built site and the how-tos as they stand."""

from __future__ import annotations

import json
import os
import posixpath
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from PIL import Image

from danlu.cli import PARSER_FLAGS, main
from danlu.config import from_dict
from danlu.console.flags import FLAGS, normalised
from danlu.console.language import split_language
from danlu.console.parser import build_parsers, find_verb
from danlu.console.watch import split_program
from danlu.doctor.findings.table import FINDINGS
from danlu.message import speaking
from danlu.models.network_table import MODELS
from danlu.refuse import Refusal
from tests.browser import Browser

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tools.docs_site import entries, findings, site  # noqa: E402
from tools.docs_site.markdown import CODE, FENCE, LINK  # noqa: E402

REPOSITORY = sorted(
    page.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "experiments/*.md", "benchmarks/**/*.md", "packages/*/*.md")
    for page in ROOT.glob(pattern)
)
RUN = ["docs/start/install.md", "docs/start/photos.md", "docs/start/student.md", "docs/start/engineer.md"]
RUN += [page for page in REPOSITORY if page.startswith("docs/howto/")]
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+?)(?: \{.*\})?$", re.MULTILINE)
PLACEHOLDER = re.compile(r"[A-Z][A-Z0-9_|,.]*$|\.\.\.|…")


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def anchors(text: str) -> set[str]:
    """Ids of the headings and marks of a page."""
    plain = "".join(piece for piece in FENCE.split(text) if not piece.startswith("```"))
    slugs = {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title.lower()).strip()) for title in HEADING.findall(plain)}
    return slugs | set(re.findall(r'id="([^"]+)"', plain))


def links(text: str) -> Iterator[str]:
    """Targets of the links of a page that stay within the project."""
    for piece in FENCE.split(text):
        if not piece.startswith("```"):
            yield from (m[3] for m in LINK.finditer(CODE.sub("`code`", piece)) if "://" not in m[3])


def broken(page: str, text: str, pages: Mapping[str, str], images: set[str]) -> list[str]:
    """Links of a page of the site that lead nowhere."""
    found = []
    for target in links(text):
        path, _, anchor = target.partition("#")
        place = posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else page
        if place not in pages and place not in images:
            found.append(f"{page}: {target} does not exist")
        elif anchor and anchor not in anchors(pages.get(place, "")):
            found.append(f"{page}: {target} has no such heading")
    return found


@lru_cache
def generated() -> frozenset[str]:
    """Paths of all pages of the site, without making them."""

    def paths(tree: object) -> Iterator[str]:
        if isinstance(tree, str):
            yield tree
        for one in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
            yield from paths(one)

    return frozenset(paths(site.navigation(site.written("en"))))


@pytest.mark.parametrize("page", REPOSITORY)
def test_links_of_a_page_of_the_repository_resolve(page: str) -> None:
    for target in links(text_of(page)):
        path, _, anchor = target.partition("#")
        place = posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else page
        in_site = page.startswith("docs/") and place.removeprefix("docs/").removeprefix("zh/") in generated()
        assert (ROOT / place).exists() or in_site, f"{target} does not exist"
        if anchor and place.endswith(".md"):
            assert anchor in anchors(text_of(place)), f"{target} has no such heading"


def commands(text: str) -> Iterator[str]:
    """Commands of danlu in blocks of code and in the text."""
    for piece in FENCE.split(text):
        if piece.startswith("```"):
            lines = piece.replace("\\\n", " ").splitlines()[1:-1]
            yield from (line for line in lines if re.match(r"(\S*/)?danlu ", line))
        else:
            yield from (code.strip("`") for code in CODE.findall(piece) if re.match(r"`danlu [a-z-]", code))


english_parsers = lru_cache(build_parsers)


def parse(command: str) -> None:
    """Parse a command as danlu does. Raises Refusal for an unknown verb, flag or value of a setting."""
    words = [re.sub(r"^\[(.*)\]$", r"\1", word) for word in shlex.split(command, comments=True)[1:]]
    words = [word for word in words[: words.index(">")] if word] if ">" in words else words
    words = [word for word in words if word not in ("...", "…", "FLAGS", "RUN...", "PATH...", "--help", "all")]
    argv, _ = split_language(words)
    if not argv or PLACEHOLDER.match(argv[0]):
        return
    parser, parsers = english_parsers()
    if argv[0] in PARSER_FLAGS:
        return
    verb = find_verb(argv[0])
    if verb == "watch":  # the words after the script are the script's own
        parsers["watch"].parse_args(split_program(argv[1:])[0])
        return
    try:
        parsed, unknown = parser.parse_known_args(normalised(argv))
    except Refusal as error:
        if "must be given" in str(error) and len(argv) == 1:  # the name of a verb in a sentence
            return
        raise
    if unknown:
        raise parsers[verb].unknown(unknown[0], argv)
    given = {key: value for key, value in vars(parsed).items() if key in FLAGS and value not in (None, "")}
    from_dict({key: value for key, value in given.items() if not PLACEHOLDER.match(str(value))})


@pytest.mark.parametrize("page", [page for page in REPOSITORY if page != "CHANGELOG.md"])
def test_the_commands_of_a_page_are_commands_of_danlu(page: str) -> None:
    for command in commands(text_of(page)):
        try:
            parse(command)
        except Refusal as error:
            pytest.fail(f"{command}: {error}")


@pytest.mark.parametrize(
    "command", ["danlu trian digits", "danlu train digits --epoch 3", "danlu train x --augment much"]
)
def test_a_wrong_command_is_found(command: str) -> None:
    with pytest.raises(Refusal):
        parse(command)


def test_the_index_lists_every_howto_and_no_translated_title_is_of_another_page() -> None:
    """A title without a translation is shown in English; tools/check_messages.py lists it."""
    listed = site.HOWTO_LINK.findall(site.written("en")["howto/index.md"])
    assert sorted(listed) == sorted({page.stem for page in (ROOT / "docs" / "howto").glob("*.md")} - {"index"})
    table = tomllib.loads((ROOT / "tools" / "docs_site" / "zh.toml").read_text(encoding="utf-8"))
    project = {Path(page).stem for page in site.PROJECT.values() if page.startswith("project/")}
    for kind, names in (("howto", set(listed)), ("project", project)):
        assert {id.partition(".")[2] for id in table if id.startswith(f"{kind}.")} <= names


def test_a_page_of_the_site_is_in_chinese_where_it_is_translated_and_in_english_elsewhere() -> None:
    english, chinese = site.written("en"), site.written("zh")
    assert english.keys() == chinese.keys()
    pages = [page for page in english if page == "index.md" or page.startswith(("start/", "howto/"))]
    for page in pages:
        assert not re.search("[一-鿿]{4}", english[page])
        assert bool(re.search("[一-鿿]{4}", chinese[page])) == (ROOT / "docs" / "zh" / page).is_file(), page
    assert sum((ROOT / "docs" / "zh" / page).is_file() for page in pages) > 10


@pytest.mark.parametrize("page", [page for page in REPOSITORY if page.startswith("docs/zh/howto/")])
def test_a_chinese_howto_has_the_commands_and_links_of_the_english_one(page: str) -> None:
    """So that the commands, which are run for the English page alone, and the figures are those of both."""
    chinese, english = text_of(page), text_of(page.replace("/zh/", "/"))
    assert SHELL.findall(chinese) == SHELL.findall(english)
    linked, of_english = ([posixpath.basename(one) for one in links(text)] for text in (chinese, english))
    if page.endswith("/index.md"):  # lists the translated pages
        of_english = [one for one in of_english if (ROOT / "docs" / "zh" / "howto" / one).is_file()]
    assert linked == of_english
    figures = [sorted(re.findall(r"\d+\.\d+", text)) for text in (chinese, english)]
    assert figures[0] == figures[1]


def test_chinese_paragraphs_have_no_space_where_a_line_was_broken() -> None:
    assert (
        site.joined("一，\n二\n三。\n\n- 四：\n- 五\n\n六 `a`\n`b`\n") == "一，二三。\n\n- 四：\n- 五\n\n六 `a`\n`b`\n"
    )
    assert site.joined("```sh\n# 一。\n二\n```\n") == "```sh\n# 一。\n二\n```\n"


def test_a_page_of_a_finding_shows_no_name_of_a_field() -> None:
    text = findings._page(FINDINGS["optim.lr_too_high"])
    curves = text.partition("## From curves only")[2].partition("##")[0]
    assert "…: the steps overshoot the minimum" in curves
    assert "stands for what was measured" in curves


def test_parameters_are_counted_for_images_rows_and_clips() -> None:
    """Ten classes: LeCun et al. 1998 count 61,706 of LeNet, torchvision 31,505,325 of R(2+1)D-18 with 400."""
    assert entries.parameters("lenet") == 61_706
    assert entries.parameters("linear") == MODELS["linear"].default_input[0] * 10 + 10
    assert entries.parameters("r2plus1d-18") == 31_505_325 - 390 * 513


@pytest.mark.slow
def test_the_links_of_all_pages_resolve() -> None:
    images = {target for target in site.sources().values() if target.startswith("assets/")}
    for code in site.LANGUAGES:
        pages = site.pages(code)
        assert not [fault for page, text in pages.items() for fault in broken(page, text, pages, images)]
        with speaking(code):
            assert set(pages) == generated()


@pytest.fixture(scope="module")
def built() -> Iterator[Path]:
    """The site as `make docs` builds it; in the repository, because the builder writes nowhere else."""
    pytest.importorskip("zensical", reason="pip install danlu[docs]")
    out = ROOT / "build" / "site-test"
    site.build(out, ROOT / "build" / "pages-test")
    yield out
    shutil.rmtree(out)
    shutil.rmtree(ROOT / "build" / "pages-test")


@pytest.mark.slow
def test_the_built_site_loads_nothing_from_the_network(built: Path) -> None:
    for page in built.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert re.findall(r"""(?:\bsrc|\bsrcset)=["']?(?:https?:)?//[^"'\s>]+""", text) == []
        assert re.findall(r"""<link[^>]+href=["']?https?:[^"'\s>]+""", text) == []


@pytest.mark.slow
@pytest.mark.parametrize(("page", "query"), [("index.html", "learning rate too high"), ("zh/index.html", "过拟合")])
def test_the_search_finds_a_finding_on_a_phone_and_tables_fit(
    page: str, query: str, built: Path, tmp_path: Path
) -> None:
    handler = partial(SimpleHTTPRequestHandler, directory=built)
    results = "[...document.querySelectorAll('*')].filter(e => e.shadowRoot).flatMap("
    results += "e => [...e.shadowRoot.querySelectorAll('a')].map(a => a.href)).join(' ')"
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, Browser(tmp_path, 390, 844) as browser:
        Thread(target=server.serve_forever, daemon=True).start()
        folder = f"http://127.0.0.1:{server.server_port}/{page.removesuffix('index.html')}"
        for one in ("networks/index.html", "python/train.html", "cli/train.html", "index.html"):
            browser.open(folder + one)
            browser.wait("document.readyState == 'complete'")
            assert browser.run("document.documentElement.scrollWidth") == 390
        browser.wait("!!document.querySelector('.md-search__button')")
        browser.run("document.querySelector('.md-search__button').click()")
        browser.wait("[...document.querySelectorAll('*')].some(e => e.shadowRoot)")
        time.sleep(1)  # the field takes the focus at the end of an animation
        browser.call("Input.insertText", text=query)
        first = browser.wait(results).split()[0]
        assert first.startswith(f"{folder}findings/")
        assert browser.messages == []
        server.shutdown()


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with the things that the pages mention: photos in two classes, new photos, a script, a log, a network."""
    random = np.random.default_rng(0)
    for folder, colour in (("photos/cat", (200, 90, 60)), ("photos/dog", (60, 90, 200)), ("new", (200, 90, 60))):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(12):
            pixels = np.clip(np.array(colour) + random.normal(0, 40, (72, 72, 3)), 0, 255).astype("uint8")
            Image.fromarray(pixels).save(tmp_path / folder / f"{number}.jpg")
    network = re.search(r"```python\n(.*?)```", text_of("docs/howto/own-network.md"), re.DOTALL)
    assert network is not None
    (tmp_path / "net.py").write_text(network[1], encoding="utf-8")
    script = "import sys, torch\nassert sys.argv[1:] == ['--lr', '0.1']\nmodel = torch.nn.Linear(4, 2)\n"
    script += (
        "optimizer = torch.optim.SGD(model.parameters(), 0.1)\nfor step in range(30):\n    x = torch.randn(8, 4)\n"
    )
    script += (
        "    loss = torch.nn.functional.cross_entropy(model(x), (x[:, 0] > 0).long())\n    optimizer.zero_grad()\n"
    )
    (tmp_path / "train.py").write_text(script + "    loss.backward()\n    optimizer.step()\n", encoding="utf-8")
    rows = [f"{n},{1 / n:.3f},{1 / n if n < 5 else 0.2 * n - 0.7:.3f}" for n in range(1, 13)]
    (tmp_path / "results.csv").write_text("\n".join(["epoch,loss,val_loss", *rows]), encoding="utf-8")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_the_commands_of_a_page_run(page: str, desk: Path, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    monkeypatch.chdir(desk)
    monkeypatch.setenv("DANLU_LANG", "en")
    for line in "".join(SHELL.findall(text_of(page))).splitlines():
        words = shlex.split(line)
        words, file = (words[:-2], words[-1]) if ">" in words else (words, None)
        assert words[0] == "danlu"
        if words[1] == "watch":  # it replaces the program that calls it
            run = [sys.executable, "-m", *words]
            code = subprocess.run(run, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, check=False).returncode
        else:
            code = main(words[1:])
        out, errors = capfd.readouterr()
        assert code == 0, f"{line}: {errors[-1500:]}"
        if file:
            assert json.loads(out)
