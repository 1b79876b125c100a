"""Short trainings of a run's own settings with some of them changed: the same seeds, the same samples, equal budget."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from rich.console import Console

from danlu.config import Config, dump_yaml, with_values
from danlu.engine.doctor_watcher import findings_of
from danlu.message import Message, message
from danlu.refuse import Failure
from danlu.run.folder import Run
from danlu.training.train import train

LEAST_EPOCHS = 5  # a schedule needs some to rise and fall; where they cost too much, samples are left out instead
HEAVY = ("state.pt", "report.html")  # of a trial, of which the record is kept and not the weights
LOOKS = 3  # at a change: at some seeds, and where these leave it open at twice and four times as many
AWAKE = 0.05  # least share of the time for the doctor, who is to look again


@dataclass
class Outcome:
    """One change, trained once for each seed. metrics: of validation, None where the training broke down; findings: of
    the first seed; seconds: of all its trainings."""

    metrics: list[dict[str, float] | None]
    findings: list[dict[str, Any]]
    seconds: float

    def of(self, metric: str) -> list[float | None]:
        values = [found.get(metric) if found else None for found in self.metrics]
        return [value if value is not None and math.isfinite(value) else None for value in values]

    def mean(self, metric: str, seeds: int) -> float | None:
        """Over those of the first `seeds` that ran to the end."""
        finished = [value for value in self.of(metric)[:seeds] if value is not None]
        return fmean(finished) if finished else None

    @property
    def pace(self) -> float:
        """Seconds of one training."""
        return self.seconds / len(self.metrics)


@dataclass(frozen=True)
class Verdict:
    """difference: mean of after - before over the seeds where both ran to the end, None where there is none; noise: how
    large a difference may be by chance; better: by more than that, or where fewer trainings break down; open: better,
    but not by more than chance may be, so that more seeds could tell."""

    difference: float | None
    noise: float | None
    better: bool
    why: Message
    open: bool = False


class Trials:
    """Trainings in `folder`, each of `epochs` epochs (and `limit` samples, if not None), for `seeds` seeds at a time.

    The split stays that of the run, whatever the seed, so that its test samples take no part in any choice.
    """

    def __init__(self, run: Run, folder: Path, seeds: int, console: Console) -> None:
        self.run, self.folder, self.console = run, folder, console
        config = run.config
        self.once = seeds  # trainings of a change at the first look
        self.seeds = [config.seed + i for i in range(self.at(LOOKS))]
        self.full = config.epochs or 1
        self.epochs, self.limit = self.full, config.data.limit

    def at(self, look: int) -> int:
        """Trainings of a change until then; looks count from 1."""
        return self.once * 2 ** (look - 1)

    def plan(self, sets: int, budget: float, samples: int) -> None:
        """Choose epochs, and samples where even few epochs of all cost too much: `sets` of trainings within `budget`
        seconds."""
        per_epoch, once = self._pace()
        each = max(budget / (sets * self.once) - once, 0.1 * budget / (sets * self.once))
        least = min(LEAST_EPOCHS, self.full)
        self.epochs = min(self.full, max(least, int(each / per_epoch)))
        share = each / (least * per_epoch)
        if share < 1:
            batch = self.run.config.batch_size or 1
            self.limit = min(samples, max(int(share * samples), 4 * batch))

    def __call__(self, change: Mapping[str, Any], name: str) -> Outcome:
        """Refusal when the settings cannot be; a training that breaks down is an outcome."""
        outcome = Outcome([], [], 0.0)
        self.extend(outcome, change, name, 1)
        outcome.findings = findings_of(Run(self._place(name, self.seeds[0])), self.run.config.doctor.language)
        return outcome

    def extend(self, outcome: Outcome, change: Mapping[str, Any], name: str, look: int) -> None:
        """Train the seeds of this look that an earlier one at the same change has not had."""
        began = time.perf_counter()
        for seed in self.seeds[len(outcome.metrics) : self.at(look)]:
            run = self._one(change | {"seed": seed}, self._place(name, seed))
            outcome.metrics.append(run.summary["metrics"]["val"] if run.summary else None)
        outcome.seconds += time.perf_counter() - began

    def _place(self, name: str, seed: int) -> Path:
        return self.folder / name / f"seed-{seed}"

    def _one(self, change: Mapping[str, Any], folder: Path) -> Run:
        config = self._shortened(with_values(self.run.config, change))
        given = folder.with_suffix(".yaml")
        given.parent.mkdir(parents=True, exist_ok=True)
        given.write_text(dump_yaml(config), encoding="utf-8")
        try:
            train(config=given, out=str(folder), console=Console(quiet=True))
        except Failure as broke:
            self.console.print(f"  {folder}: {broke}", highlight=False, markup=False, soft_wrap=True)
        finally:
            given.unlink(missing_ok=True)
            for name in HEAVY:
                (folder / name).unlink(missing_ok=True)
            shutil.rmtree(folder / "weights", ignore_errors=True)
        return Run(folder)

    def _shortened(self, config: Config) -> Config:
        """The schedule is shortened along with the epochs."""
        share = self.epochs / self.full
        shorter: dict[str, Any] = {"epochs": self.epochs, "data.limit": self.limit}
        shorter |= {"schedule.warmup": config.schedule.warmup * share, "schedule.every": config.schedule.every * share}
        shorter["schedule.milestones"] = tuple(epoch * share for epoch in config.schedule.milestones)
        shorter["schedule.patience"] = max(1, round(config.schedule.patience * share))
        if config.data.seed is None:
            shorter["data.seed"] = self.run.config.seed
        if config.transfer.init and self.run.weights("start").exists():
            shorter["transfer.init"] = str(self.run.weights("start"))
        shorter["doctor.budget"] = max(config.doctor.budget, AWAKE)
        return with_values(one_fold(config), shorter)

    def _pace(self) -> tuple[float, float]:
        """Seconds of an epoch, and those that each training takes besides: of the run, or of one epoch at almost no
        rate where it broke down before its first was over."""
        run = self.run
        if not run.record.of("epoch"):
            self.epochs, full = 1, self.full
            run = self._one({"optim.lr": 1e-9, "schedule.warmup": 0.0}, self.folder / "pace")
            self.full = full
        epochs = run.record.of("epoch")
        if not epochs:
            return 1.0, 1.0
        timings = run.summary.get("timings") or {}
        once = timings.get("data", 0.0) + timings.get("evaluation", 0.0)
        return max(epochs[-1]["seconds"] / epochs[-1]["epoch"], 1e-6), once


def one_fold(config: Config) -> Config:
    """Of a run over all folds the first is looked at."""
    over_all = config.data.folds and config.data.fold is None
    return with_values(config, {"data.fold": 0, "data.refit": None}) if over_all else config


def compare(
    before: Sequence[float | None], after: Sequence[float | None], *, high: bool, least: float, doubt: float = 0.05
) -> Verdict:
    """Paired over seeds: the mean difference against Student's t at the share `doubt` times its standard error.

    before, after: one figure a seed, None where the training broke down. high: larger is better. least: what a
    difference must exceed in any case. A change that saves trainings from breaking down is better whatever the figures.
    """
    broke, breaks = sum(v is None for v in before), sum(v is None for v in after)
    pairs = [(a, b) for a, b in zip(before, after) if a is not None and b is not None]
    differences = [b - a for a, b in pairs]
    mean = fmean(differences) if differences else None
    noise = _noise(differences, least, doubt)
    if breaks != broke:
        saved = breaks < broke
        text = "{after} of {total} trainings break down, {before} did before"
        why = message("verdict.breaks", text, after=breaks, total=len(after), before=broke)
        return Verdict(mean, noise, saved, why)
    if mean is None or noise is None:
        why = message("verdict.no_noise", "one seed shows no noise")
        if broke:
            why = message("verdict.breaks_as_before", "trainings break down as before")
        return Verdict(mean, noise, False, why)
    gain = mean if high else -mean
    better = gain > noise
    if better:
        why = message("verdict.better", "better by more than the noise of {seeds} seeds", seeds=len(pairs))
    elif gain > 0:
        text = "better, but not by more than the noise of {seeds} seeds"
        why = message("verdict.within_noise", text, seeds=len(pairs))
    elif gain < -noise:
        why = message("verdict.worse", "worse")
    else:
        why = message("verdict.no_better", "no better")
    return Verdict(mean, noise, better, why, open=0 < gain <= noise)


def _noise(differences: Sequence[float], least: float, doubt: float) -> float | None:
    if len(differences) < 2:
        return None
    from scipy.stats import t

    limit = float(t.ppf(1 - doubt, len(differences) - 1))
    return max(limit * stdev(differences) / math.sqrt(len(differences)), least)
