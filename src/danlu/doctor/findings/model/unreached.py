"""Finding model.unreached: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.drawings.over_layers import parameters_marked
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message


def unreached(ledger: Ledger) -> Iterable[Finding]:
    """Trainable parameters without a gradient: unused, or cut off by detach(), no_grad() or .data."""
    if not ledger.has("parameter.reached"):
        return
    trainable = [n for n, value in ledger.facts("parameter.trainable").items() if value]
    missing = [n for n in trainable if not ledger.last("parameter.reached", n, 1)]
    if not trainable or not missing or len(missing) == len(trainable):
        return  # none at all: loop.no_update
    sizes = ledger.facts("parameter.size")
    share = sum(sizes.get(n, 0) for n in missing) / max(1, sum(sizes.get(n, 0) for n in trainable))
    facts = {"parameters": missing[:8], "count": len(missing), "share": share}
    yield Finding("model.unreached", "error" if share > 0.05 else "warning", 0.93, missing[0], facts)


SPEC = FindingSpec(
    code="model.unreached",
    order=140,
    severities=(
        "error",
        "warning",
    ),
    rule=unreached,
    words=Words(
        title="No gradient reaches {count} trainable parameter tensors",
        cause=(
            "{parameters} got no gradient in the first steps: they are not used in forward(), or cut off by "
            "detach(), .data, .item() or torch.no_grad(). They hold {share:%} of the trainable weights."
        ),
        fix=(
            "Use these layers in forward(), remove the operation that cuts them off, or freeze them on "
            "purpose: p.requires_grad_(False)."
        ),
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
        "loop.params_not_in_optimizer",
        "optim.slow_convergence",
    ),
    needs=("parameter.reached",),
)
