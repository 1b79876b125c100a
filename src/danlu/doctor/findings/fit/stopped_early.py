"""Finding fit.stopped_early: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable

from danlu.doctor.derived.progress import descent, loss_diverged, skills
from danlu.doctor.drawings.over_epochs import epoch_losses
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger


def stopped_early(ledger: Ledger) -> Iterable[Finding]:
    """The last of only a few epochs still lowered the loss steeply."""
    train, val, late = ledger.values("loss.mean", "train"), ledger.values("loss.mean", "val"), descent(ledger)
    skill = (skills(ledger, "train") or [None])[-1]
    if (
        not train
        or len(train) > 5
        or late is None
        or skill is None
        or not math.isfinite(skill)
        or loss_diverged(ledger)
    ):
        return
    improving = len(val) < 2 or val[-1] <= min(val)
    if late > 0.02 and improving and skill > -1:
        facts = {"descent": late, "epochs": len(train), "skill": skill, "threshold": 0.02}
        yield Finding("fit.stopped_early", "note", 0.75, "", facts)


SPEC = FindingSpec(
    code="fit.stopped_early",
    order=550,
    severities=("note",),
    rule=stopped_early,
    words=Words(
        title="Training stopped early",
        cause=(
            "After {epochs} epochs the loss was still falling: its mean over the last quarter of the steps lay "
            "{descent:%} of the loss at chance level below that of the half before."
        ),
        fix="Train for more epochs, until validation has not improved for several of them.",
    ),
    charts=(epoch_losses,),
    needs=(
        "loss.mean[train]",
        "loss.kind",
    ),
    alone=True,
)
