"""The doctor at danlu's own loop: it is told the loss, hears the metrics, and its findings are said as they arise."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from torch import Tensor

from danlu.config import DoctorConfig
from danlu.data.batches import Batch
from danlu.doctor.diagnose import diagnose
from danlu.doctor.ledger import Ledger
from danlu.doctor.watch import Doctor, watch
from danlu.engine.loop import Plan, Progress, Watcher
from danlu.run import Run

MEANS = {"loss": "loss.mean", "accuracy": "accuracy.mean", "r2": "explained.mean"}  # danlu's metric -> the ledger's


class Examiner(Watcher):
    """Use as a context manager around `fit`. say: prints one line. Only the first of several processes is watched."""

    def __init__(self, plan: Plan, config: DoctorConfig, run: Run, say: Callable[[str], None]) -> None:
        optimizer = getattr(plan.optimizer, "optimizer", plan.optimizer)  # Fabric wraps it
        self.doctor: Doctor = watch(plan.module, optimizer, budget=config.budget, language=config.language)
        self.run, self.say = run, say
        self._epochs = 0

    def __enter__(self) -> Examiner:
        self.doctor.__enter__()
        self.doctor.expect_told()
        return self

    def __exit__(self, *error: object) -> None:
        self.doctor.close()
        with suppress(OSError):  # a full disk: what was measured is not worth losing the run's own error for
            self.doctor.ledger.save(self.run.ledger)
        if error[0] is not None:  # the training broke down: what the doctor knows of it is wanted now
            self.doctor.say_new(self.say)

    def on_loss(self, plan: Plan, loss: Tensor, batch: Batch) -> None:
        targets = batch.targets if isinstance(batch.targets, Tensor) else None
        self.doctor.observe(loss, None, targets)

    def on_epoch(self, plan: Plan, progress: Progress, row: dict[str, Any], improved: bool) -> None:
        self.doctor.epoch()
        self._epochs += 1  # of this process: a resumed run has more behind it
        # The doctor has seen some steps of the training, and nothing of the validation: the loop knows the whole.
        for part in ("train", "val"):
            for metric, name in MEANS.items():
                if f"{part}.{metric}" in row:
                    self.doctor.ledger.put(name, row[f"{part}.{metric}"], part, self._epochs)
        self.doctor.say_new(self.say)


def findings_of(run: Run, language: str = "en") -> list[dict[str, Any]]:
    """What the doctor says of a run by its ledger, gravest and surest first, as plain values; nothing without one."""
    if not run.ledger.exists():
        return []
    return [finding.to_dict() for finding in diagnose(Ledger.read(run.ledger), language)]
