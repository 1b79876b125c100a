"""Shapes of logged curves: what the rules of `FindingSpec.from_curves` measure."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import fmean, median

from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.message import Message

MIN_POINTS = 4  # of a curve; a shorter one is not judged
MIN_GAIN = 0.05  # of the best value of a metric, between its first and its last third
BLOCKS = 40  # a longer training curve is replaced by the means of this number of equal parts


def training_curve(ledger: Ledger) -> list[float]:
    """Training loss in at most BLOCKS equal parts, until it stops being finite; [] if it is too short."""
    values = finite_start(ledger.values("loss.step"))
    if len(values) > BLOCKS:
        edges = [round(i * len(values) / BLOCKS) for i in range(BLOCKS + 1)]
        values = [fmean(values[a:b]) for a, b in pairwise(edges)]
    return values if len(values) >= MIN_POINTS else []


def finite_start(values: list[float]) -> list[float]:
    """The values before the first that is NaN or infinite."""
    return values[: next((i for i, value in enumerate(values) if not math.isfinite(value)), len(values))]


def start_of(ledger: Ledger) -> float | None:
    """Loss at the start, the scale of the curves; None where losses are negative and have no scale."""
    start = ledger.last("curves.start")
    return start if start and start > 0 else None


def learning_rates(ledger: Ledger) -> list[float]:
    """The logged learning rate, [] if there is none."""
    where = next(iter(ledger.wheres("optimizer.lr")), "")
    return [rate for rate in ledger.values("optimizer.lr", where) if math.isfinite(rate)]


def is_warming_up(ledger: Ledger) -> bool:
    """Return whether the learning rate still rises, or reached its maximum more recently than half of the steps ago."""
    where = next(iter(ledger.wheres("optimizer.lr")), "")
    steps, values = ledger.series("optimizer.lr", where)
    # The rate at step 0 was set before the schedule changed it: no step was made with it.
    rates = [rate for step, rate in zip(steps, values) if (step or len(values) == 1) and math.isfinite(rate)]
    peak = next((i for i, rate in enumerate(rates) if rate >= 0.98 * max(rates)), 0)
    return 2 * peak > max(len(rates) - 1, 0)


def lr_is_constant(ledger: Ledger) -> bool:
    """Return whether a learning rate is known and at least 90 % of its maximum at the end."""
    rates = learning_rates(ledger)
    return len(rates) >= MIN_POINTS and rates[-1] >= 0.9 * max(rates) > 0


def lr_decayed(ledger: Ledger) -> bool:
    """Return whether the learning rate ended below a fifth of its maximum."""
    rates = learning_rates(ledger)
    return bool(rates) and rates[-1] < 0.2 * max(rates)


def metric_still_improves(ledger: Ledger) -> bool:
    """Return whether a logged metric was best in the last fifth of its values, and clearly better late than early."""
    for name in ledger.wheres("user.metric"):
        values = ledger.values("user.metric", name)
        third = max(1, len(values) // 3)
        gained = fmean(values[-third:]) - fmean(values[:third])
        is_late = values.index(max(values)) >= 0.8 * len(values) - 1
        if len(values) >= MIN_POINTS and is_late and gained > MIN_GAIN * max(values):
            return True
    return False


def jumps(values: list[float]) -> float:
    """Median change between successive values of the second half, relative to their median."""
    late = values[len(values) // 2 :]
    level = median(late)
    return median(abs(b - a) for a, b in pairwise(late)) / level if len(late) > 2 and level > 0 else 0.0


def turns(values: list[float]) -> float:
    """Fraction of the changes that reverse the one before: 0 is monotone, 2/3 is pure noise."""
    changes = [b - a for a, b in pairwise(values)]
    return fmean(a * b < 0 for a, b in pairwise(changes)) if len(changes) > 2 else 0.0


def moment(ledger: Ledger, number: int) -> Message:
    """The step or epoch of a point of the curves, within a sentence."""
    if ledger.last("curves.axis") == "epoch":
        return message("doctor.curves.epoch", "epoch {number}", number=number)
    return message("doctor.curves.step", "step {number}", number=number)


def evaluation(ledger: Ledger, number: int) -> Message:
    """The step or epoch of an evaluation, numbered from 1."""
    return moment(ledger, ledger.values("curves.validation")[number - 1])
