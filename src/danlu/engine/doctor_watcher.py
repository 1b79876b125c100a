"""The doctor as a watcher of danlu's own training loop: it gets losses and metrics, and findings are printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from torch import Tensor

from danlu.config import Config
from danlu.data.batches import Batch
from danlu.data.dataset import Dataset
from danlu.doctor.diagnose import diagnose
from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger
from danlu.doctor.observation.predictions import contradicted
from danlu.doctor.static_checks import MAX_NAMED
from danlu.doctor.watch import Doctor, watch
from danlu.engine.loop import Plan, Progress, Watcher
from danlu.objects import IGNORE
from danlu.pretraining.methods import METHODS
from danlu.refuse import Failure
from danlu.run.folder import Run
from danlu.task_spec import TASKS
from danlu.tasks.task import Evaluation, RecordedTask
from danlu.user_objects import find, is_own

# Metrics of pretraining -> names in the ledger.
PRETRAINING_NAMES = {name: f"pretrain.{name}" for name in ("loss", "baseline", "std", "rank", "constant")}
LEDGER_NAMES = {  # by danlu's metric names
    "loss": "loss.mean",
    "accuracy": "accuracy.mean",
    "r2": "explained.mean",
    "rotation_loss": "pose.rotation_loss",
    "found": "pose.found",
}
# Targets of the task -> the doctor's names of danlu's losses. Other losses have no name there, even if their
# graphs are similar.
LOSS_KINDS = {
    "class": {"cross-entropy": "cross_entropy"},
    "labels": {"binary-cross-entropy": "bce_logits"},
    "numbers": {"squared": "half_mse", "absolute": "l1", "huber": "huber"},
}


class DoctorWatcher(Watcher):
    """Runs the doctor on a training; use as a context manager around `fit`.

    say: prints one line. fix: adds the flags that fix a finding. restored: state of the doctor in
    the checkpoint that the training continues from. dataset: names the samples in findings. With several
    processes only the first is watched.
    """

    def __init__(
        self,
        plan: Plan,
        config: Config,
        run: Run,
        say: Callable[[str], None],
        fix: Callable[[Finding], Finding] | None = None,
        restored: Mapping[str, Any] | None = None,
        dataset: Dataset | None = None,
    ) -> None:
        optimizer = getattr(plan.optimizer, "optimizer", plan.optimizer)  # Fabric wraps it
        settings = config.doctor
        self.doctor: Doctor = watch(
            plan.hooked_module, optimizer, budget=settings.budget, language=settings.language, quiet=True
        )
        self.loss = _loss_kind(config)
        self.unlabelled = config.task is not None and TASKS[config.task].targets == "none"
        self.method = config.pretrain.method
        self.hold_outputs = config.task is not None and not TASKS[config.task].on_canvas and not self.unlabelled
        self.ignored = IGNORE if config.task is not None and TASKS[config.task].labels_pixels else None
        self.run, self.say, self.fix = run, say, fix
        self._kept: set[tuple[str, str]] = set()  # (code, severity) of the findings in findings.json
        self._records: list[tuple[str, float, str]] = []  # of the last validation
        self._suspects: list[str] = []  # of the last validation
        self._restored, self._dataset = restored, dataset
        self.interrupted = True  # until the last epoch has ended

    def __enter__(self) -> DoctorWatcher:
        self.doctor.__enter__()
        self.doctor.expect_observed(self.loss, self.hold_outputs, self.ignored)
        if self.unlabelled:
            _add_method(self.doctor.ledger, str(self.method))
        if self._restored:
            try:
                self.doctor.restore(dict(self._restored))
            except (KeyError, TypeError, ValueError, AttributeError):  # of another version
                self.doctor.ledger.add("run.unseen", "the measurements before the resume could not be read", "earlier")
        return self

    def __exit__(self, *error: object) -> None:
        self.doctor.close()
        with suppress(Failure):  # a full disk must not hide the error of the run itself
            self.run.write_text(self.run.ledger.name, "".join(self.doctor.ledger.lines()))
        if error[0] is not None:  # the training failed: print the findings so far
            self.doctor.say_new(self.say, self.fix)
        elif not self.interrupted:
            self.doctor.say_withdrawn(self.say)

    def on_loss(self, plan: Plan, loss: Tensor, batch: Batch) -> None:
        """Give the loss and targets of the batch to the doctor."""
        targets = batch.targets if isinstance(batch.targets, Tensor) and not self.unlabelled else None
        self.doctor.observe(loss, None, targets)

    def on_validation(self, plan: Plan, evaluation: Evaluation) -> None:
        """Give the outputs and targets of the validation set to the doctor."""
        self._records = plan.task.records(evaluation) if isinstance(plan.task, RecordedTask) else []
        if not self.unlabelled and isinstance(evaluation.outputs, Tensor) and isinstance(evaluation.targets, Tensor):
            self.doctor.validated(evaluation.outputs, evaluation.targets)
            self._suspects = suspects(evaluation, self._dataset) if self._dataset is not None else []

    def on_epoch(self, plan: Plan, progress: Progress, row: dict[str, Any], improved: bool) -> None:
        """End the epoch of the doctor and give it the metrics of the record."""
        self.doctor.epoch()
        # The doctor samples training steps and does not observe validation; the loop has the means over all samples.
        for part in ("train", "val"):
            for metric, name in (PRETRAINING_NAMES if self.unlabelled else LEDGER_NAMES).items():
                if f"{part}.{metric}" in row:
                    self.doctor.ledger.put(name, row[f"{part}.{metric}"], part, progress.epoch)
        for name, value, where in self._records:
            self.doctor.ledger.put(name, value, where, progress.epoch)
        if self._suspects:
            self.doctor.ledger.put("label.suspects", self._suspects, "val", progress.epoch)
        self._records, self._suspects = [], []
        self._keep(self.doctor.say_new(self.say, self.fix, confirm=True))

    def on_end(self, plan: Plan, progress: Progress) -> None:
        """Note that the training was not interrupted."""
        self.interrupted = False

    def _keep(self, found: list[Finding]) -> None:
        """Write findings.json when a finding came, went or changed its severity, for readers during the training."""
        now = {(finding.code, finding.severity) for finding in found}
        if now != self._kept:
            self._kept = now
            self.run.write_json("findings.json", [(self.fix(one) if self.fix else one).to_dict() for one in found])


def suspects(evaluation: Evaluation, dataset: Dataset) -> list[str]:
    """Name the samples whose label contradicts a confident prediction, most confident first: "a.jpg (cat: dog?)".

    [] if the outputs (N, K) are no scores of classes.
    """
    outputs, targets = evaluation.outputs, evaluation.targets
    if (
        targets.ndim != 1
        or targets.is_floating_point()
        or outputs.ndim != 2
        or outputs.shape[1] != len(dataset.classes)
    ):
        return []
    top, guess, found = contradicted(outputs, targets)
    rows = found.nonzero()[:, 0]
    rows = rows[top[rows].argsort(descending=True)][:MAX_NAMED].tolist()
    names = [(dataset.name_of(int(evaluation.index[i])), int(targets[i]), int(guess[i])) for i in rows]
    return [f"{name} ({dataset.classes[label]}: {dataset.classes[other]}?)" for name, label, other in names]


def _add_method(ledger: Ledger, method: str) -> None:
    """The facts on a method of pretraining that findings need."""
    spec = METHODS[method]
    ledger.add("pretrain.method", method)
    ledger.add("pretrain.views", int(spec.views))
    ledger.add("pretrain.collapse_lowers_loss", int(spec.collapse_lowers_loss))


def _loss_kind(config: Config) -> str | None:
    """The doctor's name of the loss; None: the doctor derives it from the graph."""
    name = config.loss.name
    if config.pretrain.method is not None:
        return "pretraining"
    if is_own(name):
        return find("loss", str(name)).kind
    targets = TASKS[config.task].targets if config.task is not None else "class"
    return LOSS_KINDS.get(targets, {}).get(name or "", name)


def findings_of(
    run: Run, language: str = "en", fix: Callable[[Finding], Finding] | None = None
) -> list[dict[str, Any]]:
    """Findings of a run from its ledger as plain values, most severe and most confident first; [] without a ledger."""
    if not run.ledger.exists():
        return []
    found = diagnose(Ledger.read(run.checked(run.ledger)), language)
    return [(fix(finding) if fix else finding).to_dict() for finding in found]
