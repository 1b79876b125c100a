"""Finding fit.stopped_early: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import fmean

from danlu.doctor.derived.curves import MIN_POINTS, lr_decayed, start_of, training_curve
from danlu.doctor.derived.progress import (
    MIN_DESCENT,
    chance_loss,
    descent,
    falls_until_end,
    last_loss,
    late_losses,
    loss_diverged,
    skills,
    steps_taken,
)
from danlu.doctor.derived.updates import steps_agree
from danlu.doctor.drawings.over_epochs import epoch_losses
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import CurveJudgement, FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message

MAX_EPOCHS = 5  # of a training that may have been meant as a trial
MIN_STEPS, FEW_STEPS = 20, 200  # of a whole training; fewer steps are a trial of the code
LOW_SKILL = 0.3  # fraction of the loss at chance level explained by a training that has hardly begun
LATE_DESCENT = 0.08  # of the whole descent, between the last quarter of a curve and the quarter before


def stopped_early(ledger: Ledger) -> Iterable[Finding]:
    """The last of only a few epochs still lowered the loss steeply, or a few steps of one direction were all."""
    train, val, late = ledger.values("loss.mean", "train"), ledger.values("loss.mean", "val"), descent(ledger)
    skill = (skills(ledger, "train") or [None])[-1]
    if (
        not train
        or len(train) > MAX_EPOCHS
        or late is None
        or skill is None
        or not math.isfinite(skill)
        or loss_diverged(ledger)
    ):
        return
    improving = len(val) < 2 or val[-1] <= min(val)
    hardly_begun = skill < LOW_SKILL and MIN_STEPS <= steps_taken(ledger) < FEW_STEPS and steps_agree(ledger)
    if hardly_begun and skill > -1:
        facts = {"descent": late, "epochs": len(train), "skill": skill, "threshold": LOW_SKILL}
        facts |= {"steps": steps_taken(ledger), "loss": last_loss(ledger, "train"), "chance": chance_loss(ledger)}
        facts["seen"] = message(
            "finding.fit.stopped_early.same_way",
            "After {steps} steps the training loss was {loss} on average, chance level is {chance}, and each step still went "
            "almost the same way as the one before.",
            **{name: facts[name] for name in ("steps", "loss", "chance")},
        )
        yield Finding("fit.stopped_early", "warning", 0.75, "", facts)
    elif falls_until_end(ledger) and improving and skill > -1:
        facts = {"descent": late, "epochs": len(train), "skill": skill}
        facts |= {"threshold": MIN_DESCENT, "steps": steps_taken(ledger)}
        facts["before"], facts["late"] = late_losses(ledger) or (None, None)
        facts["seen"] = message(
            "finding.fit.stopped_early.falling",
            "The training loss was {before} on average in the middle half of the {steps} steps and {late} in the last quarter: "
            "it was still falling.",
            **{name: facts[name] for name in ("before", "steps", "late")},
        )
        yield Finding("fit.stopped_early", "note", 0.75, "", facts)


def stopped_early_of_curves(ledger: Ledger) -> Iterable[Finding]:
    """The loss (of validation where there is one) still fell markedly at the end, and the lr had not been lowered."""
    start, losses = start_of(ledger), ledger.values("loss.mean", "val")
    losses = losses if len(losses) >= MIN_POINTS else training_curve(ledger)
    if start is None or len(losses) < MIN_POINTS or not all(map(math.isfinite, losses)) or lr_decayed(ledger):
        return
    quarter = max(1, len(losses) // 4)
    before, late = fmean(losses[-2 * quarter : -quarter]), fmean(losses[-quarter:])
    fallen = losses[0] - late
    if fallen > 0.1 * start and before - late > LATE_DESCENT * fallen and losses[-1] <= min(losses):
        facts = {"before": before, "late": late, "descent": (before - late) / fallen, "threshold": LATE_DESCENT}
        yield Finding("fit.stopped_early", "note", 0.65, "", facts)


SPEC = FindingSpec(
    code="fit.stopped_early",
    order=550,
    severities=(
        "warning",
        "note",
    ),
    rule=stopped_early,
    words=Words(
        title="Training stopped early",
        cause="{seen}",
        fix=(
            "Train longer (for example twice as long), until the validation loss has not improved for several epochs."
        ),
    ),
    charts=(epoch_losses,),
    needs=(
        "loss.mean[train]",
        "loss.kind",
    ),
    alone=True,
    from_curves=CurveJudgement(
        rule=stopped_early_of_curves,
        needs=("loss.step", "curves.start"),
        words=Words(
            title="The loss was still falling when training ended",
            cause="It was {before} on average in the third quarter of the curve and {late} in the last.",
            fix="Train longer (for example twice as long), until validation has not improved for several evaluations.",
        ),
    ),
)
