"""The time budget: what each instrument costs, and at which steps it may measure.

Each instrument owns a part of the doctor's share of the time. It may measure when what it has spent, with the cost of
one more measurement, stays within that part of the time gone by. The first steps are free: they carry the facts about
structure, and a single slow step is not felt. Some tenths of a second are granted beside the share, let out in the
first second or so, so that short runs of tiny models are seen at all and long ones pay the share alone. Training and
validation have accounts of their own: neither eats what the other needs. Times are the host's, as taken by
perf_counter; the device is never waited for.
"""

from __future__ import annotations

from collections import defaultdict
from time import perf_counter

FREE_STEPS = 3
# Parts of the budget. What is always on (hooks, reading back) is charged to "hooks".
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
EXTRA_SECONDS = 0.3  # seconds beside the share, all of them let out in the first GRANT / GRANT_RATE seconds
EXTRA_RELEASED_PER_SECOND = 0.25  # seconds of the grant let out per second


class Budget:
    """share: the doctor's share of the time, 0.03 for 3 %; infinity measures at every step."""

    def __init__(self, share: float = 0.03) -> None:
        self.share = share
        self.spent: dict[str, float] = defaultdict(float)
        self._free: dict[str, float] = defaultdict(float)  # spent in free steps: told, but not held against anyone
        self._cost: dict[str, float] = {}
        self.total = 0.0  # seconds the doctor has used
        self._started = perf_counter()

    def may(self, name: str, step: int) -> bool:
        """May this instrument measure now?"""
        if step <= FREE_STEPS:
            return True
        timed_hook = self.spent[name] - self._free[name]
        return timed_hook + self._cost.get(name, 0.0) <= INSTRUMENT_FRACTIONS[name] * self._allowance()

    def charge(self, name: str, seconds: float, step: int, *, measured: bool = False) -> None:
        """Write `seconds` to the instrument's account; `measured`: this was one measurement, remember its cost."""
        self.spent[name] += seconds
        self.total += seconds
        if step <= FREE_STEPS:
            self._free[name] += seconds
        elif measured:
            old = self._cost.get(name, seconds)
            self._cost[name] = 0.7 * old + 0.3 * seconds

    @property
    def spare(self) -> float:
        """Seconds that may still be used now; negative when the doctor has used more than its share."""
        return self._allowance() - self.total + sum(self._free.values())

    def _allowance(self) -> float:
        """Seconds that the doctor may have used by now."""
        elapsed = self.elapsed
        return self.share * elapsed + min(EXTRA_SECONDS, EXTRA_RELEASED_PER_SECOND * elapsed)

    @property
    def elapsed(self) -> float:
        """Seconds since the doctor came, its own time left out."""
        return perf_counter() - self._started - self.total
