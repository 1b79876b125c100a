"""The doctor at danlu's own loop: it is told the loss, hears the metrics, and its findings are said as they arise."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from torch import Tensor

from danlu.config import Config
from danlu.data.batches import Batch
from danlu.doctor.diagnose import diagnose
from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger
from danlu.doctor.watch import Doctor, watch
from danlu.engine.loop import Plan, Progress, Watcher
from danlu.run.folder import Run
from danlu.tasks.task import Evaluation

MEANS = {"loss": "loss.mean", "accuracy": "accuracy.mean", "r2": "explained.mean"}  # danlu's metric -> the ledger's


# danlu's loss -> the doctor's name for it. Others are none of those it knows, whatever their graphs look like.
LOSS_KINDS = {"cross-entropy": "cross_entropy", "squared": "half_mse", "absolute": "l1", "huber": "huber"}


class Examiner(Watcher):
    """Use as a context manager around `fit`. say: prints one line. cured: gives a finding flags for its remedy. Only
    the first of several processes is watched."""

    def __init__(
        self,
        plan: Plan,
        config: Config,
        run: Run,
        say: Callable[[str], None],
        cured: Callable[[Finding], Finding] | None = None,
    ) -> None:
        optimizer = getattr(plan.optimizer, "optimizer", plan.optimizer)  # Fabric wraps it
        settings = config.doctor
        self.doctor: Doctor = watch(plan.called, optimizer, budget=settings.budget, language=settings.language)
        self.loss = LOSS_KINDS.get(config.loss.name or "", config.loss.name)
        self.one_answer = config.task in ("classify", "regress")  # for each sample, beside one target
        self.run, self.say, self.cured = run, say, cured
        self._epochs = 0

    def __enter__(self) -> Examiner:
        self.doctor.__enter__()
        self.doctor.expect_told(self.loss, hold_outputs=self.one_answer)
        return self

    def __exit__(self, *error: object) -> None:
        self.doctor.close()
        with suppress(OSError):  # a full disk: what was measured is not worth losing the run's own error for
            self.doctor.ledger.save(self.run.ledger)
        if error[0] is not None:  # the training broke down: what the doctor knows of it is wanted now
            self.doctor.say_new(self.say, self.cured)

    def on_loss(self, plan: Plan, loss: Tensor, batch: Batch) -> None:
        targets = batch.targets if isinstance(batch.targets, Tensor) else None
        self.doctor.observe(loss, None, targets)

    def on_validation(self, plan: Plan, evaluation: Evaluation) -> None:
        if isinstance(evaluation.outputs, Tensor) and isinstance(evaluation.targets, Tensor):
            self.doctor.validated(evaluation.outputs, evaluation.targets)

    def on_epoch(self, plan: Plan, progress: Progress, row: dict[str, Any], improved: bool) -> None:
        self.doctor.epoch()
        self._epochs += 1  # of this process: a resumed run has more behind it
        # The doctor has seen some steps of the training, and nothing of the validation: the loop knows the whole.
        for part in ("train", "val"):
            for metric, name in MEANS.items():
                if f"{part}.{metric}" in row:
                    self.doctor.ledger.put(name, row[f"{part}.{metric}"], part, self._epochs)
        self.doctor.say_new(self.say, self.cured)


def findings_of(
    run: Run, language: str = "en", cured: Callable[[Finding], Finding] | None = None
) -> list[dict[str, Any]]:
    """What the doctor says of a run by its ledger, gravest and surest first, as plain values; nothing without one."""
    if not run.ledger.exists():
        return []
    found = diagnose(Ledger.read(run.ledger), language)
    return [(cured(finding) if cured else finding).to_dict() for finding in found]
