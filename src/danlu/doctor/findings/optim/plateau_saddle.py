"""Finding optim.plateau_saddle: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable

from danlu.doctor.derived.progress import chance_loss, loss_blocks, steps_taken
from danlu.doctor.derived.updates import initial_gains
from danlu.doctor.drawings.counts import curvature
from danlu.doctor.drawings.over_time import loss_and_chance
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message


def plateau_saddle(ledger: Ledger) -> Iterable[Finding]:
    """Weights that start near zero: the origin is a saddle of a deep network, left only slowly (Saxe et al. 2014)."""
    losses, chance = loss_blocks(ledger, 20), chance_loss(ledger)
    gains = initial_gains(ledger)
    if not chance or not losses or not all(map(math.isfinite, losses)):
        return
    flat = next((i for i, loss in enumerate(losses) if loss < 0.95 * chance), len(losses))
    facts = {"gain": max(gains, default=1.0), "layers": len(gains), "flat": flat / len(losses), "threshold": 0.3}
    facts["steps"] = round(flat / len(losses) * steps_taken(ledger))
    if len(gains) > 1 and max(gains) < 0.3 and flat >= 0.1 * len(losses):
        facts["why"] = message(
            "finding.optim.plateau_saddle.small_weights",
            "The weights of all {layers} layers start near 0 (the largest scales its inputs by {gain:.2g}, 1 is usual), and for "
            "{steps} steps the loss did not get below chance level",
            layers=len(gains),
            gain=max(gains),
            steps=facts["steps"],
        )
        severity = "error" if flat == len(losses) else "warning"
        yield Finding("optim.plateau_saddle", severity, 0.85, "", facts)
    elif ledger.last("point.kind") in ("saddle", "maximum"):
        low, high = ledger.last("point.lowest"), ledger.last("point.highest")
        facts |= {"lowest": low, "highest": high, "epoch": ledger.series("point.kind")[0][-1]}
        facts["why"] = message(
            "finding.optim.plateau_saddle.curvature",
            "Where the loss stands still, its curvature is {low:.3g} in one direction and {high:.3g} in another",
            low=low,
            high=high,
        )
        if -low > 0.2 * high:
            yield Finding("optim.plateau_saddle", "note", 0.7, "", facts)


SPEC = FindingSpec(
    code="optim.plateau_saddle",
    order=380,
    severities=(
        "error",
        "warning",
        "note",
    ),
    rule=plateau_saddle,
    words=Words(
        title="Training is stuck at a saddle point",
        cause=(
            "{why}. At a saddle point the gradient vanishes although it is not a minimum: some directions "
            "lead down, but with a tiny slope."
        ),
        fix=("Give the weights their usual scale. Adam and a larger learning rate leave saddle points faster."),
        snippet=(
            "for m in model.modules():\n"
            "    if isinstance(m, (nn.Linear, nn.Conv2d)):\n"
            "        nn.init.xavier_normal_(m.weight)"
        ),
    ),
    charts=(
        curvature,
        loss_and_chance,
    ),
    explains=(
        "activation.collapsed",
        "gradient.vanishing",
        "fit.*",
        "optim.slow_convergence",
        "model.too_small",
    ),
    needs=(
        "loss.step",
        "loss.kind",
        "parameter.std",
    ),
    overcome_at=0.5,
    alone=True,
)
