"""Finding optim.weight_decay_too_strong: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from danlu.doctor.derived.learning import final_skill
from danlu.doctor.derived.progress import finite_median
from danlu.doctor.derived.updates import ADAPTIVE
from danlu.doctor.drawings.over_time import series
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.places import group_place
from danlu.message import Message

# Where an adaptive optimiser rescales the sum of gradient and decay, and the loss stays high:
GOOD_SKILL = 0.8  # fraction of the loss at chance level explained; above it the decay does little harm
MIN_RATIO = 0.3  # of the decay to the gradient
MAX_SHRUNK = 0.7  # of the norm of the weights to their initial one
# The same where the decay exceeds the gradient and the loss is poor: a short training has not shrunk them more yet.
MAX_SHRUNK_IF_POOR = 0.9
MIN_PENALISED = 0.5  # of the weights, which a penalty in the loss is computed from
MIN_PENALTY = 0.3  # of the rest of the loss, in the first step
LESS_DECAY = message(
    "finding.optim.weight_decay_too_strong.decay",
    "Use a weight decay of 1e-4 (SGD) or 1e-2 (AdamW), and none for biases and normalisation layers.",
)
LESS_PENALTY = message(
    "finding.optim.weight_decay_too_strong.factor",
    "Multiply the penalty by a smaller factor, 1e-5 to 1e-3 are usual, so that it starts at no more than a tenth of the loss.",
)


def weight_decay_too_strong(ledger: Ledger) -> Iterable[Finding]:
    """Weight decay that shrinks the weights faster than the gradient grows them.

    It halves them within 0.7 / (learning rate x decay) steps, or, where an adaptive optimiser rescales the sum of both,
    exceeds the gradient (Loshchilov and Hutter 2019, decoupled weight decay). A penalty on the weights that the loop adds
    to its loss does the same.
    """
    decays = {g: max(ledger.values("optimizer.weight_decay", g)) for g in ledger.wheres("optimizer.weight_decay")}
    pulls = {g: decay * max(ledger.values("optimizer.lr", g), default=0.0) for g, decay in decays.items()}
    if not pulls or max(pulls.values()) <= 0:
        yield from _penalty(ledger)
        return
    group = max(pulls, key=pulls.__getitem__)
    ratio = finite_median(ledger.values("decay.ratio")) or 0.0
    norms = [n for n in ledger.values("weight.norm") if math.isfinite(n)]
    shrunk = norms[-1] / norms[0] if norms and norms[0] > 0 else 1.0
    facts: dict[str, Any] = {
        "decay": decays[group],
        "pull": pulls[group],
        "half_life": math.log(2) / pulls[group],
        "ratio": ratio,
    }
    facts |= {"shrunk": shrunk, "threshold": 0.005, "group": group}
    facts |= {"fix": "decay", "do": LESS_DECAY}
    # Weights that grow nevertheless are governed by the lr, not by the decay.
    by_step = pulls[group] > 0.005 and ((ratio > 0.3 and shrunk < 1) or shrunk < 0.5)
    adaptive = ledger.last("optimizer.kind", group.partition(".")[0], "") in ADAPTIVE
    facts["course"] = _rescaled(facts) if adaptive and not by_step else _by_step(facts)
    skill = final_skill(ledger)
    poor = skill is not None and skill < GOOD_SKILL
    rescaled = ratio > 1 and shrunk < (MAX_SHRUNK_IF_POOR if poor else 0.5)  # it exceeds the gradient in most steps
    rescaled = rescaled or (poor and ratio > MIN_RATIO and shrunk < MAX_SHRUNK)
    if by_step or (adaptive and rescaled):
        yield Finding(
            "optim.weight_decay_too_strong",
            "error" if shrunk < 0.3 else "warning",
            0.92,
            group_place(ledger, group),
            facts,
        )


def _penalty(ledger: Ledger) -> Iterable[Finding]:
    """A penalty on the weights, a term of the loss, that makes them shrink while the other terms stay large."""
    whole, own, skill = ledger.first("loss.total"), ledger.first("loss.step"), final_skill(ledger)
    norms = [n for n in ledger.values("weight.norm") if math.isfinite(n)]
    if (
        ledger.last("loss.penalised", default=0.0) < MIN_PENALISED
        or not norms
        or not norms[0]
        or whole is None
        or own is None
    ):
        return
    shrunk = norms[-1] / norms[0]
    if skill is None or skill >= GOOD_SKILL or shrunk >= MAX_SHRUNK or not whole - own > MIN_PENALTY * own > 0:
        return
    facts: dict[str, Any] = {
        "own": own,
        "penalty": whole - own,
        "shrunk": shrunk,
        "skill": skill,
        "fix": "penalty",
        "do": LESS_PENALTY,
    }
    text = (
        "A penalty on the weights is added to the loss: it was {penalty:.3g} in the first step, beside {own:.3g} of the "
        "loss itself, so that the steps mainly make the weights small."
    )
    values = {name: facts[name] for name in ("own", "penalty")}
    facts["course"] = message("finding.optim.weight_decay_too_strong.penalty", text, **values)
    yield Finding("optim.weight_decay_too_strong", "error" if shrunk < 0.3 else "warning", 0.92, "", facts)


def _by_step(facts: dict[str, Any]) -> Message:
    text = (
        "Weight decay {decay} shrinks the weights by {pull:%} per step, which halves them every {half_life} steps unless the "
        "gradient compensates."
    )
    values = {name: facts[name] for name in ("decay", "pull", "half_life")}
    return message("finding.optim.weight_decay_too_strong.by_step", text, **values)


def _rescaled(facts: dict[str, Any]) -> Message:
    text = (
        "Weight decay {decay} is added to the gradient before the optimiser rescales it: it is {ratio:.3g} times as large as "
        "the gradient of the loss, and pulls every weight to 0 by about the learning rate per step."
    )
    return message("finding.optim.weight_decay_too_strong.adaptive", text, decay=facts["decay"], ratio=facts["ratio"])


SPEC = FindingSpec(
    code="optim.weight_decay_too_strong",
    order=340,
    severities=(
        "error",
        "warning",
    ),
    rule=weight_decay_too_strong,
    words=Words(
        title="Weight decay is too strong",
        cause="{course} Their norm is now {shrunk:%} of the initial one.",
        fix="{do}",
        snippet={
            "decay": 'for g in optimizer.param_groups:\n    g["weight_decay"] = 1e-4',
            "penalty": "loss = loss_fn(model(x), y) + 1e-5 * sum(p.abs().sum() for p in model.parameters())",
        },
    ),
    charts=(
        series(
            message("doctor.chart.norm_of_the_weights", "Norm of the weights"),
            message("doctor.chart.norm_all_parameters", "norm, all parameters"),
            "weight.norm",
        ),
    ),
    explains=(
        "model.inputs_unused",
        "optim.lr_too_high",
        "activation.*",
        "optim.plateau_saddle",
        "model.too_small",
        "fit.*",
        "gradient.vanishing",
        "optim.slow_convergence",
        "optim.plateau_minimum",
    ),
    needs=(
        "optimizer.weight_decay",
        "weight.norm",
    ),
)
