"""Finding optim.lr_too_low: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from danlu.doctor.derived.curves import learning_rates, lr_decayed, start_of, training_curve, turns
from danlu.doctor.derived.progress import chance_loss, descent, last_loss, skills, steps_taken
from danlu.doctor.derived.updates import (
    MIN_MEASURED,
    SHORT_UPDATE,
    initial_gains,
    is_clipped,
    matrix_update,
    top_lr,
    update_ratios_at_top_lr,
)
from danlu.doctor.drawings.over_layers import updates_by_layer
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import CurveJudgement, FindingSpec, Words
from danlu.doctor.ledger import Ledger

AT_CHANCE = 0.02  # fraction of the loss at chance level explained
MANY_STEPS = 300


def lr_too_low(ledger: Ledger) -> Iterable[Finding]:
    """Updates far below a thousandth of the weights, the usual size (Karpathy 2015), and little progress."""
    ratios = update_ratios_at_top_lr(ledger)  # small during a warm-up
    skill, late = (skills(ledger, "train") or [None])[-1], descent(ledger)
    if len(ratios) < MIN_MEASURED or skill is None or late is None or is_clipped(ledger) or top_lr(ledger) == 0:
        return
    if max(initial_gains(ledger), default=1.0) > 2:
        return  # weights far too large: relative updates are small
    early = median(ratios[: max(MIN_MEASURED, len(ratios) // 2)])
    if skill < AT_CHANCE and steps_taken(ledger) >= MANY_STEPS:
        early = min(early, matrix_update(ledger) or early)  # outputs that move fast hide the layers that hardly do
    facts = {"update_ratio": early, "threshold": SHORT_UPDATE, "lr": top_lr(ledger), "descent": late}
    facts["skill"] = max(skill, 0.0)
    facts |= {"loss": last_loss(ledger, "train"), "chance": chance_loss(ledger)}
    soon = len(ledger.values("loss.mean", "train")) < 3 and not ledger.has(
        "run.finished"
    )  # the first epochs learn little
    if 0 < early < SHORT_UPDATE and skill < 0.5 and not (soon and early > 1e-4):
        yield Finding("optim.lr_too_low", "warning", 0.9 if early < 1e-4 else 0.75, "", facts)
    elif 0 < early < SHORT_UPDATE and skill < 0.9:
        yield Finding("optim.lr_too_low", "note", 0.6, "", facts)


MIN_CURVE = 8  # points of a training curve
MAX_DESCENT = 0.2  # of the start: a loss that falls by more is learning at a usual pace


def lr_too_low_of_curves(ledger: Ledger) -> Iterable[Finding]:
    """The training loss falls steadily, as fast at the end as at the start, and by little."""
    start, losses = start_of(ledger), training_curve(ledger)
    if start is None or len(losses) < MIN_CURVE or lr_decayed(ledger):
        return
    half = len(losses) // 2
    early, late = losses[0] - losses[half], losses[half] - losses[-1]
    fallen = losses[0] - losses[-1]
    if 0.02 * start < fallen < MAX_DESCENT * start and late > 0.6 * early > 0 and turns(losses) < 0.1:
        facts = {"first": losses[0], "late": losses[-1], "lr": max(learning_rates(ledger), default="?")}
        facts |= {"points": len(losses), "fallen": fallen / losses[0], "threshold": MAX_DESCENT}
        yield Finding("optim.lr_too_low", "warning", 0.6, "", facts)


SPEC = FindingSpec(
    code="optim.lr_too_low",
    order=320,
    severities=(
        "warning",
        "note",
    ),
    rule=lr_too_low,
    words=Words(
        title="The learning rate is too low",
        cause=(
            "At learning rate {lr} a step changes the weights by only {update_ratio:%} of their size; about "
            "0.1 % is usual. The training loss is {loss} so far, chance level {chance}. The direction is "
            "right, the steps are too short."
        ),
        fix=("Multiply the learning rate by 10 and check again. Usual values: Adam 1e-3, SGD with momentum 0.05."),
        snippet=('for g in optimizer.param_groups:\n    g["lr"] *= 10'),
    ),
    charts=(updates_by_layer,),
    explains=(
        "model.too_small",
        "fit.*",
        "optim.slow_convergence",
        "optim.plateau_minimum",
        "optim.plateau_saddle",
    ),
    needs=(
        "update.ratio",
        "loss.mean[train]",
        "loss.kind",
    ),
    overcome_at=0.9,
    alone=True,
    from_curves=CurveJudgement(
        rule=lr_too_low_of_curves,
        needs=("loss.step", "curves.start"),
        words=Words(
            title="The learning rate is probably too low",
            cause=(
                "The training loss fell steadily from {first} to {late}, by only {fallen:%}, and as fast at the "
                "end as at the start: the direction is right and the steps are short."
            ),
            fix=("Multiply the learning rate by 3 to 10 and compare the curves; usual values: Adam 1e-3, SGD 0.05."),
            snippet=('for g in optimizer.param_groups:\n    g["lr"] *= 10'),
        ),
    ),
)
