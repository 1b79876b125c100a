"""Optimizer steps: learning rates, momentum, updates over weights, clipping."""

from __future__ import annotations

import math
from statistics import median

from danlu.doctor.derived.progress import steps_taken
from danlu.doctor.ledger import Ledger

# Optimisers that add the decay to the gradient and then rescale both together.
ADAPTIVE = ("Adam", "NAdam", "RAdam", "Adamax", "RMSprop", "Adagrad", "Adadelta")
SHORT_UPDATE = 5e-4  # of the weights, by a step; about a thousandth is usual (Karpathy 2015)
MIN_MEASURED = 5  # updates
AGREEING = 0.7  # cosine of successive updates
HEAVY_MOMENTUM = 0.985  # gradients of more than 60 steps add up


def late_cosines(ledger: Ledger) -> list[float]:
    """Cosines of successive updates in the second half of the run."""
    cosines = ledger.values("update.cosine")
    return [c for c in cosines[len(cosines) // 2 :] if math.isfinite(c)]


def updates_oscillate(ledger: Ledger) -> bool:
    """Return whether late updates point against the one before: at least 3 cosines, of median below -0.75."""
    late = late_cosines(ledger)
    return len(late) >= 3 and median(late) < -0.75


def steps_agree(ledger: Ledger) -> bool:
    """Return whether plain gradient descent still goes the same way at the end: each step much like the one before.

    Gradients that agree have met neither noise nor curvature, so that more or longer steps lower the loss further.
    Momentum makes successive steps alike by itself.
    """
    late = late_cosines(ledger)
    plain = set(ledger.facts("optimizer.kind").values()) == {"SGD"} and top_momentum(ledger) == 0
    return plain and len(late) >= MIN_MEASURED and median(late) > AGREEING


def has_line_search(ledger: Ledger) -> bool:
    """Return whether the optimiser chooses its step length by itself (LBFGS)."""
    return "LBFGS" in ledger.facts("optimizer.kind").values()


def are_adaptive(ledger: Ledger) -> bool:
    """Return whether all optimisers divide each gradient by its usual size, so that its scale has no effect."""
    kinds = ledger.facts("optimizer.kind").values()
    return bool(kinds) and all(kind in (*ADAPTIVE, "AdamW") for kind in kinds)


def initial_gains(ledger: Ledger) -> list[float]:
    """Gain of each weight matrix at the start: standard deviation x sqrt(inputs); 1 keeps the scale."""
    gains = []
    for name, role in ledger.facts("parameter.role").items():
        shape, std = ledger.last("parameter.shape", name), ledger.last("parameter.std", name)
        if role == "weight" and shape and len(shape) >= 2 and std is not None:
            gains.append(std * math.sqrt(math.prod(shape[1:])))
    return gains


def groups(ledger: Ledger) -> list[str]:
    """Names of the parameter groups that have a learning rate: optimizer0.group0, ..."""
    return ledger.wheres("optimizer.lr")


def top_lr(ledger: Ledger) -> float:
    """Largest learning rate of any group at any time."""
    return max((max(ledger.values("optimizer.lr", g)) for g in groups(ledger)), default=0.0)


def zero_lr_fraction(ledger: Ledger) -> float:
    """Fraction of the training steps in which the learning rate of every group was exactly 0."""
    last = steps_taken(ledger)
    zero: list[set[int]] = []
    for group in groups(ledger):
        steps, rates = ledger.series("optimizer.lr", group)
        ends = [*steps[1:], last + 1]
        zero.append({step for start, end, rate in zip(steps, ends, rates) if rate == 0 for step in range(start, end)})
    return len(set.intersection(*zero)) / max(1, last) if zero else 0.0


def first_update(ledger: Ledger) -> float:
    """Median of update norm over weight norm in the first steps; 0 where none was measured.

    A step with a finite gradient that made the weights non-finite counts as 1.
    """
    sound = {step for step, norm in zip(*ledger.series("gradient.norm")) if math.isfinite(norm)}
    first = list(zip(*ledger.series("update.ratio")))[:6]
    known = [ratio if math.isfinite(ratio) else 1.0 for step, ratio in first if math.isfinite(ratio) or step in sound]
    return median(known) if known else 0.0


def steps_are_short(ledger: Ledger) -> bool:
    """Return whether the steps change the weights by so little that a model which learnt nothing shows nothing else."""
    ratios = update_ratios_at_top_lr(ledger)
    return len(ratios) >= MIN_MEASURED and 0 < median(ratios[: max(MIN_MEASURED, len(ratios) // 2)]) < SHORT_UPDATE


def update_ratios_at_top_lr(ledger: Ledger) -> list[float]:
    """Update over weight, scaled to the largest learning rate so far (a step is proportional to its learning rate)."""
    by_group = [list(zip(*ledger.series("optimizer.lr", group))) for group in groups(ledger)]
    ahead = list(reversed(max(by_group, key=lambda rates: max(rate for _, rate in rates), default=[])))
    found, rate, top = [], 0.0, top_lr(ledger)
    for step, ratio in zip(*ledger.series("update.ratio")):
        while ahead and ahead[-1][0] <= step:
            rate = ahead.pop()[1]
        if math.isfinite(ratio):
            found.append(ratio * top / rate if rate else ratio)
    return found


def matrix_update(ledger: Ledger) -> float | None:
    """Median over the weight matrices of the median of update over weight of each; None for fewer than three."""
    roles, found = ledger.facts("parameter.role"), []
    for name in ledger.wheres("update.ratio"):
        ratios = [ratio for ratio in ledger.values("update.ratio", name) if math.isfinite(ratio)]
        if roles.get(name) == "weight" and len(ratios) >= MIN_MEASURED:
            found.append(median(ratios))
    return median(found) if len(found) >= 3 else None


def top_momentum(ledger: Ledger) -> float:
    """Largest momentum of any group at any step; 0 if none was written."""
    return max((max(ledger.values("optimizer.momentum", g)) for g in ledger.wheres("optimizer.momentum")), default=0.0)


def clip_ratios(ledger: Ledger) -> list[float]:
    """Norm of the gradient used over its norm before clipping, for steps with a gradient."""
    return [s for s in ledger.values("gradient.clip_ratio") if math.isfinite(s) and s > 1e-12]


def is_clipped(ledger: Ledger) -> bool:
    """Return whether clipping more than halves the gradient: at least 5 ratios, of median below 0.5."""
    ratios = clip_ratios(ledger)
    return len(ratios) >= 5 and median(ratios) < 0.5
