"""What `score.py --quick` asks of danlu: bounds with room for chance, since budgets and speeds vary with the machine.

The shares leave room below what the sample shows. And every code must be named in at least one of the runs in which it
was planted: so a rule that falls silent is noticed, though it moves the shares by a hundredth only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

DETECTED = 0.94  # at least
RIGHT_FIRST = 0.84  # at least
FALSE_ALARMS = 0.03  # at most

# Planted in one or two runs of the sample, and by signs that chance, memory or time may hide there.
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
    """What a bound asks of the outcome of one run."""

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
    """One sentence for each bound that does not hold."""
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
    return said + [f"{code} was planted and never named" for code in silent(ill)]


def silent(ill: Sequence[Outcome]) -> list[str]:
    """Codes that were named in none of the runs in which they were planted."""
    planted = {code for one in ill for code in one.planted}
    named = {code for one in ill for code, _ in one.found if code in one.planted}
    return sorted(planted - named - set(WEAK))
