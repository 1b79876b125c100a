"""The page in Chinese: no English word beneath its headings but names of code; the tables of words whole and alive."""

from __future__ import annotations

import ast
import json
import re
import shutil
from collections.abc import Callable, Iterator
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import danlu
from danlu.advice import remedies
from danlu.config import keys
from danlu.engine import wording as progress
from danlu.printing import wording as verbs
from danlu.report import explanations, retelling, wording
from danlu.report.page import write_page
from danlu.run.quantities import LOSS_PARTS

SOURCE = Path(danlu.__file__).parent
TABLES = {"report": wording.ZH, "retelling": retelling.ZH, "engine": progress.ZH, "verbs": verbs.ZH}
CHINESE = re.compile("[一-鿿]")
WORD = re.compile(r"[A-Za-z][A-Za-z-]+")
CODE = re.compile(r"--[\w.-]+|\w+(?:[._]\w+)+|\d\S*")  # flags, names of settings and findings, numbers
NUMBERS = re.compile(
    r"<details><summary>数据</summary>.*?</details>"
)  # of findings, under the names that rules give them
# Names that Chinese books write so as well, and what a run's environment is made of.
NAMES = {"danlu", "F1", "ECE", "MAE", "RMSE", "mAP", "AP", "IoU", "Top-", "TIDE", "Bolya", "MiB", "predict"}
NAMES |= {"Python", "torch", "platform", "git", "Linux", "none", "cores", "scikit-learn", "adamw"}
UNSEEN = ("script", "style", "code", "bdi", "text", "title")  # class and file names, and what is no text
NAMED = ("key", "value", "name", "file", "eyebrow", "chip", "said", "true")
# Made of parts, or of a constant: how the code has it.
MADE = {"{}; {}": "; ", "not copied: {}": "not copied: ", "of no use here: {}": "of no use here: "}
MADE |= {"interrupted by {}": "{} by {}", "a signal": "{} by a signal", "the latest by {}": "the latest by {column}"}
MADE |= {"whole groups of {}": "whole groups of {column}"}


class Page(HTMLParser):
    """The texts of a page that are the page's own: no code, no names."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._open: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        hidden = tag in UNSEEN or any(kind in NAMED for kind in (given.get("class") or "").split())
        self.texts += [given[key] or "" for key in ("aria-label",) if key in given]
        if tag not in ("meta", "img", "br", "image", "use", "rect", "path", "input"):
            self._open.append((tag, hidden))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if data.strip() and not any(hidden for _, hidden in self._open):
            self.texts.append(data.strip())


def drawn(value: Any, key: str = "") -> Iterator[str]:
    """The words of a figure."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from drawn(item, name)
    elif isinstance(value, list) and key not in ("x", "y", "tickvals", "ticktext", "customdata"):  # names of classes
        for item in value:
            yield from drawn(item, key)
    elif isinstance(value, str) and key in ("text", "name", "hovertemplate"):
        yield re.sub(r"%\{[^}]*\}|<[^>]*>", " ", value)


def remedies_of(run: Path) -> set[str]:
    """Words of the remedies, which can be pasted: code and flags."""
    found = json.loads((run / "findings.json").read_text(encoding="utf-8")) if (run / "findings.json").exists() else []
    return {word for finding in found for word in WORD.findall(CODE.sub("", str(finding["remedy"])))}


def strange(page: str, names: set[str]) -> dict[str, list[str]]:
    """Text -> English words in it that are no names."""
    parser = Page()
    parser.feed(NUMBERS.sub("", page))
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', page, re.DOTALL)[1])  # type: ignore[index]
    texts = [*parser.texts, *drawn(figures)]
    told = {text: WORD.findall(CODE.sub("", text)) for text in texts if text not in explanations.ZH.values()}
    found = {text: [word for word in words if word not in NAMES | names] for text, words in told.items()}
    return {text: words for text, words in found.items() if words}


HEALING = {
    "metric": "accuracy", "before": 0.6, "after": 0.9, "command": "danlu train --config run/config.yaml --optim.lr 0.01",
    "attempts": [
        {"finding": "optim.lr_too_high", "flags": "--optim.lr 0.01", "metric": "accuracy", "before": 0.6, "after": 0.9}
        | {"difference": 0.3, "noise": 0.1, "kept": True, "why": "better by more than the noise of 3 seeds"},
    ],
    "not_tried": [{"finding": "data.leak", "why": remedies.NO_SETTING["data"]}],
    "trials": "5 of 12 epochs on 500 of 1,000 samples, 3 seeds each, 6 in doubt", "stopped": None,
}  # fmt: skip
SAID = {  # what the runs of the fixtures say of themselves, in sentences of danlu's own
    "notes": ["3 of 40 images are without objects and kept", "column 'a' looks like dates; it is read as text"],
    "problems": [{"where": "a/7.png", "reason": "empty file"}, {"where": "b.csv line 3", "reason": "no value in target column 'y'"}],
}  # fmt: skip


