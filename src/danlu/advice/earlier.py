"""Earlier runs on the same data, so that advice does not repeat settings that were tried without success.

Each run keeps the list of runs before it in earlier.json. A run that was started from the advice of another run also
lists that run and its predecessors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from danlu.config import Config, get, keys, load_yaml, plain
from danlu.metrics.classification import Z_95
from danlu.refuse import Refusal
from danlu.run.folder import Run
from danlu.run.summary import Summary

FILE = "earlier.json"
MAX_RUNS = 20  # runs beside the new one that are read, the latest ones
# Settings that describe a run without changing its result, or its data.
IGNORED = ("out", "device", "devices", "log_every", "save_every", "save_path", "doctor", "data", "seed", "callbacks")
MIN_GAIN = 0.05  # of a metric without a known standard error, as a fraction of its size


@dataclass(frozen=True)
class EarlierRun:
    """A finished run on the same data.

    run: its folder. settings: those that differ from the new run's, by dotted name, with the values that it had.
    monitor, reached, samples: name and value of the monitored metric, and number of its validation samples.
    """

    run: str
    settings: Mapping[str, Any]
    monitor: str
    reached: float
    samples: int

    def has(self, change: Mapping[str, Any]) -> bool:
        """Return whether this run was trained with the values of a change."""
        return all(key in self.settings and plain(value) == self.settings[key] for key, value in change.items())

    def is_better_than(self, summary: Summary) -> bool:
        """Return whether its validation metric is better than that of another run by more than chance explains."""
        now = summary.metrics.val.get(self.monitor)
        if now is None or self.monitor != summary.monitor:
            return False
        difference = self.reached - now if summary.better == "high" else now - self.reached
        if self.monitor != "accuracy":
            return difference > MIN_GAIN * max(abs(now), abs(self.reached))
        samples, both = max(1, self.samples), (self.reached + now) / 2
        return difference > Z_95 * math.sqrt(2 * both * (1 - both) / samples)


def remember_earlier(run: Run, config: Config) -> None:
    """Write earlier.json of a new run: the finished runs beside it on the same data, and those that they remember."""
    found: dict[str, dict[str, Any]] = {}
    beside = [path.parent for path in run.folder.parent.glob("*/summary.json") if path.parent != run.folder]
    for folder in sorted(beside, key=_finished_at, reverse=True)[:MAX_RUNS]:
        try:
            other, before = load_yaml(folder / "config.yaml"), Run(folder)
            if other.data.path != config.data.path or other.task != config.task:
                continue
            had = {key: plain(get(other, key)) for key in _compared()}
            for kept in before.read_json(FILE, default=[]):
                found.setdefault(kept["run"], kept | {"settings": _differing(had | kept["settings"], config)})
            summary = before.summary
            reached = summary.metrics.val.get(summary.monitor)
            if reached is not None and math.isfinite(reached):
                found[before.name] = {
                    "run": before.name,
                    "settings": _differing(had, config),
                    "monitor": summary.monitor,
                    "reached": reached,
                    "samples": summary.data.counts.get("val", 0),
                }
        except (Refusal, OSError, KeyError, TypeError, AttributeError):  # of another version, or being written
            continue
    if found:
        run.write_json(FILE, list(found.values()))


def earlier_runs(run: Run) -> list[EarlierRun]:
    """The runs that a run remembers; none where its file is missing or of another version.

    Raises Refusal for a damaged file.
    """
    try:
        return [EarlierRun(**kept) for kept in run.read_json(FILE, default=[])]
    except TypeError:
        return []


def _differing(settings: Mapping[str, Any], config: Config) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value != plain(get(config, key))}


def _compared() -> list[str]:
    return [key for key in keys() if key not in IGNORED and key.partition(".")[0] not in IGNORED]


def _finished_at(folder: Path) -> float:
    try:
        return (folder / "summary.json").stat().st_mtime
    except OSError:
        return 0.0
