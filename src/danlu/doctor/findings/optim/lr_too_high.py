"""Finding optim.lr_too_high: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import fmean

from danlu.doctor.derived.curves import jumps, learning_rates, start_of, training_curve, turns
from danlu.doctor.derived.learning import final_skill
from danlu.doctor.derived.progress import chance_loss, steps_taken
from danlu.doctor.derived.updates import (
    HEAVY_MOMENTUM,
    first_update,
    has_line_search,
    initial_gains,
    top_lr,
    top_momentum,
)
from danlu.doctor.drawings.over_time import rising_loss
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import CurveJudgement, FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.message import Message

RECOVERED_SKILL = 0.7  # at the end, from which a loss that rose in the first steps did little harm
MIN_STEPS = 20  # steps; a loss may rise and come back within fewer


def lr_too_high(ledger: Ledger) -> Iterable[Finding]:
    """The loss rises from its start: a learning rate above 2 / curvature diverges (LeCun et al. 1998, section 4).

    Good trainings without warm-up may rise for their first steps and come back: in a few steps only an explosion counts. A
    loss without a known chance level (a temporal-difference error, a penalty that starts near zero) has no scale to grow
    by: there the steps must be longer than those of any good training.
    """
    (steps, losses), momentum = ledger.series("loss.step"), top_momentum(ledger)
    finite = [loss for loss in losses if math.isfinite(loss)]
    if not finite or momentum >= HEAVY_MOMENTUM or broken_by_data(ledger):
        return
    chance = chance_loss(ledger)
    start = max(losses[0] if math.isfinite(losses[0]) else 0.0, chance or 0.0, 1e-12)
    if start < 1e-9 or (chance is None and min(finite) < 0):
        return  # losses at or below zero have no scale to grow by
    growth, step = max((loss / start, step) for step, loss in zip(steps, losses) if math.isfinite(loss))
    first, few = first_update(ledger), steps_taken(ledger) < MIN_STEPS
    broke, gains = len(finite) < len(losses), initial_gains(ledger)
    facts = {
        "growth": growth,
        "step": step,
        "lr": top_lr(ledger),
        "update_ratio": first,
        "threshold": 3.0,
        "source": "",
        "change": change_text(first),
        "fix": "",
    }
    if ledger.last("loss.option", "reduction") == "sum":
        facts["fix"] = "summed"
        facts["source"] = message(
            "finding.optim.lr_too_high.summed",
            " The loss is summed over the batch (reduction='sum'), which makes each step as many times longer as the "
            "batch has samples: use reduction='mean'.",
        )
    if broke and (growth > 3 or first > 0.3):
        facts["broke"] = next(step for step, loss in zip(steps, losses) if not math.isfinite(loss))
        facts["what"] = message(
            "finding.optim.lr_too_high.broke", "The loss stopped being a number at step {step}", step=facts["broke"]
        )
        yield Finding("optim.lr_too_high", "error", 0.9, "", facts)
    elif growth > 100 and (chance is not None or first > 0.1):
        facts["what"] = message(
            "finding.optim.lr_too_high.rose",
            "The loss rose to {growth} times its start, at step {step}",
            growth=growth,
            step=step,
        )
        yield Finding("optim.lr_too_high", "error", 0.9, "", facts)
    elif growth > 3 and first > (0.03 if chance is not None else 0.1) and not few:
        facts["what"] = message(
            "finding.optim.lr_too_high.rose",
            "The loss rose to {growth} times its start, at step {step}",
            growth=growth,
            step=step,
        )
        yield Finding("optim.lr_too_high", "warning", 0.8, "", facts)
    elif (
        first > 0.1 and growth > 1.1 and len(gains) > 1 and max(gains) > 0.3 and not has_line_search(ledger) and not few
    ):
        facts["what"] = message(
            "finding.optim.lr_too_high.first_steps",
            "The loss rose during the first steps, to {growth} times its start",
            growth=growth,
        )
        recovered = ledger.has("run.finished") and (final_skill(ledger) or 0.0) >= RECOVERED_SKILL
        yield Finding("optim.lr_too_high", "note" if recovered else "warning", 0.7, "", facts)


def change_text(ratio: float) -> Message:
    """Length of the first steps against the size of the weights."""
    if ratio < 1:
        return message("finding.optim.lr_too_high.change", "{fraction:%} of their size", fraction=ratio)
    return message("finding.optim.lr_too_high.change_times", "{times} times their size", times=ratio)


def broken_by_data(ledger: Ledger) -> bool:
    """Return whether the first non-finite value was in the data or the labels."""
    return ledger.first("nonfinite.source") in ("input", "target")


MIN_CURVE = 6  # points of a training curve
DIVERGED = 1.5  # times the start
BIG_JUMPS = 0.3  # of the loss, median from point to point


def lr_too_high_of_curves(ledger: Ledger) -> Iterable[Finding]:
    """The training loss rises far above its start, rises again for good, or jumps up and down without falling."""
    start, losses = start_of(ledger), training_curve(ledger)
    if start is None or len(losses) < MIN_CURVE:
        return
    late, low, first = fmean(losses[-max(2, len(losses) // 5) :]), min(losses), losses[0]
    at_low = losses.index(low)
    facts = {"first": first, "lowest": low, "late": late, "lr": max(learning_rates(ledger), default="?")}
    if late > DIVERGED * start:
        what = message(
            "finding.optim.lr_too_high.curve_diverged",
            "The training loss rose from {first} to {late}",
            first=first,
            late=late,
        )
        yield Finding("optim.lr_too_high", "error", 0.8, "", facts | {"what": what})
    elif at_low < 0.7 * len(losses) and late > 2 * low and late - low > 0.2 * start:
        what = message(
            "finding.optim.lr_too_high.curve_lost",
            "The training loss fell to {low} and rose again to {late}",
            low=low,
            late=late,
        )
        yield Finding("optim.lr_too_high", "warning", 0.7, "", facts | {"what": what})
    elif jumps(losses) > BIG_JUMPS and turns(losses) > 0.4 and late > 0.5 * start:
        what = message(
            "finding.optim.lr_too_high.curve_jumps",
            "The training loss jumps by {size:%} from point to point and hardly falls ({first} at the start, {late} at the "
            "end)",
            size=jumps(losses),
            first=first,
            late=late,
        )
        yield Finding("optim.lr_too_high", "warning", 0.65, "", facts | {"what": what})


SPEC = FindingSpec(
    code="optim.lr_too_high",
    order=310,
    severities=(
        "error",
        "warning",
        "note",
    ),
    rule=lr_too_high,
    words=Words(
        title="The learning rate is too high",
        cause=(
            "{what}. At learning rate {lr} each of the first steps changed the weights by {change}, where "
            "0.1 % to 1 % is usual: steps overshoot the minimum and increase the loss.{source}"
        ),
        fix=(
            "Train again with a tenth of the learning rate. If only the first steps are too long, warm up "
            "with torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=200)."
        ),
        snippet={
            "": ('for g in optimizer.param_groups:\n    g["lr"] /= 10'),
            "summed": 'loss_fn = nn.CrossEntropyLoss(reduction="mean")',
        },
    ),
    charts=(rising_loss,),
    explains=(
        "model.inputs_unused",
        "data.label_noise",
        "data.labels_shuffled",
        "gradient.vanishing",
        "optim.plateau_minimum",
        "optim.plateau_saddle",
        "optim.slow_convergence",
        "model.too_small",
        "numerics.nonfinite",
        "optim.oscillation",
        "optim.no_warmup",
        "gradient.exploding",
        "activation.dead_relu",
        "activation.saturated",
        "activation.collapsed",
        "fit.*",
        "optim.clipping_always",
        "norm.train_eval_gap",
    ),
    contradicts=("optim.lr_too_low",),
    needs=(
        "loss.step",
        "optimizer.lr",
        "update.ratio",
    ),
    overcome_at=0.9,
    from_curves=CurveJudgement(
        rule=lr_too_high_of_curves,
        needs=("loss.step", "curves.start"),
        words=Words(
            title="Training diverges or is unstable: the learning rate is probably too high",
            cause="{what}: the steps overshoot the minimum and increase the loss.",
            fix=(
                "Divide the learning rate by 10; if only the start is unstable, warm up over the first few "
                "hundred steps; clip the gradient norm to 1. If a tenth of the learning rate is no better, "
                "check the inputs and the loss."
            ),
            snippet=('for g in optimizer.param_groups:\n    g["lr"] /= 10'),
        ),
    ),
)
