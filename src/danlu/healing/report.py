"""Result of `danlu.heal`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from danlu.run.result import Result


@dataclass(frozen=True, eq=False, repr=False)
class Attempt(Result):
    """One change that was tried. `before` and `after` are means over the seeds whose training did not fail."""

    finding: str  # code of the finding
    severity: str  # error, warning or note
    change: Mapping[str, Any]  # setting -> value
    flags: str  # the same for the command line
    metric: str  # validation metric that decided
    seeds: int  # trainings with and without the change
    before: float | None  # metric without the change; None where every training failed
    after: float | None  # metric with the change; None where every training failed
    difference: float | None  # mean of after - before over the seeds where neither failed
    noise: float | None  # largest difference expected by chance, see `metrics.paired_test`
    kept: bool
    why: str


@dataclass(frozen=True, eq=False, repr=False)
class HealingReport(Result):
    """Changes that were tried on a run, and those that are kept."""

    run: str  # folder
    metric: str  # the run's monitored validation metric
    better: str  # "high" or "low"
    before: float | None  # mean metric of the trials with the run's own settings
    after: float | None  # mean metric of the trials with the kept settings
    settings: Mapping[str, Any]  # kept settings and their values
    command: str | None  # trains in full with the kept settings; None where nothing was kept
    attempts: list[Attempt]
    not_tried: list[dict[str, str]]  # [{"finding", "why"}]
    trials: str  # length of a trial
    epochs: int  # of a trial
    limit: int | None  # training samples of a trial; None: all
    seeds: list[int]  # of the first round
    stopped: str | None  # reason for stopping before all findings were tried
    seconds: float

    def __repr__(self) -> str:
        kept = ", ".join(f"{name}={value}" for name, value in self.settings.items()) or "nothing kept"
        figures = f", {self.metric} {self.before:.4g} -> {self.after:.4g}" if self.before and self.after else ""
        return f"HealingReport({self.run}: {len(self.attempts)} attempts, {kept}{figures})"

    __str__ = __repr__
