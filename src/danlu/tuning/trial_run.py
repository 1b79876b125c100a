"""One training of a search: report each epoch to the study, end it early where it is pruned or broken, never use the
test set."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from danlu.config import Config
from danlu.engine.loop import Plan, Progress, Watcher
from danlu.message import Message, message
from danlu.refuse import Failure
from danlu.run.folder import Run
from danlu.training.train_run import Guidance, new_job, resume_run, train_run

if TYPE_CHECKING:
    from optuna import Trial

QUIET = Console(quiet=True)
# Findings that end no trial: of the data, which no setting causes, and of what was learnt, which the pruner judges.
NOT_FATAL = ("data.", "fit.")
TIE_WEIGHT = 1e-6  # of the loss in the values that trials are compared by: it decides only between equal metrics


@dataclass(frozen=True)
class TrialRun:
    """A finished training. metrics: of the validation set; {} if it failed. why: reason for an early end."""

    metrics: Mapping[str, float]
    epochs: int = 0
    seconds: float = 0.0
    why: str | None = None
    failed: bool = False


class TrialWatcher(Watcher):
    """Reports the validation metric of each epoch, and ends the training at the request of the pruner or the doctor.

    better: "high" or "low" values of the metric. known: codes of findings that do not end it: those of the default
    settings.
    """

    def __init__(self, trial: Trial, run: Run, metric: str, known: frozenset[str], prune: bool, better: str) -> None:
        self.trial, self.run, self.metric, self.known, self.prune = trial, run, f"val.{metric}", known, prune
        self.better = better

    def on_epoch(self, plan: Plan, progress: Progress, row: dict[str, Any], improved: bool) -> None:
        """Report the metric of the epoch, and stop the training where it is pruned."""
        reported = self.trial.study.trials[self.trial.number].intermediate_values
        if progress.epoch not in reported:  # the last epoch before a kill is trained twice
            self.trial.report(comparable(row[self.metric], row["val.loss"], self.better), progress.epoch)
        if progress.stopped is not None or progress.epoch >= plan.epochs or not self.prune:
            return
        progress.stopped = self._broken() or self._pruned(progress.epoch)

    def _broken(self) -> Message | None:
        for finding in self.run.findings:
            code = finding["code"]
            if finding["severity"] == "error" and code not in self.known and not code.startswith(NOT_FATAL):
                text = "the doctor found an error: {title} ({code})"
                return message("tuning.broken", text, title=finding["title"], code=code)
        return None

    def _pruned(self, epoch: int) -> Message | None:
        if not self.trial.should_prune():
            return None
        return message("tuning.pruned", "pruned after epoch {epoch}: worse than the other trials", epoch=epoch)


def comparable(metric: float, loss: float, better: str) -> float:
    """The metric, moved by less than `TIE_WEIGHT` so that of equal metrics the one with the lower loss is better.

    Accuracies of a few hundred validation samples are often equal, and the pruner would let all of them go on.
    """
    bounded = loss / (1 + loss) if 0 <= loss < math.inf else 1.0
    return metric + (TIE_WEIGHT * bounded if better == "low" else -TIE_WEIGHT * bounded)


def run_training(config: Config, folder: Path, watchers: tuple[Watcher, ...] = (), *, report: bool = False) -> TrialRun:
    """Train in `folder`, or continue the training that a killed process left there; the test set is not used.

    report: evaluate the best weights on the validation set and write the report. A loss that is not finite ends the
    training without metrics. Raises Interrupted when a signal stops it, Refusal for settings that do not fit.
    """
    guidance = Guidance(watchers, use_test=False, report=report, remember=False)
    try:
        if (folder / "config.yaml").exists():
            run = Run.open(folder)
            run.lock()
            resume_run(run, run.config, QUIET, guidance=guidance)
            run.unlock()
        else:
            train_run(new_job(config, QUIET, str(folder), guidance), QUIET)
    except Failure as failure:
        done = Run(folder).record.of("epoch")
        return TrialRun({}, len(done), done[-1]["seconds"] if done else 0.0, str(failure), failed=True)
    summary = Run.open(folder).summary
    metrics = {name: value for name, value in summary.metrics.val.items() if isinstance(value, int | float)}
    return TrialRun(metrics, summary.epochs, summary.seconds, summary.stopped)


def remove_weights(folder: Path) -> None:
    """Remove the checkpoint and the weights of a finished trial."""
    (folder / "state.pt").unlink(missing_ok=True)
    shutil.rmtree(folder / "weights", ignore_errors=True)
