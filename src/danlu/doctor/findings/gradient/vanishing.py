"""Finding gradient.vanishing: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from danlu.doctor.derived.gradients import EARLY, gradient_ends
from danlu.doctor.derived.progress import skills, steps_taken
from danlu.doctor.drawings.over_layers import gradient_over_depth
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger

LOW_SKILL = 0.8  # training skill below which a slow start did harm
MIN_STEPS = 100  # training steps before which a training has only started
SEVERE = 1e-5  # gradient at the input over that at the output


def vanishing(ledger: Ledger) -> Iterable[Finding]:
    """The gradient shrinks by a constant factor per layer towards the input, at the end of the run or at its start."""
    late, early = gradient_decay(*gradient_ends(ledger)), gradient_decay(*gradient_ends(ledger, EARLY))
    skill = (skills(ledger, "train") or [1.0])[-1]
    facts = late or (early if skill < LOW_SKILL else None)
    starting = 0 < steps_taken(ledger) < MIN_STEPS
    if facts and not (starting and facts["ratio"] >= SEVERE):
        severe = facts is late and facts["ratio"] < SEVERE
        confidence = min(0.95, 0.7 + 0.05 * -math.log10(max(facts["ratio"], 1e-12)))
        where = str(facts.pop("layer"))
        yield Finding("gradient.vanishing", "error" if severe else "warning", confidence, where, facts)


def gradient_decay(profile: list[tuple[str, float]], output: float) -> dict[str, Any] | None:
    """Evidence of a gradient that falls by a factor per layer, None if it does not.

    Where a single layer causes most of the fall, that layer is dead or collapsed, and depth is not the cause.
    """
    if len(profile) < 4 or output < 1e-30:
        return None
    ratio = profile[0][1] / output
    factor = ratio ** (1 / (len(profile) - 1))
    steepest = min(near / max(far, 1e-38) for (_, near), (_, far) in pairwise(profile))
    if not (ratio < 1e-3 and factor < 0.5) or math.log(max(steepest, 1e-38)) < 0.7 * math.log(max(ratio, 1e-38)):
        return None
    facts = {"layer": profile[0][0], "first": profile[0][1], "last": output, "ratio": ratio}
    return facts | {"factor": factor, "layers": len(profile)}


SPEC = FindingSpec(
    code="gradient.vanishing",
    order=430,
    severities=(
        "error",
        "warning",
        "note",
    ),
    rule=vanishing,
    words=Words(
        title="Gradients vanish towards the input",
        cause=(
            "On its way to the input the gradient is multiplied by {factor} at each of {layers} layers: at "
            "{where} it is {ratio} times that at the output. The first layers hardly learn."
        ),
        fix=(
            "Use ReLU or GELU in place of sigmoid or tanh in the hidden layers, He initialisation, "
            "normalisation layers, or residual connections (x + f(x)). A hidden block looks like this:"
        ),
        snippet=(
            "block = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU())\n"
            'nn.init.kaiming_normal_(block[0].weight, nonlinearity="relu")'
        ),
    ),
    charts=(gradient_over_depth,),
    explains=(
        "model.inputs_unused",
        "activation.collapsed",
        "fit.*",
        "optim.lr_too_low",
        "optim.slow_convergence",
        "optim.plateau_minimum",
        "optim.plateau_saddle",
        "model.too_small",
    ),
    needs=("layer.gradient",),
    overcome_at=0.6,
)
