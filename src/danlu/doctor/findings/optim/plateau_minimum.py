"""Finding optim.plateau_minimum: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import fmean, median

from danlu.doctor.derived.curves import finite_start, lr_is_constant, start_of, training_curve
from danlu.doctor.derived.progress import loss_blocks, skills
from danlu.doctor.drawings.over_time import series
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import CurveJudgement, FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message


def plateau_minimum(ledger: Ledger) -> Iterable[Finding]:
    """The gradient is near zero and the loss constant: a minimum, or a flat region."""
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


MIN_CURVE = 16  # points of a training curve


def plateau_of_curves(ledger: Ledger) -> Iterable[Finding]:
    """The training loss is constant above zero in the last half of the curve, at a learning rate that never decreased."""
    start, losses = start_of(ledger), training_curve(ledger)
    whole = len(finite_start(ledger.values("loss.step"))) == len(ledger.values("loss.step"))
    if start is None or len(losses) < MIN_CURVE or not whole or not lr_is_constant(ledger):
        return
    quarter = len(losses) // 4
    middle, late = fmean(losses[-2 * quarter : -quarter]), fmean(losses[-quarter:])
    fallen = losses[0] - late
    if fallen > 0.1 * start and abs(middle - late) < 0.01 * fallen and late > 0.05 * start:
        facts = {"late": late, "first": losses[0], "threshold": 0.01}
        yield Finding("optim.plateau_minimum", "note", 0.6, "", facts)


SPEC = FindingSpec(
    code="optim.plateau_minimum",
    order=390,
    severities=("note",),
    rule=plateau_minimum,
    words=Words(
        title="Training stands still",
        cause=(
            "The norm of the gradient fell from {start} to {end} and the loss stays at {loss}: further "
            "steps hardly change the model."
        ),
        fix=(
            "Stop here. If the result is not good enough, use a larger model, better inputs, or less weight "
            "decay and dropout."
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
    from_curves=CurveJudgement(
        rule=plateau_of_curves,
        needs=("loss.step", "optimizer.lr", "curves.start"),
        words=Words(
            title="The training loss stands still, and the learning rate was never lowered",
            cause="It fell from {first} to {late} and has stayed there for half of the training, at a constant learning rate.",
            fix=(
                "Lower the learning rate towards the end (cosine or by 10 at the plateau), which often lets the loss fall "
                "further; if it does not, stop here or use a larger model."
            ),
        ),
    ),
)
