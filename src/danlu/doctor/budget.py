"""Time budget of the doctor: the cost of each instrument, and the steps at which it may measure.

Each instrument has a fixed fraction of the doctor's time. It may measure if the time it has used, plus the cost of one
more measurement, stays within that fraction of the elapsed time. The first steps are not charged: they record the
structure of the model. `EXTRA_SECONDS` are granted in addition, released during the first seconds, so that short
trainings of small models are measured too. A few steps are measured whatever the time (`is_scheduled`). Training and
validation have separate accounts. Times are host times (perf_counter); there is no wait for the device.
"""

from __future__ import annotations

import math
from collections import defaultdict
from time import perf_counter
from typing import Any

from danlu.message import message
from danlu.refuse import refusal

DEFAULT_FRACTION = 0.03  # of the training time
FREE_STEPS = 3
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
EXTRA_SECONDS = 0.3  # seconds in addition to the fraction
EXTRA_RELEASED_PER_SECOND = 0.25  # extra seconds released per elapsed second


ALL_UNTIL = 16  # steps at the start, each of them scheduled
PER_OCTAVE = 4  # scheduled steps while the number of steps doubles


def is_scheduled(step: int) -> bool:
    """Return whether a step is measured whatever the time: 1 to 16, 20, 24, 28, 32, 40, 48, ...

    These steps depend on their number alone, so that a run has the same evidence on a busy machine. They become rarer
    as fast as the run grows, so that their cost stays below the budget except in the first seconds.
    """
    if step <= ALL_UNTIL:
        return True
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
        fraction: maximum fraction of the training time, 0.03 for 3 %; infinity measures at every step.
    """

    def __init__(self, fraction: float = DEFAULT_FRACTION) -> None:
        self.fraction = fraction
        self.spent: dict[str, float] = defaultdict(float)
        self._free: dict[str, float] = defaultdict(float)  # seconds used in the first steps, not charged
        self._cost: dict[str, float] = {}
        self.total = 0.0  # seconds used by the doctor
        self._started = perf_counter()

    def may(self, name: str, step: int) -> bool:
        """Return whether the instrument has time for a measurement at this step."""
        if step <= FREE_STEPS or (is_scheduled(step) and not name.endswith("/val")):
            return True
        timed_hook = self.spent[name] - self._free[name]
        return timed_hook + self._cost.get(name, 0.0) <= INSTRUMENT_FRACTIONS[name] * self._allowance()

    def charge(self, name: str, seconds: float, step: int, *, measured: bool = False) -> None:
        """Add `seconds` to the account of an instrument.

        Args:
            measured: whether this was a measurement; its cost then updates the estimate for the next one.
        """
        self.spent[name] += seconds
        self.total += seconds
        if step <= FREE_STEPS:
            self._free[name] += seconds
        elif measured:
            old = self._cost.get(name, seconds)
            self._cost[name] = 0.7 * old + 0.3 * seconds

    def state(self) -> dict[str, Any]:
        """Seconds elapsed and used so far, in plain values."""
        accounts = {"spent": dict(self.spent), "free": dict(self._free), "cost": dict(self._cost)}
        return accounts | {"total": self.total, "elapsed": self.elapsed}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue the accounts of a saved `state`."""
        self.spent.update(state["spent"])
        self._free.update(state["free"])
        self._cost.update(state["cost"])
        self.total = state["total"]
        self._started = perf_counter() - state["elapsed"] - state["total"]

    @property
    def remaining(self) -> float:
        """Seconds that may still be used now; negative if the budget is exceeded."""
        return self._allowance() - self.total + sum(self._free.values())

    def _allowance(self) -> float:
        """Seconds the doctor may have used until now."""
        elapsed = self.elapsed
        return self.fraction * elapsed + min(EXTRA_SECONDS, EXTRA_RELEASED_PER_SECOND * elapsed)

    @property
    def elapsed(self) -> float:
        """Seconds since watching started, without the time used by the doctor."""
        return perf_counter() - self._started - self.total
