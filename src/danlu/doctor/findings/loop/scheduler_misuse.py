"""Finding loop.scheduler_misuse: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

from danlu.doctor.derived.curves import finite_start, learning_rates
from danlu.doctor.derived.progress import accuracies, steps_taken
from danlu.doctor.derived.rate_growth import lost_as_rate_grew
from danlu.doctor.derived.updates import zero_lr_fraction
from danlu.doctor.drawings.over_time import rate
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import CurveJudgement, FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.places import group_place
from danlu.doctor.snippets import STEPPED_PER_BATCH, STEPPED_PER_EPOCH
from danlu.message import Message


def scheduler_misuse(ledger: Ledger) -> Iterable[Finding]:
    """A scheduler for epochs that is stepped per batch, the reverse, or one stepped before the optimiser."""
    ends = ledger.values("run.steps")
    unused = zero_lr_fraction(ledger)
    wrong_mode = _waits_for_the_worst(ledger)
    if wrong_mode:
        facts = {"problem": wrong_mode[1], "do": wrong_mode[2], "fix": wrong_mode[0]}
        yield Finding("loop.scheduler_misuse", "warning", 0.93, "", facts)
        return
    lost = lost_as_rate_grew(ledger)
    if lost:
        seen = message(
            "finding.loop.scheduler_misuse.grows",
            "The learning rate grew from {rate:.3g} to {grown:.3g}: the loss had fallen to {low}, and was {late} at the end",
            **lost,
        )
        yield Finding("loop.scheduler_misuse", "error", 0.9, "", lost | {"problem": seen, "do": SHRINK, "fix": "grows"})
        return
    for group in ledger.wheres("optimizer.lr"):
        steps, rates = ledger.series("optimizer.lr", group)
        early = ledger.last("optimizer.early_schedule", group)
        if early is not None:
            problem = message(
                "finding.loop.scheduler_misuse.early",
                "The learning rate {before:.3g} was replaced by {after:.3g} before any step used it: scheduler.step() runs before optimizer.step()",
                before=early,
                after=rates[min(1, len(rates) - 1)],
            )
            found = (
                "early",
                problem,
                message("finding.loop.scheduler_misuse.fix_early", "Call scheduler.step() after optimizer.step()."),
            )
        elif max(rates) > 0 and unused > MIN_ZERO_LR_FRACTION and steps_taken(ledger) >= MIN_ZERO_STEPS:
            found = _zero(max(rates), unused)
        elif len(rates) < 5 or not ends or max(rates) <= 0:
            continue
        else:
            found = (
                _lr_vanishes(steps, rates, ends)
                or _ends_early(steps, rates, steps_taken(ledger))
                or _cycles(steps, rates, ends)
                or _warmup_unfinished(ledger, steps, rates, ends)
            )
        if found:
            facts = {"problem": found[1], "do": found[2], "fix": found[0], "group": group}
            facts |= {"changes": len(rates), "epochs": len(ends)}
            yield Finding("loop.scheduler_misuse", "warning", 0.85, group_place(ledger, group), facts)
            return


SHRINK = message(
    "finding.loop.scheduler_misuse.fix_grows",
    "Print the learning rate once per epoch. A factor of decay lies below 1 (gamma=0.9), and a warm-up ends after a few hundred steps.",
)
SAME = 1e-3  # relative difference of two values of one metric
MIN_CHANGE = 0.02  # of the metric, relative, between its worst and its best value


def _waits_for_the_worst(ledger: Ledger) -> tuple[str, Message, Message] | None:
    """A ReduceLROnPlateau takes the lowest accuracy, or the highest loss, for the best."""
    for scheduler in ledger.wheres("optimizer.waits_for"):
        mode, best = ledger.last("optimizer.waits_for", scheduler)
        right = accuracies(ledger, "val") or accuracies(ledger, "train")
        for metric, values, good in (
            ("accuracy", list(right.values()), "max"),
            ("accuracy", ledger.values("accuracy.compared", "val"), "max"),
            ("loss", ledger.values("loss.mean", "val"), "min"),
            ("loss", ledger.values("loss.mean", "train"), "min"),
        ):
            known = [value for value in values if math.isfinite(value) and value > 0]
            if mode == good or len(known) < 3 or max(known) < (1 + MIN_CHANGE) * min(known):
                continue
            worst = min(known) if good == "max" else max(known)
            if any(abs(best - unit * worst) <= SAME * unit * worst for unit in (1, 100)):
                text = (
                    'ReduceLROnPlateau(mode="{mode}") took {best}, the worst {metric} of the training, for the best, so that '
                    "it lowers the learning rate while the {metric} improves"
                )
                named = ACCURACY if metric == "accuracy" else LOSS
                seen = message("finding.loop.scheduler_misuse.worst", text, mode=mode, best=best, metric=named)
                do = message(
                    "finding.loop.scheduler_misuse.fix_mode",
                    'Use mode="max" for an accuracy and other metrics that are better when higher, mode="min" for a loss.',
                )
                return "mode", seen, do
    return None


ACCURACY = message("finding.loop.scheduler_misuse.accuracy", "accuracy")
LOSS = message("finding.loop.scheduler_misuse.loss", "loss")
MIN_ZERO_LR_FRACTION = 0.5  # of the steps of a training
MIN_ZERO_STEPS = 20


def _zero(top: float, fraction: float) -> tuple[str, Message, Message]:
    """The learning rate was exactly 0 in most steps."""
    return (
        "zero",
        message(
            "finding.loop.scheduler_misuse.zero",
            "The learning rate was exactly 0 in {fraction:%} of the steps (at most {top:.3g}), so that these changed nothing",
            fraction=fraction,
            top=top,
        ),
        message(
            "finding.loop.scheduler_misuse.fix_zero",
            "Print the factor that the schedule returns for each step: integer division (//) makes fractions 0, and a schedule "
            "that counts other steps than the loop takes ends too early.",
        ),
    )


def _lr_vanishes(steps: list[int], rates: list[float], ends: list[int]) -> tuple[str, Message, Message] | None:
    """The learning rate fell to nearly zero within the first epoch, or within the first third of the run."""
    do = message(
        "finding.loop.scheduler_misuse.fix_fast",
        "Call scheduler.step() once per epoch, or give the schedule epochs * len(loader) steps.",
    )
    inside = [r for s, r in zip(steps, rates) if s <= ends[0]]
    fallen = inside[-1] / max(inside)
    falls = all(b <= a for a, b in pairwise(inside))
    returns = max((r for s, r in zip(steps, rates) if s > ends[0]), default=0.0) > 0.5 * max(inside)  # warm restarts
    if falls and not returns and len(inside) >= 8 and fallen < 0.02 and len(ends) > 1 and ends[-1] > 1.5 * ends[0]:
        return (
            "per_epoch",
            message(
                "finding.loop.scheduler_misuse.fell_in_epoch",
                "The learning rate changed {times} times in the first epoch and fell from {top:.3g} to {last:.3g}: scheduler.step() runs once per batch, while its numbers count epochs",
                times=len(inside),
                top=max(inside),
                last=inside[-1],
            ),
            do,
        )
    if len(ends) < 6 or any(b > a for a, b in pairwise(rates)):  # warm restarts are intended
        return None
    third = [r for s, r in zip(steps, rates) if s <= ends[-1] / 3]
    between = sum(s - 1 not in ends for s in steps[2:])
    if len(third) >= 4 and third[-1] < 1e-3 * rates[0] and between > 0.5 * len(steps[2:]):
        return (
            "per_epoch",
            message(
                "finding.loop.scheduler_misuse.fell_in_third",
                "The learning rate fell from {top:.3g} to {last:.3g} within the first third of the training: scheduler.step() runs more often than its numbers assume",
                top=rates[0],
                last=third[-1],
            ),
            do,
        )
    return None


NEGLIGIBLE = 1e-4  # of the largest learning rate
MIN_STEPS = 50


def _ends_early(steps: list[int], rates: list[float], taken: int) -> tuple[str, Message, Message] | None:
    """More than half of the steps had a learning rate near 0, whatever an epoch is."""
    vanished = next((s for s, r in zip(steps, rates) if 0 < r < NEGLIGIBLE * max(rates)), taken)
    falls = all(b <= a for a, b in pairwise(rates))
    if not falls or taken < MIN_STEPS or vanished > taken / 2:
        return None
    return (
        "per_epoch",
        message(
            "finding.loop.scheduler_misuse.ends_early",
            "The learning rate fell from {top:.3g} to less than a ten-thousandth of it within {steps} of {taken} steps, so that the "
            "others changed nothing: scheduler.step() runs more often than its numbers assume",
            top=max(rates),
            steps=vanished,
            taken=taken,
        ),
        message(
            "finding.loop.scheduler_misuse.fix_fast",
            "Call scheduler.step() once per epoch, or give the schedule epochs * len(loader) steps.",
        ),
    )


def _changes_between_epochs(steps: list[int], ends: list[int]) -> bool:
    """Return whether the learning rate changed only with the first step of an epoch."""
    return all(step - 1 in ends for step in steps[2:])


MIN_CYCLES = 2
BOTTOM = 0.02  # of the largest learning rate; schedules that cycle on purpose stay above it or jump back at once


def _cycles(steps: list[int], rates: list[float], ends: list[int]) -> tuple[str, Message, Message] | None:
    """The learning rate falls to nearly zero and climbs back in small steps, again and again."""
    low = BOTTOM * max(rates)
    bottoms = [
        i for i in range(1, len(rates) - 2) if rates[i - 1] >= rates[i] < rates[i + 1] < rates[i + 2] and rates[i] < low
    ]
    if len(bottoms) < MIN_CYCLES:
        return None
    if _changes_between_epochs(steps, ends):
        return None
    period = (steps[bottoms[-1]] - steps[bottoms[0]]) / (len(bottoms) - 1)
    return (
        "per_epoch",
        message(
            "finding.loop.scheduler_misuse.cycles",
            "The learning rate fell to nearly 0 and climbed back {times} times, every {period:.0f} steps, where an epoch has {epoch}: scheduler.step() runs once per batch, while its numbers count epochs",
            times=len(bottoms),
            period=period,
            epoch=ends[0],
        ),
        message(
            "finding.loop.scheduler_misuse.fix_fast",
            "Call scheduler.step() once per epoch, or give the schedule epochs * len(loader) steps.",
        ),
    )


MIN_RISING_STEPS = 200


def _warmup_unfinished(
    ledger: Ledger, steps: list[int], rates: list[float], ends: list[int]
) -> tuple[str, Message, Message] | None:
    """The learning rate changed only between epochs and was still in its warm-up when the run ended."""
    upward = all(b >= a for a, b in pairwise(rates))
    if not ledger.has("run.finished") or len(ends) < 5 or not upward:
        return None
    if not _changes_between_epochs(steps, ends):
        return _rising_to_the_end(steps, rates, ends)
    if rates[0] < rates[-1] < 2 * rates[0]:
        return (
            "per_batch",
            message(
                "finding.loop.scheduler_misuse.rising",
                "The learning rate was still in its warm-up when the training ended, at {end:.3g} after {start:.3g}: scheduler.step() runs once per epoch, while its numbers count batches",
                start=rates[0],
                end=rates[-1],
            ),
            message(
                "finding.loop.scheduler_misuse.fix_slow",
                "Call scheduler.step() after every batch, or give the schedule the number of epochs.",
            ),
        )
    return None


def _rising_to_the_end(steps: list[int], rates: list[float], ends: list[int]) -> tuple[str, Message, Message] | None:
    """The learning rate changed from batch to batch and rose until the last step."""
    late = [rate for step, rate in zip(steps, rates) if step >= 0.8 * ends[-1]]
    if ends[-1] < MIN_RISING_STEPS or not late or late[-1] <= late[0] or rates[-1] < 1.2 * rates[0]:
        return None
    return (
        "per_batch",
        message(
            "finding.loop.scheduler_misuse.never_fell",
            "The learning rate rose from {start:.3g} to {end:.3g} until the training ended: the schedule is made for more steps than the {steps} that were taken",
            start=rates[0],
            end=rates[-1],
            steps=ends[-1],
        ),
        message(
            "finding.loop.scheduler_misuse.fix_total",
            "Give the schedule the number of steps of the training: epochs * len(loader).",
        ),
    )


MIN_CURVE = 10  # points of a curve of learning rates
VANISHED = 1e-3  # of the maximum


def schedule_of_curves(ledger: Ledger) -> Iterable[Finding]:
    """The logged learning rate is zero, vanishes in the first half of the curve, or rises to the end."""
    rates = learning_rates(ledger)
    if len(rates) < MIN_CURVE:
        return
    top, half = max(rates), len(rates) // 2
    facts = {"top": top, "last": rates[-1], "points": len(rates)}
    if top == 0:
        problem = message("finding.loop.scheduler_misuse.curve_zero", "The learning rate is 0 throughout")
    elif max(rates[half:]) < VANISHED * top:
        problem = message(
            "finding.loop.scheduler_misuse.curve_vanishes",
            "The learning rate fell from {top} to {middle} in the first half of the training",
            top=top,
            middle=rates[half],
        )
    elif all(b > a for a, b in pairwise(rates)) and len(finite_start(ledger.values("loss.step"))) >= MIN_CURVE:
        problem = message(
            "finding.loop.scheduler_misuse.curve_rises",
            "The learning rate rose from {start} to {last} until the end: the warm-up never ended",
            start=rates[0],
            last=rates[-1],
        )
    else:
        return
    yield Finding("loop.scheduler_misuse", "warning", 0.75, "", facts | {"problem": problem})


SPEC = FindingSpec(
    code="loop.scheduler_misuse",
    order=290,
    severities=("error", "warning"),
    rule=scheduler_misuse,
    words=Words(
        title="The scheduler is used in the wrong way",
        cause="{problem}.",
        fix="{do}",
        snippet={
            "early": ("optimizer.step()\nscheduler.step()"),
            "per_epoch": STEPPED_PER_EPOCH,
            "per_batch": STEPPED_PER_BATCH,
            "grows": "scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9)",
            "mode": 'scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max")  # of an accuracy',
        },
    ),
    charts=(rate,),
    explains=(
        "loop.no_update",
        "optim.lr_too_low",
        "optim.slow_convergence",
        "fit.*",
        "optim.plateau_minimum",
        "optim.plateau_saddle",
    ),
    needs=(
        "optimizer.lr",
        "run.steps",
    ),
    from_curves=CurveJudgement(
        rule=schedule_of_curves,
        needs=("optimizer.lr",),
        words=Words(
            title="The learning rate schedule does not fit the length of the training",
            cause="{problem}.",
            fix=(
                "Call scheduler.step() as often as the numbers of the schedule assume: once per epoch where they count "
                "epochs, after every batch where they count steps; give it the length of the whole training."
            ),
        ),
    ),
)
