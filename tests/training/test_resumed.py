"""The first lines of a resumed training: the data, where it stands, and the findings so far."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from rich.console import Console

import danlu
from danlu.engine.saving import Interrupted
from danlu.inference.loaded_run import LoadedRun
from danlu.run.folder import Run

SETTINGS = {"model": "linear", "epochs": 4, "precision": "fp32", "channels_last": False}


@pytest.fixture
def stopped(tmp_path: Path, sigterm_at: Callable[[int], AbstractContextManager[None]]) -> Path:
    """A run that a signal stopped within an epoch, after a finding."""
    out = tmp_path / "run"
    with sigterm_at(40), pytest.raises(Interrupted):
        danlu.train("digits", out=out, console=Console(quiet=True), **SETTINGS)
    finding = {
        "code": "optim.lr_too_high",
        "severity": "warning",
        "title": "T",
        "cause": "C.",
        "remedy": "R.",
        "where": "",
    }
    Run(out).write_json("findings.json", [finding | {"confidence": 1.0, "evidence": "", "consequences": []}])
    return out


def test_a_resumed_run_keeps_the_reasons_of_its_settings(stopped: Path) -> None:
    before = json.loads((stopped / "summary.json").read_text())
    (stopped / "summary.json").unlink()  # as after kill -9
    danlu.train(resume=stopped, epochs=5, console=Console(quiet=True))
    after = json.loads((stopped / "summary.json").read_text())
    assert {"batch_size", "optim.lr"} <= {one["key"] for one in before["choices"]}
    assert after["choices"] == before["choices"]
    places = {place for place in before["messages"] if place.startswith("choices/")}
    assert {place: after["messages"][place] for place in places} == {
        place: before["messages"][place] for place in places
    }


@pytest.mark.parametrize(
    ("language", "data", "standing", "best"),
    [
        (
            "en",
            "digits: scikit-learn, 10 classes",
            "resuming {run} after {done} of 4 epochs: 41 steps in ",
            "best epoch so far: {done}",
        ),
        ("zh", "digits：", "继续 {run}：已完成 {done}/4 轮，41 步，用时 ", "目前最好的一轮：{done}"),
    ],
)
def test_a_resumed_run_says_where_it_stands(stopped: Path, language: str, data: str, standing: str, best: str) -> None:
    rows = [json.loads(line) for line in (stopped / "metrics.jsonl").read_text().splitlines()]
    done = sum(row["kind"] == "epoch" for row in rows)
    printed = io.StringIO()
    danlu.train(resume=stopped, lang=language, console=Console(file=printed, width=200))
    lines = printed.getvalue().splitlines()
    assert lines[0].startswith(data)
    assert lines[1].startswith(standing.format(run=stopped, done=done))
    assert lines[2] == best.format(done=done)
    assert re.search(r"T.*optim\.lr_too_high.*C\..*R\.", lines[3])


def test_a_run_killed_before_its_first_checkpoint_says_so(stopped: Path) -> None:
    for name in ("state.pt", "state.previous.pt", "summary.json", "metrics.jsonl", "findings.json"):
        (stopped / name).unlink(missing_ok=True)
    printed = io.StringIO()
    danlu.train(resume=stopped, console=Console(file=printed, width=200))
    lines = printed.getvalue().splitlines()
    assert lines[0].startswith("digits: ")
    assert lines[1] == f"resuming {stopped} after 0 of 4 epochs: 0 steps in 0 s"
    assert lines[2].startswith("epoch 1/4")


def test_a_run_that_was_killed_before_its_report_is_completed(digits_run: LoadedRun, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(digits_run.folder, folder)
    for name in ("report.html", "log.txt"):
        (folder / name).unlink()
    danlu.train(resume=folder, console=Console(quiet=True))
    log = (folder / "log.txt").read_text(encoding="utf-8")
    assert (folder / "report.html").exists()
    assert f"{digits_run.metrics.test['accuracy']:.4f}" in log
    assert f"report: {folder / 'report.html'}" in log
