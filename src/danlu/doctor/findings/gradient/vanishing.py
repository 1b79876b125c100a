"""Finding gradient.vanishing: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from danlu.doctor.derived.gradients import EARLY, LATE, gradient_ends
from danlu.doctor.derived.progress import skills, steps_taken
from danlu.doctor.drawings.over_layers import gradient_over_depth
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.places import layer_place

MIN_STEPS_OF_WARNING = 300
MIN_TIME_STEPS = 20
MIN_FAINT_FRACTION = 0.5  # of the time steps
MAX_SKILL = 0.1  # of the training loss
TOWARDS_INPUT = message("finding.gradient.vanishing.title_layers", "Gradients vanish towards the input")
THROUGH_TIME = message("finding.gradient.vanishing.title_time", "Gradients vanish through time")
NORMALISE = message(
    "finding.gradient.vanishing.normalise",
    "Use ReLU or GELU in place of sigmoid or tanh in the hidden layers, He initialisation, normalisation layers, or residual "
    "connections (x + f(x)). A hidden block looks like this:",
)
SHORTEN = message(
    "finding.gradient.vanishing.shorten",
    "If the answer depends on early time steps, use an LSTM or GRU in place of an RNN, take the mean or maximum of all outputs "
    "or attention in place of the last output, or shorten the sequences.",
)
LOW_SKILL = 0.8  # training skill below which a slow start did harm
MIN_STEPS = 100  # training steps before which a training has only started
SEVERE = 1e-5  # gradient at the input over that at the output


def vanishing(ledger: Ledger) -> Iterable[Finding]:
    """The gradient shrinks by a constant factor per layer towards the input, at the end of the run or at its start."""
    steps = _faint_steps(ledger)
    if steps is not None:
        yield steps
        return
    late, early = (gradient_decay(*_over_positions(ledger, *gradient_ends(ledger, when))) for when in (LATE, EARLY))
    skill = (skills(ledger, "train") or [1.0])[-1]
    facts = late or (early if skill < LOW_SKILL else None)
    starting = 0 < steps_taken(ledger) < MIN_STEPS
    if facts and not (starting and facts["ratio"] >= SEVERE):
        severe = facts is late and (facts["ratio"] < SEVERE or skill < MAX_SKILL)
        confidence = min(0.95, 0.7 + 0.05 * -math.log10(max(facts["ratio"], 1e-12)))
        where = str(facts.pop("layer"))
        facts["title"] = TOWARDS_INPUT
        facts["seen"] = message(
            "finding.gradient.vanishing.layers",
            "On its way to the input the gradient is multiplied by {factor} at each of {layers} layers: at {where} it is {ratio} "
            "times that at the output. The first layers hardly learn.",
            where=layer_place(where),
            **{name: facts[name] for name in ("factor", "layers", "ratio")},
        )
        facts |= {"do": NORMALISE, "fix": "layers"}
        yield Finding("gradient.vanishing", "error" if severe else "warning", confidence, where, facts)


def _faint_steps(ledger: Ledger) -> Finding | None:
    """Finding on a recurrent layer whose outputs hardly depend on most of its time steps, where the model learns little."""
    recurrent = {name: facts for name, facts in ledger.facts("layer.recurrent").items() if facts[1] >= MIN_TIME_STEPS}
    faint = max(ledger.facts("probe.faint_inputs").values(), default=0.0)
    skill = (skills(ledger, "train") or [1.0])[-1]
    if not recurrent or faint <= MIN_FAINT_FRACTION or skill >= MAX_SKILL or steps_taken(ledger) < MIN_STEPS:
        return None
    layer, (kind, length) = next(iter(recurrent.items()))
    facts: dict[str, Any] = {"title": THROUGH_TIME, "do": SHORTEN, "fix": "time", "faint": faint, "length": length}
    facts["seen"] = message(
        "finding.gradient.vanishing.time",
        "The {kind} reads {length} time steps, and for {faint:%} of them the gradient of the outputs is less than a millionth of "
        "the largest: what happens there changes neither the outputs nor the weights.",
        kind=kind,
        length=length,
        faint=faint,
    )
    # Fewer steps may be too few to learn a sequence.
    severity = "warning" if steps_taken(ledger) >= MIN_STEPS_OF_WARNING else "note"
    return Finding("gradient.vanishing", severity, 0.75, layer, facts)


def _over_positions(
    ledger: Ledger, profile: list[tuple[str, float]], output: float
) -> tuple[list[tuple[str, float]], float]:
    """Gradient profile with the norm over all positions of a channel in place of their root mean square.

    An average over the positions of a map or series divides the gradient among them, which makes no step of a kernel shorter.
    """
    shapes = {layer: ledger.last("layer.output_shape", layer, [])[2:] for layer, _ in profile}
    kinds = ledger.facts("layer.kind")
    positions = {
        layer: math.prod(shape) if kinds.get(layer, "").startswith("Conv") else 1 for layer, shape in shapes.items()
    }
    whole = [(layer, gradient * math.sqrt(max(1, positions[layer]))) for layer, gradient in profile]
    scale = next((new / old for (_, new), (_, old) in zip(whole, profile) if old == output and old > 0), 1.0)
    return whole, output * scale


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
        title="{title}",
        cause="{seen}",
        fix="{do}",
        snippet={
            "layers": (
                "block = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU())\n"
                'nn.init.kaiming_normal_(block[0].weight, nonlinearity="relu")'
            ),
        },
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
        "data.labels_shuffled",
    ),
    needs=("layer.gradient",),
    overcome_at=0.5,
)
