"""The example loop reproduces `danlu train` with the same settings."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

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
