"""Finding optim.slow_convergence: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable

from danlu.doctor.derived.progress import (
    descent,
    falls_until_end,
    late_losses,
    loss_diverged,
    skills,
    steps_taken,
)
from danlu.doctor.drawings.over_time import loss_and_chance
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger


def slow_convergence(ledger: Ledger) -> Iterable[Finding]:
    """The loss still falls at the end: ill-conditioned, or too few epochs."""
    epochs, late = len(ledger.values("loss.mean", "train")), descent(ledger)
    skill = (skills(ledger, "train") or [None])[-1]
    if skill is None or epochs < 5 or late is None or skill > 0.95 or not math.isfinite(skill) or loss_diverged(ledger):
        return
    facts = {"descent": late, "skill": skill, "epochs": epochs, "steps": steps_taken(ledger)}
    facts["before"], facts["late"] = late_losses(ledger) or (None, None)
    if falls_until_end(ledger):
        yield Finding("optim.slow_convergence", "note", min(0.5, 0.3 + late), "", facts)


SPEC = FindingSpec(
    code="optim.slow_convergence",
    order=400,
    severities=("note",),
    rule=slow_convergence,
    words=Words(
        title="The loss was still falling when training ended",
        cause=(
            "The training loss was {before} on average in the middle half of the {steps} steps and {late} "
            "in the last quarter: it was still falling."
        ),
        fix=("Train longer, or faster: standardise the inputs, use Adam or momentum 0.9, or add normalisation layers."),
    ),
    charts=(loss_and_chance,),
    needs=(
        "loss.mean[train]",
        "loss.kind",
    ),
    alone=True,
)
