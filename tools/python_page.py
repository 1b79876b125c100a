"""The reference part of docs/python.md, from signatures and docstrings; written by tools/pages.py."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from pathlib import Path
from typing import Any

import danlu
from danlu.config import SHORT, keys
from danlu.data.dataset import Dataset
from danlu.doctor.finding import Finding
from danlu.doctor.watch import PUBLIC as DOCTOR_PUBLIC
from danlu.doctor.watch import Doctor
from danlu.inference.loaded_run import PUBLIC as RUN_PUBLIC
from danlu.inference.loaded_run import LoadedRun
from danlu.inference.prediction import Prediction
from danlu.own.callbacks import Callback, TrainingState

PAGE = Path(__file__).resolve().parents[1] / "docs" / "python.md"
FUNCTIONS = [name for name in danlu.__all__ if inspect.isfunction(getattr(danlu, name))]
MARK = "<!-- below: written by python tools/pages.py -->"


def page() -> str:
    """The whole page: its head as it is, and the reference."""
    parts = [PAGE.read_text(encoding="utf-8").partition(MARK)[0] + MARK, "", "## Functions\n"]
    parts += [_function(name) for name in FUNCTIONS]
    parts += [_class("The run", LoadedRun, RUN_PUBLIC), _fields("Prediction", Prediction), _fields("Finding", Finding)]
    parts += [_class("The doctor of `danlu.watch`", Doctor, DOCTOR_PUBLIC)]
    parts += [_class("Callback", Callback, [n for n in vars(Callback) if n.startswith("on_")])]
    parts += [_fields("TrainingState", TrainingState), _fields("Dataset", Dataset), _settings()]
    return "\n".join(parts)


def _function(name: str) -> str:
    function = getattr(danlu, name)
    return f"### danlu.{name}\n\n```\n{name}{_signature(function)}\n```\n\n```text\n{_doc(function)}\n```\n"


def _signature(function: Any) -> str:
    """One parameter a line, as it is written."""
    named = inspect.signature(function).parameters.values()
    # Annotations are texts, which `str` shows in quotes.
    parameters = [str(p).replace(repr(p.annotation), str(p.annotation), 1) for p in named]
    star = next((i for i, p in enumerate(named) if p.kind is p.KEYWORD_ONLY), None)
    if star is not None and not any(p.kind is p.VAR_POSITIONAL for p in named):
        parameters.insert(star, "*")
    text = ", ".join(parameters)
    return f"({text})" if len(text) < 100 else "(\n    " + ",\n    ".join(parameters) + ",\n)"


def _doc(thing: Any) -> str:
    return inspect.cleandoc(thing.__doc__ or "")


def _class(title: str, kind: type, names: Any) -> str:
    rows = []
    for name in names:
        member = inspect.getattr_static(kind, name, None)
        text = _doc(member).partition("\n\n")[0].replace("\n", " ").replace("|", "\\|") if member is not None else ""
        call = "()" if inspect.isfunction(member) else ""
        rows.append(f"| `{name}{call}` | {text} |")
    return f"### {title}\n\n{_doc(kind)}\n\n| name | content |\n|---|---|\n" + "\n".join(rows) + "\n"


def _fields(title: str, kind: type) -> str:
    names = ", ".join(f"`{one.name}`" for one in dataclasses.fields(kind))
    return f"### {title}\n\n{names}\n\n```text\n{_doc(kind)}\n```\n"


def _settings() -> str:
    short = {key: name for name, key in SHORT.items()}
    rows = []
    for key, setting in keys().items():
        name = f"`{key}`" + (f", `{short[key]}`" if key in short else "")
        text = setting.text.replace("|", "\\|")
        default = "" if setting.default is None else f"`{setting.default}`"
        rows.append(f"| {name} | {default} | {text} |")
    head = "## Settings\n\nEvery setting by its dotted name and its short one; without a default, danlu chooses.\n\n"
    return head + "| setting | default | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE, file=sys.stderr)
