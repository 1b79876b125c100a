"""Pages of networks, detectors, segmentation networks, methods of pretraining, data formats and experiments."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch

from danlu.config import keys
from danlu.console.flags import setting_text
from danlu.conversion.writers import TARGETS
from danlu.data.format_document import PEERS
from danlu.data.format_spec import FormatSpec
from danlu.data.format_table import readable_formats
from danlu.detection.detector_table import DETECTORS, DetectorSpec
from danlu.models.network_table import MODELS, build_model
from danlu.models.spec import NetworkSpec
from danlu.pretraining.methods import METHODS, MethodSpec
from danlu.segmentation.segmenter_table import SEGMENTERS, SegmenterSpec

from .markdown import fenced, link, prose, slug, table, term
from .words import word

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENT = re.compile(r"^## (?P<title>.+): `python (?P<script>experiments/\w+\.py)`$", re.MULTILINE)


def pages() -> dict[str, str]:
    """Path in the site -> Markdown, in the current language."""
    return _networks() | _detectors() | _segmenters() | _methods() | _formats() | _experiments()


def _networks() -> dict[str, str]:
    title = word("networks.title", "Networks")
    intro = word(
        "networks.intro",
        "Networks for `--model`, and backbones for `--backbone` where they have stages. Any `timm/NAME` or "
        "`torchvision/NAME` works as well. Parameters are counted for ten classes at the default input.",
    )
    head = (
        word("networks.name", "name"), word("entries.about", "description"),
        word("networks.parameters", "parameters"), word("networks.paper", "source"),
    )  # fmt: skip
    rows = [
        (
            link(f"`{name}`", f"networks/{slug(name)}.md", "networks/index.md"),
            prose(s.description),
            f"{parameters(name):,}",
            s.paper,
        )
        for name, s in MODELS.items()
    ]
    figures = link(
        word("networks.figures", "Measured and published figures"), "networks/figures.md", "networks/index.md"
    )
    found = {"networks/index.md": f"# {title}\n\n{intro}\n\n{figures}.\n\n{table(head, rows)}"}
    return found | {f"networks/{slug(name)}.md": _network(name, spec) for name, spec in MODELS.items()}


def _network(name: str, spec: NetworkSpec) -> str:
    here = f"networks/{slug(name)}.md"
    shape = "x".join(map(str, spec.default_input))
    limits = (
        ", ".join(map(str, spec.sizes)) if spec.sizes else word("networks.from", "from {side} px", side=spec.min_size)
    )
    if spec.multiple > 1 and not spec.sizes:
        limits += word("networks.multiple", ", a multiple of {multiple}", multiple=spec.multiple)
    kin = [other for other, s in MODELS.items() if s.family == spec.family and other != name]
    facts = [
        (word("networks.source", "Source"), spec.paper),
        (word("networks.family", "Family"), ", ".join(link(f"`{o}`", f"networks/{slug(o)}.md", here) for o in kin)),
        (word("networks.default", "Default input"), shape),
        (word("networks.sides", "Image sides"), "" if spec.tabular else limits),
        (word("networks.count", "Parameters (ten classes, default input)"), f"{parameters(name):,}"),
    ]
    parts = [f"# {name}\n", prose(spec.description) + "\n", _built(spec.build), _facts(facts)]
    parts.append(fenced(f"danlu train DATA --model {name}\ndanlu inspect {name} --input {shape}", "sh"))
    parts += _options(spec.options, "model")
    figures = [line for line in _figures().splitlines() if line.split("|")[2:3] == [f" {name} "]]
    if figures:
        head = next(line for line in _figures().splitlines() if line.startswith("| data "))
        columns = "|".join("---" for _ in head.strip("|").split("|"))
        parts += [f"## {word('networks.measured', 'Measured')}\n", "\n".join([head, f"|{columns}|", *figures]) + "\n"]
        parts.append(link(word("networks.how", "How they were measured"), "networks/figures.md", here) + ".\n")
    return "\n".join(parts)


@lru_cache
def parameters(name: str) -> int:
    """Number of parameters for ten classes (or values) at the default input of a network, built without memory."""
    shape = MODELS[name].default_input
    if len(shape) == 1:
        inputs = {"inputs": shape[0]}
    else:  # (C, H, W) of images, (T, C, H, W) of clips
        inputs = {"channels": shape[-3], "size": shape[-1], "frames": shape[0] if len(shape) == 4 else None}
    with torch.device("meta"):
        return sum(p.numel() for p in build_model(name, classes=10, **inputs).parameters())


@lru_cache
def _figures() -> str:
    return (ROOT / "docs" / "networks.md").read_text(encoding="utf-8")


def _built(build: Callable[..., Any]) -> str:
    """The docstring of a constructor; "" where it is a class or function of a library without one of its own."""
    made = build.func if isinstance(build, partial) else build
    text = inspect.cleandoc(getattr(made, "__doc__", None) or "")
    return prose(text.partition("\n\nArgs:")[0]) + "\n" if text else ""


def _facts(facts: list[tuple[str, Any]]) -> str:
    return "\n".join(f"- **{name}**: {value}" for name, value in facts if value) + "\n"


def _options(names: tuple[str, ...], section: str) -> list[str]:
    """Settings that an entry takes, with their descriptions."""
    known = [name for name in dict.fromkeys(names) if f"{section}.{name}" in keys()]
    terms = [
        term(f"`--{section}.{name.replace('_', '-')}`", prose(str(setting_text(f"{section}.{name}")))) for name in known
    ]
    return [f"## {word('entries.options', 'Options')}\n", *terms] if terms else []


def _index(kind: str, title: str, intro: str, described: Mapping[str, str]) -> str:
    here = f"{kind}/index.md"
    rows = [(link(f"`{name}`", f"{kind}/{slug(name)}.md", here), prose(text)) for name, text in described.items()]
    return f"# {title}\n\n{intro}\n\n" + table(
        (word("networks.name", "name"), word("entries.about", "description")), rows
    )


def _detectors() -> dict[str, str]:
    intro = word(
        "detectors.intro",
        "Detectors for `--task detect` (boxes), `--task segment` (masks) and `--task pose`; `--backbone NAME` sets "
        "the backbone of those that have one.",
    )
    described = {name: spec.description for name, spec in DETECTORS.items()}
    found = {"detectors/index.md": _index("detectors", word("detectors.title", "Detectors"), intro, described)}
    return found | {f"detectors/{slug(name)}.md": _detector(name, spec) for name, spec in DETECTORS.items()}


def _detector(name: str, spec: DetectorSpec) -> str:
    here = f"detectors/{slug(name)}.md"
    task = "segment" if spec.masks else "pose" if spec.poses else "detect"
    backbone = (
        link(f"`{spec.backbone}`", f"networks/{slug(spec.backbone)}.md", here)
        if spec.backbone in MODELS
        else spec.backbone
    )
    stages = (
        word("detectors.two", "proposes regions, then classifies them")
        if spec.two_stages
        else word("detectors.one", "one")
    )
    light = f"`{spec.light_backbone}`" if spec.light_backbone else ""
    sides = spec.size or word("detectors.sides", "multiples of {side} px", side=spec.multiple)
    facts = [
        (word("detectors.tasks", "Task"), f"`{task}`"),
        (word("detectors.backbone", "Default backbone"), backbone),
        (word("detectors.light", "Backbone on a CPU without pretrained weights"), light),
        (word("detectors.stages", "Stages"), stages),
        (word("networks.sides", "Image sides"), sides),
        (word("detectors.nms", "IoU threshold of non-maximum suppression"), spec.nms_iou),
    ]
    parts = [f"# {name}\n", prose(spec.description) + "\n", _built(spec.build), _facts(facts)]
    parts.append(fenced(f"danlu train DATA --task {task} --model {name}", "sh"))
    return "\n".join([*parts, *_options(spec.options, "detect")])


def _segmenters() -> dict[str, str]:
    intro = word("segmenters.intro", "Networks for `--task semantic`: a class for each pixel.")
    described = {name: spec.description for name, spec in SEGMENTERS.items()}
    title = word("segmenters.title", "Semantic segmentation")
    found = {"segmenters/index.md": _index("segmenters", title, intro, described)}
    return found | {f"segmenters/{slug(name)}.md": _segmenter(name, spec) for name, spec in SEGMENTERS.items()}


def _segmenter(name: str, spec: SegmenterSpec) -> str:
    facts = [
        (word("detectors.backbone", "Default backbone"), f"`{spec.backbone}`" if spec.backbone else ""),
        (word("networks.sides", "Image sides"), word("detectors.sides", "multiples of {side} px", side=spec.multiple)),
        (word("segmenters.lr", "Default learning rate"), spec.lr),
    ]
    parts = [f"# {name}\n", prose(spec.description) + "\n", _built(spec.build), _facts(facts)]
    return "\n".join([*parts, fenced(f"danlu train DATA --task semantic --model {name}", "sh")])


def _methods() -> dict[str, str]:
    intro = word("methods.intro", "Methods for `danlu pretrain DATA --method NAME`: features of images without labels.")
    described = {name: _summary(spec.build) for name, spec in METHODS.items()}
    found = {"pretraining/index.md": _index("pretraining", word("methods.title", "Pretraining"), intro, described)}
    return found | {f"pretraining/{name}.md": _method(name, spec) for name, spec in METHODS.items()}


def _made(build: Callable[..., Any]) -> type:
    """The class that the function of a method builds."""
    names = [name for name in build.__code__.co_names if inspect.isclass(build.__globals__.get(name))]
    return next(build.__globals__[name] for name in reversed(names) if name.lower() in build.__name__)


def _summary(build: Callable[..., Any]) -> str:
    return " ".join(inspect.cleandoc(_made(build).__doc__ or "").partition("\n\n")[0].split())


def _method(name: str, spec: MethodSpec) -> str:
    facts = [
        (word("methods.views", "Compares two views of each image"), word("methods.yes", "yes") if spec.views else ""),
        (word("methods.mask", "Fraction of hidden patches"), spec.mask),
        (word("methods.backbone", "Backbone"), word("methods.vit", "a vision transformer") if spec.transformer else ""),
    ]
    parts = [f"# {name}\n", _built(_made(spec.build)), _facts(facts)]
    parts.append(fenced(f"danlu pretrain DATA --method {name}\ndanlu train DATA --init runs/1", "sh"))
    return "\n".join([*parts, *_options(spec.options, "pretrain")])


def _formats() -> dict[str, str]:
    intro = word(
        "formats.intro",
        "danlu recognises the format by the files; `--format NAME` sets it, and `danlu describe DATA` prints the "
        "evidence. The first task is the default, `--task NAME` sets another. SPLIT is any usual name of a split "
        "(train, training, val, valid, test, ...); folders may be nested.",
    )
    described = {name.replace(" ", "-"): form.description for name, form in readable_formats().items()}
    index = _index("formats", word("formats.title", "Data formats"), intro, described) + PEERS
    return {"formats/index.md": index} | {
        f"formats/{slug(name)}.md": _format(name.replace(" ", "-"), form) for name, form in readable_formats().items()
    }


def _format(name: str, form: FormatSpec) -> str:
    facts = [
        (word("formats.tasks", "Tasks"), ", ".join(f"`{task}`" for task in form.tasks)),
        (word("formats.reader", "Read by"), form.reader),
        (word("formats.tests", "Tested in"), f"`tests/data/{form.tests}`"),
        (word("formats.sets", "Tested on"), form.sets),
        (
            word("formats.request", "Recognised"),
            word("formats.only", "only with `--format`") if form.on_request else "",
        ),
    ]
    parts = [
        f"# {name}\n",
        prose(form.description) + "\n",
        f"## {word('formats.files', 'Files')}\n",
        fenced(form.layout),
    ]
    parts += [_facts(facts), fenced(f"danlu describe DATA --format {name}\ndanlu train DATA --format {name}", "sh")]
    if name in TARGETS:
        parts += [
            word("formats.write", "Write other data in this format:") + "\n",
            fenced(f"danlu convert DATA --to {name}", "sh"),
        ]
    return "\n".join(parts)


def experiments() -> dict[str, tuple[str, str]]:
    """Name -> title and Markdown of the section of experiments/README.md, in its order."""
    text = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
    found = list(EXPERIMENT.finditer(text))
    ends = [match.start() for match in found[1:]] + [len(text)]
    return {
        Path(match["script"]).stem: (match["title"], text[match.end() : end].strip()) for match, end in zip(found, ends)
    }


def _experiments() -> dict[str, str]:
    found: dict[str, str] = {}
    for name, (title, text) in experiments().items():
        script = (ROOT / "experiments" / f"{name}.py").read_text(encoding="utf-8")
        body = text.replace("](images/", "](../assets/experiments/")
        code = "\n".join(f"    {line}" if line else "" for line in fenced(script, "python").splitlines())
        folded = f'??? note "{word("experiments.script", "The script")}"\n\n{code}\n'
        run = fenced(f"python experiments/{name}.py", "sh")
        found[f"experiments/{slug(name)}.md"] = f"# {title}\n\n{run}\n{body}\n\n{folded}"
    rows = [
        (link(title, f"experiments/{slug(name)}.md", "experiments/index.md"), f"`python experiments/{name}.py`")
        for name, (title, _) in experiments().items()
    ]
    intro = word(
        "experiments.intro",
        "Claims of the lecture notes behind danlu. Each script prints its figures and draws one chart; where the notes "
        "are wrong, it shows the correct claim. `--quick` runs a small version.",
    )
    head = (word("experiments.claim", "experiment"), word("cli.command", "command"))
    found["experiments/index.md"] = f"# {word('experiments.title', 'Experiments')}\n\n{intro}\n\n{table(head, rows)}"
    return found
