"""The report in Chinese: no English words except names of code, and complete tables of translations."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import danlu
from danlu.advice import remedies
from danlu.config import keys
from danlu.message import message, speaking, table, translated
from danlu.report.run_report import write_page
from danlu.run.folder import Run
from danlu.run.names import metric_message

SOURCE = Path(danlu.__file__).parent
CHINESE = re.compile("[一-鿿]")
WORD = re.compile(r"[A-Za-z][A-Za-z-]+")
CODE = re.compile(r"--[\w.-]+|\w+(?:[._]\w+)+|\d\S*")  # flags, names of settings and findings, numbers
NUMBERS = re.compile(
    r"<details><summary>数据</summary>.*?</details>"
)  # of findings, under the names that rules give them
# Names that Chinese texts write in Latin letters too, and the values of the environment.
NAMES = {"danlu", "F1", "ECE", "MAE", "RMSE", "mAP", "AP", "IoU", "Top-", "TIDE", "Bolya", "MiB", "predict"}
NAMES |= {"Python", "torch", "platform", "git", "Linux", "none", "cores", "scikit-learn", "adamw", "softmax"}
UNSEEN = ("script", "style", "code", "bdi", "text", "title")  # names of classes and files, and elements without text
NAMED = ("key", "value", "name", "file", "eyebrow", "chip", "predicted", "true")


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
    settings = {str(table("zh").get(f"settings.{key}", option.text)) for key, option in keys().items()}
    told = {text: WORD.findall(CODE.sub("", text)) for text in texts if text not in settings}
    found = {text: [word for word in words if word not in NAMES | names] for text, words in told.items()}
    return {text: words for text, words in found.items() if words}


HEALING = {
    "metric": "accuracy", "before": 0.6, "after": 0.9, "command": "danlu train --config run/config.yaml --optim.lr 0.01",
    "attempts": [
        {"finding": "optim.lr_too_high", "flags": "--optim.lr 0.01", "metric": "accuracy", "before": 0.6, "after": 0.9}
        | {"difference": 0.3, "noise": 0.1, "kept": True, "why": message("verdict.better", "better by more than the noise of {seeds} seeds", seeds=3)},
    ],
    "not_tried": [{"finding": "data.leak", "why": remedies.NO_SETTING["data"]}],
    "trials": message("healing.trials", "{epochs} of {all_epochs} epochs, {seeds} seeds each, up to {max_seeds} if inconclusive", epochs=5, all_epochs=12, seeds=3, max_seeds=6),
    "stopped": None,
}  # fmt: skip
SAID = {  # sentences that the runs of the fixtures keep
    "notes": [message("split.limited", "{limit} of {samples} training samples are used", limit=3, samples=40)],
    "problems": [],
}  # fmt: skip


@pytest.mark.parametrize("kind", ["digits", "hundred", "diabetes", "shapes", "troubled-zh", "interrupted"])
def test_no_english_beneath_the_headings(kind: str, run_of: Callable[[str], Path], tmp_path: Path) -> None:
    run = tmp_path / kind
    shutil.copytree(run_of(kind), run)
    if (run / "summary.json").exists():
        summary = Run(run).read_json("summary.json", default={})
        summary["data"] |= SAID
        summary["choices"] = [
            {"key": "optim.lr", "reason": message("choice.lr.usual", "usual for {optimiser}", optimiser="adamw")}
        ]
        summary["stopped"] = message(
            "stop.patience", "no better {metric} for {epochs} epochs", metric=metric_message("accuracy"), epochs=5
        )
        summary["test_looks"] = 2
        Run(run).write_json("summary.json", summary)
        Run(run).write_json("heal.json", HEALING)
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


def test_the_tables_fit_the_messages(capsys: pytest.CaptureFixture[str]) -> None:
    """One text per id, no translation without a message, the same fields; a missing translation is no fault."""
    spec = importlib.util.spec_from_file_location("check_messages", SOURCE.parents[1] / "tools" / "check_messages.py")
    assert spec is not None
    assert spec.loader is not None
    checker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(checker)
    assert checker.main() == 0, capsys.readouterr().out
    found, families = checker.collected()
    assert len(found) > 300
    assert "metric.key." in families
    found["report.all_metrics"] = {"All {count} metrics"}
    del found["report.all_found"]
    table("zh")["report.all_metrics"] += "{other}"
    try:
        errors = checker.compared("zh", found, families)
    finally:
        table.cache_clear()
    assert [error.split(": ")[1] for error in errors] == [
        "report.all_found is the id of no message", "report.all_metrics uses ['other'], which its message has not",
    ]  # fmt: skip


def test_a_setting_needs_no_translation() -> None:
    """One that the table lacks is explained in English."""
    with speaking("zh"):
        assert translated("settings.new_setting", "Number of new things.") == "Number of new things."
        assert CHINESE.search(translated("settings.batch_size", "samples in a step"))
