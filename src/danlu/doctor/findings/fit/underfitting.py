"""Finding fit.underfitting: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean

from danlu.doctor.derived.progress import descent, epoch_losses_of_splits, skills, steps_taken
from danlu.doctor.drawings.over_epochs import epoch_losses
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger


def underfitting(ledger: Ledger) -> Iterable[Finding]:
    """Training and validation stay equally poor while the loss no longer falls, and lr and time suffice."""
    course, late = epoch_losses_of_splits(ledger), descent(ledger)
    if course is None or late is None or len(course[0]) < 5:
        return
    train, val, chance = course
    skill, val_skill = skills(ledger, "train")[-1], skills(ledger, "val")[-1]  # above the floor of smoothed labels
    quarter = max(1, len(val) // 4)
    still = late < 0.02 or fmean(val[-2 * quarter : -quarter]) - fmean(val[-quarter:]) < 0.01 * chance
    if 0.02 < skill < 0.8 and skill - val_skill < 0.15 and still and val[-1] < chance and lr_stays_high(ledger):
        facts = {"skill": skill, "val_skill": val_skill, "descent": late, "epochs": len(train)}
        facts |= {"train": train[-1], "val": val[-1], "chance": chance}
        yield Finding("fit.underfitting", "note", 0.65, "", facts)


def lr_stays_high(ledger: Ledger) -> bool:
    """Return whether the lr of a group was at least 5 % of its maximum half-way through the run."""
    middle = steps_taken(ledger) / 2
    for group in ledger.wheres("optimizer.lr"):
        steps, rates = ledger.series("optimizer.lr", group)
        if [r for s, r in zip(steps, rates) if s <= middle][-1:] >= [0.05 * max(rates)]:
            return True
    return not ledger.has("optimizer.lr")


SPEC = FindingSpec(
    code="fit.underfitting",
    order=510,
    severities=("note",),
    rule=underfitting,
    words=Words(
        title="Underfitting",
        cause=(
            "Training ends at a loss of {train} and validation at {val} (chance level {chance}), and "
            "neither falls any more. The model is too simple, or the inputs hold no more information about "
            "the answer."
        ),
        fix=(
            "Try a wider or deeper model. If nothing changes, the inputs do not determine the answer: add "
            "features, or check the labels."
        ),
    ),
    charts=(epoch_losses,),
    explains=("model.too_small",),
    needs=(
        "loss.mean[val]",
        "loss.kind",
    ),
    alone=True,
)
