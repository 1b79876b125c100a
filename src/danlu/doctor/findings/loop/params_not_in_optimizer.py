"""Finding loop.params_not_in_optimizer: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.drawings.over_layers import parameters_marked
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message


def params_not_in_optimizer(ledger: Ledger) -> Iterable[Finding]:
    """Parameters get a gradient, but no optimiser holds them."""
    held = ledger.facts("parameter.held")
    if not any(held.values()):
        return
    reached = ledger.facts("parameter.reached")
    missing = [
        n for n, count in held.items() if not count and reached.get(n) and ledger.last("parameter.trainable", n, 1)
    ]
    if missing:
        sizes = ledger.facts("parameter.size")
        fraction = sum(sizes.get(n, 0) for n in missing) / max(1, sum(sizes.values()))
        facts = {"parameters": missing[:8], "count": len(missing), "fraction": fraction}
        yield Finding("loop.params_not_in_optimizer", "error", 0.95, missing[0], facts)


SPEC = FindingSpec(
    code="loop.params_not_in_optimizer",
    order=250,
    severities=("error",),
    rule=params_not_in_optimizer,
    words=Words(
        title="The optimiser does not hold {count} trainable parameter tensors",
        cause=(
            "A gradient is computed for {parameters}, but no optimiser uses it, so that they stay as "
            "initialised. They hold {fraction:%} of the weights."
        ),
        fix=(
            "Create the optimiser after the model is complete, or add the missing parameters; freeze them "
            "on purpose with p.requires_grad_(False)."
        ),
        snippet=(
            'held = {{id(p) for g in optimizer.param_groups for p in g["params"]}}\n'
            "missing = [p for p in model.parameters() if id(p) not in held]\n"
            'optimizer.add_param_group({{"params": missing}})'
        ),
    ),
    charts=(
        parameters_marked(
            message("doctor.chart.parameters_marked_no_optimiser_holds", "Parameters; marked: no optimiser holds them"),
            "parameter.held",
            0,
        ),
    ),
    explains=(
        "fit.*",
        "optim.slow_convergence",
        "optim.lr_too_low",
        "model.too_small",
    ),
    needs=(
        "parameter.held",
        "parameter.reached",
    ),
)
