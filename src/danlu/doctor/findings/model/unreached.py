"""Finding model.unreached: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from danlu.doctor.derived.learning import final_skill
from danlu.doctor.drawings.over_layers import parameters_marked
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message

MIN_FROZEN = 0.2  # fraction of all weights; a single smaller layer may be meant, as a fixed projection
GOOD_SKILL = 0.9  # fraction of the loss at chance level explained; above it random layers do no harm


def unreached(ledger: Ledger) -> Iterable[Finding]:
    """Trainable parameters without a gradient (unused, or cut off), or layers that are frozen as initialised."""
    constant = _constant_attention(ledger)
    if constant is not None:
        yield constant
        return
    if not ledger.has("parameter.reached"):
        return
    yield from list(_cut_off(ledger)) or list(_cut_off_beside(ledger)) or _frozen_as_initialised(ledger)


def _constant_attention(ledger: Ledger) -> Finding | None:
    """Finding on a softmax inside the model over an axis of length 1: it is always 1, so that its scores are not learnt."""
    axis, shape = ledger.last("output.softmax_axis"), ledger.last("output.softmax_shape", default=[])
    at_output = axis is not None and shape[axis : axis + 1] == [1]  # model.output_mismatch
    if not ledger.last("graph.softmax_of_one") or at_output:
        return None
    zero = [name for name, value in ledger.facts("parameter.gradient_zero").items() if value]
    facts: dict[str, Any] = {"parameters": zero[:8], "count": len(zero), "fraction": 0.0, "fix": "softmax"}
    facts["problem"] = message(
        "finding.model.unreached.constant_softmax", "A softmax over an axis of length 1 is always 1"
    )
    facts["seen"] = message(
        "finding.model.unreached.attention",
        "In forward() a softmax is taken along an axis of length 1, so that all its weights are 1 and the scores before it are "
        "without effect and without a gradient.",
    )
    facts["do"] = message(
        "finding.model.unreached.axis",
        "Take the softmax along the axis of the items that are weighed: for scores of shape (batch, items, 1) that is dim=1.",
    )
    return Finding("model.unreached", "error", 0.93, zero[0] if zero else "", facts)


def _cut_off(ledger: Ledger) -> Iterable[Finding]:
    """Trainable parameters that the first steps gave no gradient."""
    trainable = [n for n, value in ledger.facts("parameter.trainable").items() if value]
    missing = [n for n in trainable if not ledger.last("parameter.reached", n, 1)]
    if not trainable or not missing or len(missing) == len(trainable):
        return  # none at all: loop.no_update
    sizes = ledger.facts("parameter.size")
    fraction = sum(sizes.get(n, 0) for n in missing) / max(1, sum(sizes.get(n, 0) for n in trainable))
    facts = {"parameters": missing[:8], "count": len(missing), "fraction": fraction}
    facts["problem"] = message(
        "finding.model.unreached.no_gradient",
        "No gradient reaches {count} trainable parameter tensors",
        count=len(missing),
    )
    facts["seen"] = message(
        "finding.model.unreached.cut",
        "{parameters} got no gradient in the first steps: they are not used in forward(), or cut off by detach(), .data, "
        ".item() or torch.no_grad(). They hold {fraction:%} of the trainable weights.",
        parameters=missing[:8],
        fraction=fraction,
    )
    facts["do"] = message(
        "finding.model.unreached.use",
        "Use these layers in forward(), remove the operation that cuts them off, or freeze them on purpose: "
        "p.requires_grad_(False).",
    )
    yield Finding("model.unreached", "error" if fraction > 0.05 else "warning", 0.93, missing[0], facts)


def _cut_off_beside(ledger: Ledger) -> Iterable[Finding]:
    """Another model, held by the same optimiser, that no gradient reaches: called under no_grad(), or not at all."""
    if any(held == 0 for held in ledger.facts("parameter.held").values()):
        return  # a layer was replaced after the optimiser was made, which holds the old one
    held = ledger.facts("parameter.held")
    if any(not count and ledger.last("parameter.reached", name) for name, count in held.items()):
        return  # a layer was replaced: what the optimiser holds is the former one (loop.params_not_in_optimizer)
    for name, (count, elements) in ledger.facts("optimizer.idle").items():
        trained = sum(ledger.facts("parameter.size").values())
        facts = {"parameters": [name] if name else [], "count": count, "fraction": elements / (elements + trained)}
        facts["problem"] = message(
            "finding.model.unreached.no_gradient",
            "No gradient reaches {count} trainable parameter tensors",
            count=count,
        )
        facts["seen"] = message(
            "finding.model.unreached.beside",
            "The optimiser also holds the {count} parameter tensors of {model}, but none of them ever got a gradient: "
            "it is called under torch.no_grad(), its output is detached, or it is not used. They hold {fraction:%} of "
            "the weights of this optimiser.",
            count=count,
            model=name or message("finding.model.unreached.other", "another model"),
            fraction=facts["fraction"],
        )
        facts["do"] = message(
            "finding.model.unreached.call",
            "Call it with gradients where it is trained; or leave it out of the optimiser and freeze it on purpose: "
            "p.requires_grad_(False).",
        )
        yield Finding("model.unreached", "error" if facts["fraction"] > 0.05 else "warning", 0.9, name, facts)


def _frozen_as_initialised(ledger: Ledger) -> Iterable[Finding]:
    """Layers that are frozen (requires_grad=False) and still hold the random weights of their initialisation."""
    frozen = [name for name, value in ledger.facts("parameter.initial").items() if value]
    sizes = ledger.facts("parameter.size")
    fraction = sum(sizes.get(name, 0) for name in frozen) / max(1, sum(sizes.values()))
    if not frozen or (len(frozen) < 2 and fraction < MIN_FROZEN):
        return
    facts = {"parameters": frozen[:8], "count": len(frozen), "fraction": fraction, "fix": "frozen"}
    facts["problem"] = message(
        "finding.model.unreached.frozen",
        "{count} layers are frozen with random weights",
        count=len(frozen),
    )
    facts["seen"] = message(
        "finding.model.unreached.random",
        "{parameters} have requires_grad=False, and their values are those of a random initialisation: no training and no "
        "file of weights has changed them. They hold {fraction:%} of all weights.",
        parameters=frozen[:8],
        fraction=fraction,
    )
    facts["do"] = message(
        "finding.model.unreached.unfreeze",
        "Load pretrained weights before freezing, or train these layers: unfreeze them before the optimiser is made.",
    )
    good = (final_skill(ledger) or 0.0) >= GOOD_SKILL
    yield Finding("model.unreached", "note" if good else "warning", 0.85, frozen[0], facts)


SPEC = FindingSpec(
    code="model.unreached",
    order=140,
    severities=(
        "error",
        "warning",
        "note",
    ),
    rule=unreached,
    words=Words(
        title="{problem}",
        cause="{seen}",
        fix="{do}",
        snippet={
            "softmax": "attention = torch.rand(8, 20, 1)  # scores: (batch, items, 1)\nweights = attention.softmax(dim=1)",
            "frozen": "for p in model.parameters():\n    p.requires_grad_(True)",
        },
    ),
    before_training=Words(
        title="No gradient reaches some parameters",
        cause="{count} trainable parameter tensors got no gradient: {names}.",
        fix=("Use them in forward, or drop them; look for .detach(), torch.no_grad() or a branch that is never taken."),
    ),
    charts=(
        parameters_marked(
            message(
                "doctor.chart.parameters_marked_no_gradient_comes", "Parameters; marked: no gradient comes to them"
            ),
            "parameter.reached",
            0,
        ),
    ),
    explains=(
        "fit.*",
        "model.bad_init",
        "model.too_small",
        "loop.params_not_in_optimizer",
        "optim.slow_convergence",
    ),
    needs=("parameter.reached",),
)
