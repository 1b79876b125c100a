"""Bounds that danlu must meet in `score.py --quick`.

The bounds are below the measured fractions, since time budgets and machine speed cause variation. In addition, every
code must be found in at least one run in which it was planted, so that a rule that stops working is noticed although it
changes the totals by about 0.01.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

DETECTED = 0.94  # at least
RIGHT_FIRST = 0.84  # at least
FALSE_ALARMS = 0.03  # at most

# Planted in one or two runs of the sample, with evidence that depends on chance, memory or time.
WEAK = (
    "data.labels_shuffled",
    "fit.not_learning",
    "fit.trained_too_long",
    "gradient.exploding",
    "model.too_large",
    "optim.plateau_minimum",
    "speed.memory_growth",
)


class Outcome(Protocol):
    """Attributes of the outcome of one run that the bounds use."""

    kind: str
    planted: tuple[str, ...]
    found: tuple[tuple[str, str], ...]

    @property
    def detected(self) -> bool: ...
    @property
    def right_first(self) -> bool: ...
    @property
    def false_alarm(self) -> bool: ...


def broken(found: Sequence[Outcome]) -> list[str]:
    """List one sentence for each bound that is not met."""
    ill = [one for one in found if one.kind != "healthy"]
    well = [one for one in found if one.kind == "healthy"]
    detected = sum(one.detected for one in ill) / len(ill)
    first = sum(one.right_first for one in ill) / len(ill)
    alarms = sum(one.false_alarm for one in well) / len(well)
    said = []
    if detected < DETECTED:
        said.append(f"detected {detected:.1%} of the faults, at least {DETECTED:.0%} wanted")
    if first < RIGHT_FIRST:
        said.append(f"the right cause first in {first:.1%}, at least {RIGHT_FIRST:.0%} wanted")
    if alarms > FALSE_ALARMS:
        said.append(f"false alarms at {alarms:.1%} of the healthy runs, at most {FALSE_ALARMS:.0%} wanted")
    return said + [f"{code} was planted and never found" for code in silent(ill)]


def silent(ill: Sequence[Outcome]) -> list[str]:
    """List codes that were found in none of the runs in which they were planted."""
    planted = {code for one in ill for code in one.planted}
    named = {code for one in ill for code, _ in one.found if code in one.planted}
    return sorted(planted - named - set(WEAK))
