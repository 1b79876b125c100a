"""Finding optim.plateau_minimum: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import median

from danlu.doctor.derived.progress import loss_blocks, skills
from danlu.doctor.drawings.over_time import series
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message


def plateau_minimum(ledger: Ledger) -> Iterable[Finding]:
    """The gradient has vanished and the loss stands still: a minimum, or a flat region."""
    norms = [n for n in ledger.values("gradient.norm") if math.isfinite(n)]
    blocks = loss_blocks(ledger)
    if len(norms) < 10 or len(blocks) < 10 or not all(map(math.isfinite, blocks)):
        return
    start, end = max(norms[:5]), median(norms[-max(3, len(norms) // 10) :])
    still = abs(blocks[-4] - blocks[-1]) / max(abs(blocks[0]), 1e-12)
    skill = (skills(ledger, "train") or [0.0])[-1]
    gone = 0 < end < 1e-3 * start or ledger.last("point.kind") == "minimum"
    if gone and still < 1e-3 and skill < 0.98:
        facts = {"start": start, "end": end, "still": still, "loss": blocks[-1], "threshold": 1e-3}
        yield Finding("optim.plateau_minimum", "note", 0.7, "", facts)


SPEC = FindingSpec(
    code="optim.plateau_minimum",
    order=390,
    severities=("note",),
    rule=plateau_minimum,
    words=Words(
        title="Training has reached a minimum",
        cause=(
            "The gradient fell from {start} to {end} and the loss stays at {loss}: this model, on these inputs, "
            "cannot be improved here. Longer training or another learning rate will not help."
        ),
        fix=(
            "Stop here; if the result is not good enough, use a larger model, better inputs, or less decay and dropout."
        ),
    ),
    charts=(
        series(
            message("doctor.chart.norm_of_the_gradient", "Norm of the gradient"),
            message("doctor.chart.norm_all_parameters", "norm, all parameters"),
            "gradient.norm",
            log=True,
        ),
    ),
    needs=(
        "gradient.norm",
        "loss.step",
    ),
    alone=True,
)
