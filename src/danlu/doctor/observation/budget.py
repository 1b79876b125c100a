"""Time budget of the doctor: the cost of each instrument, and the steps at which it may measure.

Each instrument has a fixed fraction of the doctor's time. It may measure if the time it has used, plus the cost of one
more measurement, stays within that fraction of the allowed time. A few steps are measured whatever the time
(`is_scheduled`); they count, so that the doctor is idle until their time is made up for. Training and validation have
separate accounts. Times are host times (perf_counter); there is no wait for the device.
"""

from __future__ import annotations

import math
from collections import defaultdict
from time import perf_counter
from typing import Any

from danlu.message import message
from danlu.refuse import refusal

DEFAULT_FRACTION = 0.03  # of the first `FULL_SECONDS` of the training
FULL_SECONDS = 30.0
LATER_PART = 1 / 3  # of that fraction, in the time after them
FREE_STEPS = 3  # steps at the start at which all instruments may measure
# Fractions of the budget; they sum to 1. Hooks and reads from the device are charged to "hooks".
INSTRUMENT_FRACTIONS = {
    "hooks": 0.15,
    "loss_and_accuracy": 0.15,
    "loss_and_accuracy/val": 0.08,
    "gradients": 0.2,
    "activations": 0.2,
    "inputs": 0.07,
    "inputs/val": 0.03,
    "labels": 0.03,
    "labels/val": 0.02,
    "modes": 0.07,
}

ALL_UNTIL = 16  # steps at the start, each of them scheduled
VALIDATION_SECONDS = 0.02  # of each validation account, in addition: validation has no scheduled batches
EXPENSIVE = {"activations"}  # instruments: hooks at every layer
PER_OCTAVE = 4  # scheduled steps while the number of steps doubles


def is_scheduled(step: int, instrument: str = "") -> bool:
    """Return whether a step is measured whatever the time: 1 to 16, 20, 24, 28, 32, 40, 48, ...

    These steps depend on their number alone, so that a run has the same evidence on a busy machine. They become rarer
    as fast as the run grows, so that their cost stays below the budget except in the first seconds. `EXPENSIVE`
    instruments measure at the even ones.
    """
    if step <= ALL_UNTIL:
        return step % 2 == 0 or instrument not in EXPENSIVE
    return step % (1 << (step.bit_length() - 1 - (PER_OCTAVE.bit_length() - 1))) == 0


def check_fraction(value: Any, thing: str = "budget") -> float:
    """`value` as a fraction of the training time. Raises Refusal unless it is above 0 and at most 1, or infinite."""
    try:
        fraction = -1.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        fraction = -1.0
    if not (0 < fraction <= 1 or fraction == math.inf):
        raise refusal(
            thing,
            message(
                "doctor.wanted.fraction_training_time_above",
                "a fraction of the training time above 0 and at most 1, such as {default_fraction}",
                default_fraction=DEFAULT_FRACTION,
            ),
            value,
        )
    return fraction


class Budget:
    """Accounts of the time used by the doctor.

    Args:
        fraction: maximum fraction of the first 30 s of training time, 0.03 for 3 %; afterwards a third of it.
            Infinity measures at every step.
    """

    def __init__(self, fraction: float = DEFAULT_FRACTION) -> None:
        self.fraction = fraction
        self.spent: dict[str, float] = defaultdict(float)
        self._cost: dict[str, float] = {}
        self.total = 0.0  # seconds used by the doctor
        self._started = perf_counter()

    def may(self, name: str, step: int) -> bool:
        """Return whether the instrument has time for a measurement at this step."""
        if step <= FREE_STEPS or (is_scheduled(step, name) and not name.endswith("/val")):
            return True
        allowed = INSTRUMENT_FRACTIONS[name] * self._allowance() + VALIDATION_SECONDS * name.endswith("/val")
        return self.spent[name] + self._cost.get(name, 0.0) <= allowed

    def charge(self, name: str, seconds: float, step: int, *, measured: bool = False) -> None:
        """Add `seconds` to the account of an instrument.

        Args:
            measured: whether this was a measurement; its cost then updates the estimate for the next one.
        """
        self.spent[name] += seconds
        self.total += seconds
        if measured and step > FREE_STEPS:
            old = self._cost.get(name, seconds)
            self._cost[name] = 0.7 * old + 0.3 * seconds

    def state(self) -> dict[str, Any]:
        """Seconds elapsed and used so far, in plain values."""
        accounts = {"spent": dict(self.spent), "cost": dict(self._cost)}
        return accounts | {"total": self.total, "elapsed": self.elapsed}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue the accounts of a saved `state`."""
        self.spent.update(state["spent"])
        self._cost.update(state["cost"])
        self.total = state["total"]
        self._started = perf_counter() - state["elapsed"] - state["total"]

    @property
    def remaining(self) -> float:
        """Seconds that may still be used now; negative if the budget is exceeded."""
        return self._allowance() - self.total

    def _allowance(self) -> float:
        """Seconds the doctor may have used until now."""
        first = min(self.elapsed, FULL_SECONDS)
        return self.fraction * (first + LATER_PART * (self.elapsed - first))

    @property
    def elapsed(self) -> float:
        """Seconds since watching started, without the time used by the doctor."""
        return perf_counter() - self._started - self.total
