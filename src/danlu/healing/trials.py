"""Short trainings with some of a run's settings changed, compared over the same seeds, samples and epochs."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console
from torch import Tensor

from danlu.config import Config, ResolvedConfig, with_values
from danlu.engine.doctor_watcher import findings_of
from danlu.engine.loop import Plan, Progress, Watcher
from danlu.message import translated
from danlu.printing.lines import print_line
from danlu.progress.stages import stage
from danlu.refuse import Failure
from danlu.run.folder import Run
from danlu.run.summary import Metrics
from danlu.training.train_run import Guidance, new_job, train_run

Change = Mapping[str, Any]  # setting -> value

MIN_EPOCHS = 5  # needed by a schedule; where they take too long, samples are left out instead
QUIET = Console(quiet=True)
MAX_ROUNDS = 3  # test a change with n seeds; if inconclusive, with 2n, then 4n
MIN_DOCTOR_BUDGET = 0.05  # fraction of the training time for the doctor during trials


class OutOfTime(Exception):
    """The budget of a healing is used up within a training."""


class DeadlineWatcher(Watcher):
    """Ends a training at a point in time (of `time.perf_counter`), in the middle of an epoch as well."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline

    def on_batch(self, plan: Plan, progress: Progress, parts: dict[str, Tensor]) -> None:
        """Raise OutOfTime after the deadline."""
        if time.perf_counter() > self.deadline:
            raise OutOfTime


@dataclass
class ChangeResult:
    """Trainings with one change, one for each seed."""

    metrics: list[Metrics | None]  # of the validation set, by seed; None where the training failed
    findings: list[dict[str, Any]]  # of the first seed
    seconds: float  # of all trainings

    def values(self, metric: str) -> list[float | None]:
        """One metric by seed; None if the training failed or the metric is not finite."""
        found = [metrics.get(metric) if metrics else None for metrics in self.metrics]
        return [value if value is not None and math.isfinite(value) else None for value in found]

    def mean(self, metric: str, seeds: int) -> float | None:
        """Mean of one metric over the first `seeds` trainings that did not fail."""
        finished = [value for value in self.values(metric)[:seeds] if value is not None]
        return fmean(finished) if finished else None

    @property
    def seconds_per_training(self) -> float:
        """Mean time of one training, in seconds."""
        return self.seconds / len(self.metrics)


