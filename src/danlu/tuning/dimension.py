"""One searched setting: its range or its choices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from danlu.config import SHORT_FLAGS, keys
from danlu.message import Message, message

if TYPE_CHECKING:
    from optuna import Trial

EDGE = 0.1  # fraction of the range, from either end, in which the best value suggests a wider range
GRID_POINTS = 3  # values of a range in a grid


def short_name(key: str) -> str:
    """The shortest name of a setting that `--search` takes: "lr", "weight_decay"; other texts as they are."""
    for short, full in SHORT_FLAGS.items():
        if full == key:
            return short
    last = key.rpartition(".")[2]
    return last if [one for one in keys() if one.rpartition(".")[2] == last] == [key] else key


@dataclass(frozen=True)
class Dimension:
    """A setting with a range of numbers [low, high], or with choices.

    key: dotted setting. centre: danlu's default; None if outside. log: search its logarithm. integer: only
    integers. choices: plain values; lists of numbers are written "256,128".
    """

    key: str
    centre: Any
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    integer: bool = False
    choices: tuple[Any, ...] | None = None

    @property
    def name(self) -> str:
        """The shortest name of the setting."""
        return short_name(self.key)

    def suggest(self, trial: Trial) -> Any:
        """Let the sampler of the study choose a value."""
        if self.choices is not None:
            return trial.suggest_categorical(self.key, self.choices)
        if self.integer:
            return trial.suggest_int(self.key, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(self.key, self.low, self.high, log=self.log)

    def holds(self, value: Any) -> bool:
        """Return whether a value lies in the range or among the choices."""
        if self.choices is not None:
            return value in self.choices
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high

    def grid(self) -> list[Any]:
        """The choices, or `GRID_POINTS` values spread evenly over the range."""
        if self.choices is not None:
            return list(self.choices)
        points = [self._at((i + 0.5) / GRID_POINTS) for i in range(GRID_POINTS)]
        return list(dict.fromkeys(max(int(self.low), round(p)) for p in points)) if self.integer else points

    def edge(self, value: Any) -> float | None:
        """The end of the range that a value is near to; None in the middle, for choices, and at an end of 0."""
        if self.choices is not None or not self.holds(value) or self.high <= self.low:
            return None
        place = self._place(value)
        if place > 1 - EDGE:
            return self.high
        return self.low if place < EDGE and self.low > 0 else None

    def describe(self) -> Message:
        """The range in one line: "0.0001 to 0.09 (log)" or "none, light, strong"."""
        if self.choices is not None:
            return message("tuning.range.choices", "{choices}", choices=[*map(str, self.choices)])
        if self.log:
            return message("tuning.range.log", "{low:.4g} to {high:.4g} (log)", low=self.low, high=self.high)
        return message("tuning.range.linear", "{low:.4g} to {high:.4g}", low=self.low, high=self.high)

    def _at(self, place: float) -> float:
        if self.log:
            return math.exp(math.log(self.low) + place * (math.log(self.high) - math.log(self.low)))
        return self.low + place * (self.high - self.low)

    def _place(self, value: float) -> float:
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the study's file."""
        return asdict(self) | {"choices": None if self.choices is None else list(self.choices)}

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Dimension:
        """Inverse of `to_dict`."""
        return cls(**{**kept, "choices": None if kept["choices"] is None else tuple(kept["choices"])})
