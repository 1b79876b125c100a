"""The training loss fell, then rose again because the learning rate grew."""

from __future__ import annotations

import math
from bisect import bisect_right
from statistics import fmean

from danlu.doctor.derived.progress import chance_loss
from danlu.doctor.derived.updates import groups
from danlu.doctor.ledger import Ledger

BLOCKS, MIN_PER_BLOCK = 12, 2  # equal intervals of the measured losses, and losses in each
MIN_GROWTH = 3.0  # of the learning rate since the loss was lowest
LEARNT, LOST = 0.7, 0.9  # of the loss at the start or at chance level, whichever is higher


def lost_as_rate_grew(ledger: Ledger) -> dict[str, float] | None:
    """Lowest loss and learning rate there, and both at the end; None unless the loss rose with the rate until the end.

    A schedule that restarts raises the rate too, but gives up little of what was learnt, and ends with a low rate.
    """
    steps, losses = ledger.series("loss.step")
    size = len(losses) // BLOCKS
    if size < MIN_PER_BLOCK or not groups(ledger) or not all(map(math.isfinite, losses)):
        return None
    means = [fmean(losses[i * size : (i + 1) * size]) for i in range(BLOCKS)]
    start, best = max(means[0], chance_loss(ledger) or 0.0), means.index(min(means))
    if not means[best] < LEARNT * start or not means[-1] > LOST * start:
        return None
    before, after = (_rate(ledger, steps[at]) for at in ((best + 1) * size - 1, len(steps) - 1))
    top = max(_rate(ledger, step) for step in steps)
    if not 0 < before * MIN_GROWTH < after or after < top:
        return None
    return {"low": means[best], "late": means[-1], "rate": before, "grown": after}


def _rate(ledger: Ledger, step: int) -> float:
    """Largest learning rate of any group at a step."""
    found = []
    for group in groups(ledger):
        changed, rates = ledger.series("optimizer.lr", group)
        found.append(rates[max(0, bisect_right(changed, step) - 1)])
    return max(found)