@pytest.mark.parametrize("kind", ["digits", "hundred", "diabetes", "shapes", "troubled-zh", "interrupted"])
def test_no_english_beneath_the_headings(kind: str, run_of: Callable[[str], Path], tmp_path: Path) -> None:
    run = tmp_path / kind
    shutil.copytree(run_of(kind), run)
    if (run / "summary.json").exists():
        summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
        summary["data"] |= SAID
        summary["choices"] = [{"key": "optim.lr", "reason": "usual for adamw"}]
        summary["stopped"] = "no better accuracy for 5 epochs"
        summary["test_looks"] = 2
        (run / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
        (run / "heal.json").write_text(json.dumps(HEALING), encoding="utf-8")
        if kind == "diabetes":  # its findings are made by hand, in English
            (run / "findings.json").write_text("[]", encoding="utf-8")
    page = write_page(run, "zh").read_text(encoding="utf-8")
    classes = {"circle", "square", "triangle", "class", *re.findall("[a-z]-[a-j]", page)}
    models = {"linear", "yolo-nano", "digits", "diabetes", "shapes", "drawn", kind}
    assert strange(page, classes | models | remedies_of(run)) == {}
    assert '<html lang="zh">' in page


def test_a_real_training_in_chinese(tmp_path: Path) -> None:
    """Its reasons and notes are those that the code makes, not a fixture's."""
    settings = {
        "model": "mlp",
        "epochs": 2,
        "lr": 3.0,
        "augment": "none",
        "device": "cpu",
        "out": str(tmp_path / "run"),
    }
    run = danlu.train("digits", lang="zh", console=Console(quiet=True), **settings)
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    environment = json.loads((run.folder / "environment.json").read_text(encoding="utf-8"))
    machine = {word for pair in environment.items() for text in pair for word in WORD.findall(text)}
    # Which findings there are hangs on the time that the doctor had; their words have tests of their own.
    page = re.sub(r"<article.*?</article>", "", page, flags=re.DOTALL)
    assert strange(page, machine | {"mlp", "digits", "run"}) == {}


@lru_cache
def templates() -> set[str]:
    """Every text in the code, what is put into it as `{}`; but for the tables themselves and docstrings."""
    found: set[str] = set()
    tables = {Path(module.__file__ or "") for module in (wording, retelling, progress, verbs, explanations)}
    for path in SOURCE.rglob("*.py"):
        if path in tables or "doctor" in path.relative_to(SOURCE).parts[:1]:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
                found.add("".join(map(str, parts)))
    return found


@pytest.mark.parametrize("name", TABLES)
def test_no_row_is_dead(name: str) -> None:
    there = templates() | {part.replace("_", " ") for part in LOSS_PARTS}
    there |= {f"{part.replace('_', ' ').capitalize()} loss" for part in LOSS_PARTS}
    assert [words for words in TABLES[name] if words not in there and MADE.get(words) not in there] == []


@pytest.mark.parametrize("room", ["report", "engine", "verbs"])
def test_all_that_is_said_is_there_in_chinese(room: str) -> None:
    table = TABLES[room] | (TABLES["engine"] if room == "verbs" else {})
    said = []
    for path in (SOURCE / room).glob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        first = [call.args[0] for call in calls if getattr(call.func, "id", "") == "say" and call.args]
        said += [node.value for node in first if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert [words for words in said if words not in table] == []
    assert len(said) > 5


def test_every_reason_of_a_choice_can_be_retold() -> None:
    """The reasons stand in choose.py and nowhere else: every text of it of several words, and `pick`'s last."""
    tree = ast.parse((SOURCE / "choose.py").read_text(encoding="utf-8"))
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
    spoken = {ast.get_docstring(node, clean=False) for node in blocks}
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    found = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in parts}
    found = {text for text in found if isinstance(text, str) and " " in text and text not in spoken}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
            found |= {text} if " " in text else set()
    assert {text for text in found if text not in retelling.ZH} == set()
    assert len(found) > 40


@pytest.mark.parametrize("reason", [*remedies.NO_SETTING.values(), remedies.why_not("")])
def test_why_no_setting_is_tried_can_be_retold(reason: str) -> None:
    assert reason in retelling.ZH


def test_every_setting_is_explained() -> None:
    assert [*explanations.ZH] == [*keys()]
    plain = {key for key, text in explanations.ZH.items() if not CHINESE.search(text)}
    assert all(explanations.ZH[key] == keys()[key].text for key in plain)


@pytest.mark.parametrize("name", TABLES)
def test_translations_take_the_same_values(name: str) -> None:
    """Each value once, in any order; "image{}" takes the English plural, which Chinese has not."""
    for english, chinese in TABLES[name].items():
        count = english.count("{}")
        used = re.findall(r"(?<!%)\{(\d*)\}", chinese)
        places = sorted(int(number) if number else i for i, number in enumerate(used))
        dropped = 1 if "{} image{}" in english else 0
        assert len(set(places)) == len(places) == count - dropped, english
        assert re.findall(r"%\{[^}]*\}", english) == re.findall(r"%\{[^}]*\}", chinese), english
