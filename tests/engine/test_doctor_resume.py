"""The doctor of a resumed training has the record, the findings and the time of the whole training."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import danlu
from danlu.doctor.ledger import Ledger
from danlu.doctor.observation import budget
from danlu.engine.saving import Interrupted

QUIET = Console(quiet=True)
# Learning rate and initialisation are so wrong that there are findings.
FAULTY = {"model": "mlp", "model.width": (32,), "model.init": "normal:2", "optimizer": "sgd", "lr": 1.0, "epochs": 6}
SETTINGS = FAULTY | {"data.limit": 300, "batch_size": 30, "device": "cpu", "precision": "fp32"}
MEASURED_BY_THE_CLOCK = ("time.", "memory.", "run.seconds")


class Interrupt:
    """Interrupts the training after a number of batches."""

    def __init__(self, batches: int) -> None:
        self.left = batches

    def on_batch_end(self, *_: Any) -> None:
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)


def records(folder: Path) -> Counter[str]:
    """Every record that does not depend on time, and how often it is there."""
    kept = [r for r in Ledger.read(folder / "doctor.jsonl") if not r.name.startswith(MEASURED_BY_THE_CLOCK)]
    return Counter(json.dumps(record) for record in kept)


@pytest.fixture(scope="module")
def every_step_measured():
    """Without it, the steps that are measured depend on the time that they take."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budget.Budget, "_allowance", lambda self: 1e9)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory, every_step_measured) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    danlu.train("digits", out=str(out), console=QUIET, **SETTINGS)
    return out


@pytest.mark.parametrize("batches", [20, 37], ids=["between epochs", "inside an epoch"])
def test_a_stopped_and_resumed_training_has_the_record_of_an_unbroken_one(batches, whole, tmp_path) -> None:
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        danlu.train("digits", out=str(out), console=QUIET, callbacks=Interrupt(batches), **SETTINGS)
    before = json.loads((out / "summary.json").read_text())["timings"]["training"]
    run = danlu.train(resume=str(out), console=QUIET)
    assert records(out) - records(whole) == Counter()
    assert records(whole) - records(out) == Counter()
    unbroken = json.loads((whole / "findings.json").read_text())
    assert [one["code"] for one in unbroken]
    assert json.loads((out / "findings.json").read_text()) == unbroken
    assert run.summary.timings["training"] > before
    assert run.summary.seconds >= sum(run.summary.timings.values()) - 1e-3
    seconds = [row["seconds"] for row in run.record.of("epoch")]
    assert seconds == sorted(seconds)
