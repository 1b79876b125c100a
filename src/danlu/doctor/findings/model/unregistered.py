"""Finding model.unregistered: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.drawings.counts import counts
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message


def unregistered(ledger: Ledger) -> Iterable[Finding]:
    """Tensors that get a gradient but are neither parameters of the model nor held by an optimiser."""
    found = ledger.facts("leaf.unregistered")
    trained = sum(ledger.facts("parameter.size").values())
    created = ledger.last("leaf.created", default=0)
    if not found and not created:
        return
    elements = sum(found.values()) + created
    facts = {"elements": elements, "trained": trained, "count": len(found), "names": list(found)[:6]}
    if found:
        facts["fix"] = "register"
        facts["problem"] = message(
            "finding.model.unregistered.hidden",
            "{names} take part in the loss, but are not in model.parameters(), so that no optimiser updates them",
            names=list(found)[:6],
        )
        facts["do"] = message(
            "finding.model.unregistered.register",
            "Keep layers in nn.ModuleList or nn.ModuleDict in place of a list or dict, and tensors as nn.Parameter, and "
            "make the optimiser after that.",
        )
    else:
        facts["problem"] = message(
            "finding.model.unregistered.created",
            "forward() creates a layer with {elements} new random weights at each call, so that none of them is trained",
            elements=created,
        )
        facts["do"] = message(
            "finding.model.unregistered.once", "Create the layer once, in __init__, and call it in forward()."
        )
    grave = elements > 0.02 * (elements + trained)
    yield Finding("model.unregistered", "error" if grave else "warning", 0.98, next(iter(found), ""), facts)


SPEC = FindingSpec(
    code="model.unregistered",
    order=172,
    severities=(
        "error",
        "warning",
    ),
    rule=unregistered,
    words=Words(
        title="Weights that are not registered are not trained",
        cause=("{problem}. {elements} weights stay as they were initialised; the model has {trained} registered ones."),
        fix="{do}",
        snippet={
            "register": (
                "layers = nn.ModuleList([nn.Linear(64, 64), nn.Linear(64, 64)])\nscale = nn.Parameter(torch.ones(64))"
            )
        },
    ),
    charts=(
        counts(
            message("doctor.chart.weights_registered_and_not", "Weights that are registered, and that are not"),
            message("doctor.chart.weights", "weights"),
            [
                ("trained", message("doctor.chart.in_model_parameters", "in model.parameters()"), False),
                ("elements", message("doctor.chart.not_registered", "not registered"), True),
            ],
            log=True,
        ),
    ),
    explains=(
        "model.inputs_unused",
        "fit.*",
        "optim.*",
        "model.too_small",
        "activation.*",
        "gradient.*",
        "data.labels_shuffled",
        "model.no_nonlinearity",
        "model.random_in_eval",
    ),
    needs=("parameter.size",),
)