class Trials:
    """Runs trainings in `folder`, each of `epochs` epochs on `limit` samples (None: all), for `seeds` seeds a round.

    The split is that of the run for every seed, so that no choice depends on its test samples. A training that is not
    finished at `deadline` (of `time.perf_counter`) raises OutOfTime.
    """

    def __init__(
        self, run: Run, config: ResolvedConfig, folder: Path, seeds: int, console: Console, deadline: float = math.inf
    ) -> None:
        self.run, self.config, self.folder, self.console, self.deadline = run, config, folder, console, deadline
        self.first_seeds = seeds  # trainings of a change in the first round
        self.seeds = [config.seed + i for i in range(self.seeds_until(MAX_ROUNDS))]
        self.run_epochs = config.epochs
        self.epochs, self.limit = self.run_epochs, config.data.limit

    def seeds_until(self, round_: int) -> int:
        """Trainings of a change up to a round, counted from 1."""
        return self.first_seeds * 2 ** (round_ - 1)

    def plan(self, sets: int, budget: float, samples: int) -> None:
        """Choose `epochs`, and `limit` where MIN_EPOCHS on all samples take too long.

        sets: number of changes to be trained within `budget` seconds. samples: size of the training set.
        """
        per_epoch, overhead = self._measure_seconds()
        seconds = budget / (sets * self.first_seeds)
        seconds = max(seconds - overhead, 0.1 * seconds)
        min_epochs = min(MIN_EPOCHS, self.run_epochs)
        self.epochs = min(self.run_epochs, max(min_epochs, int(seconds / per_epoch)))
        fraction = seconds / (min_epochs * per_epoch)
        if fraction < 1:
            self.limit = min(samples, max(int(fraction * samples), 4 * self.config.batch_size))

    def first_round(self, change: Change, name: str) -> ChangeResult:
        """Train the first seeds with a change, in the sub-folder `name`. Raises Refusal if the settings are invalid."""
        result = ChangeResult([], [], 0.0)
        self.next_round(result, change, name, 1)
        result.findings = findings_of(Run(self._folder(name, self.seeds[0])), self.config.doctor.language)
        return result

    def next_round(self, result: ChangeResult, change: Change, name: str, round_: int) -> None:
        """Add trainings to `result` with the seeds of a round that it does not have yet."""
        began = time.perf_counter()
        seeds = self.seeds[len(result.metrics) : self.seeds_until(round_)]
        with stage(translated("stage.trials", "short trainings"), len(seeds)) as trainings:
            for seed in trainings.each(seeds):
                if time.perf_counter() > self.deadline:
                    raise OutOfTime
                run = self._train({**change, "seed": seed}, self._folder(name, seed))
                result.metrics.append(run.summary.metrics.val if run.summary else None)
        result.seconds += time.perf_counter() - began

    def _folder(self, name: str, seed: int) -> Path:
        return self.folder / name / f"seed-{seed}"

    def _train(self, change: Mapping[str, Any], folder: Path) -> Run:
        """One training; its weights are removed. A failed training is printed and leaves a run without a summary."""
        config = self._shortened(with_values(self.config, change))
        guidance = Guidance((DeadlineWatcher(self.deadline),), use_test=False, report=False, remember=False)
        try:
            train_run(new_job(config, QUIET, str(folder), guidance), QUIET)
        except Failure as failure:
            print_line(self.console, f"  {folder}: {failure}")
        finally:
            (folder / "state.pt").unlink(missing_ok=True)
            shutil.rmtree(folder / "weights", ignore_errors=True)
        return Run(folder)

    def _shortened(self, config: Config) -> Config:
        """Settings of a trial: fewer epochs and samples, the schedule shortened in proportion."""
        fraction = self.epochs / self.run_epochs
        shorter: dict[str, Any] = {"epochs": self.epochs, "data.limit": self.limit}
        shorter |= {
            "schedule.warmup": config.schedule.warmup * fraction,
            "schedule.every": config.schedule.every * fraction,
        }
        shorter["schedule.milestones"] = tuple(epoch * fraction for epoch in config.schedule.milestones)
        shorter["schedule.patience"] = max(1, round(config.schedule.patience * fraction))
        if config.data.seed is None:
            shorter["data.seed"] = self.config.seed
        if config.transfer.start and self.run.weights("start").exists():
            shorter["transfer.init"] = str(self.run.weights("start"))
        shorter["devices"] = 1  # several processes cannot be ended at the deadline
        shorter["doctor.budget"] = max(config.doctor.budget, MIN_DOCTOR_BUDGET)
        return with_values(first_fold(config), shorter)

    def _measure_seconds(self) -> tuple[float, float]:
        """Seconds of an epoch, and of reading and evaluation.

        Taken from the run; from one epoch at almost zero learning rate where the run failed in its first epoch.
        """
        run = self.run
        if not run.record.of("epoch"):
            self.epochs = 1
            run = self._train({"optim.lr": 1e-9, "schedule.warmup": 0.0}, self.folder / "pace")
        epochs = run.record.of("epoch")
        if not epochs:
            return 1.0, 1.0
        timings = run.summary.timings
        overhead = timings.get("data", 0.0) + timings.get("evaluation", 0.0)
        return max(epochs[-1]["seconds"] / epochs[-1]["epoch"], 1e-6), overhead


def first_fold(config: Config) -> Config:
    """Settings of the first fold, for a cross-validation; other settings as they are."""
    all_folds = config.data.folds and config.data.fold is None
    return with_values(config, {"data.fold": 0, "data.refit": None}) if all_folds else config
