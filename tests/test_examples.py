"""The example loop reproduces `danlu train` with the same settings."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
from rich.console import Console

import danlu

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_train_by_hand_equals_danlu_train(tmp_path: Path) -> None:
    example = runpy.run_path(str(EXAMPLES / "train_by_hand.py"))
    rows = list(example["train"](epochs=2))
    danlu.train("digits", model="lenet", epochs=2, out=str(tmp_path / "run"), device="cpu")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    epochs = [row for row in map(json.loads, lines) if row["kind"] == "epoch"]
    assert len(rows) == len(epochs) == 2
    for row, epoch in zip(rows, epochs):
        assert row["train.loss"] == pytest.approx(epoch["train.loss"], rel=0.02)
        assert row["val.accuracy"] == pytest.approx(epoch["val.accuracy"], abs=0.02)


BRING_YOUR_OWN = runpy.run_path(str(EXAMPLES / "bring_your_own.py"))


def test_bring_your_own_has_ten_combinations() -> None:
    assert len(BRING_YOUR_OWN["COMBINATIONS"]) == 10


@pytest.mark.parametrize("title", BRING_YOUR_OWN["COMBINATIONS"])
def test_bring_your_own(title: str, tmp_path: Path) -> None:
    run = BRING_YOUR_OWN["COMBINATIONS"][title](epochs=1, out=tmp_path / "run", console=Console(quiet=True))
    assert run.metrics.last[1]
    assert run.report.exists()
    assert len(run.history) == 1
