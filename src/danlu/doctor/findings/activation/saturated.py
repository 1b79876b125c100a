"""Finding activation.saturated: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.drawings.over_layers import by_layer
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message


def saturated(ledger: Ledger) -> Iterable[Finding]:
    """Sigmoid or tanh units at an end of their range, where the derivative is nearly zero; output layers are ignored."""
    order = ledger.facts("layer.order")
    last = max(order.values(), default=-1)
    found = []
    for layer in ledger.wheres("activation.saturated_units"):
        if order.get(layer) == last:
            continue
        units = ledger.values("activation.saturated_units", layer)[-2:]
        fractions = ledger.values("activation.saturated", layer)[-2:]
        if len(units) >= 2 and (min(units) > 0.4 or min(fractions) > 0.7):
            found.append((max(units[-1], fractions[-1]), layer))
    if found:
        found.sort(reverse=True)
        fraction, layer = found[0]
        kind = ledger.last("layer.activation", layer) or message(
            "finding.activation.saturated.kinds", "sigmoid or tanh"
        )
        facts = {"fraction": fraction, "kind": kind, "layers": len(found)}
        yield Finding("activation.saturated", "warning", min(0.95, 0.5 + 0.5 * fraction), layer, facts)


SPEC = FindingSpec(
    code="activation.saturated",
    order=460,
    severities=(
        "warning",
        "note",
    ),
    rule=saturated,
    words=Words(
        title="Saturated {kind} units in {where}",
        cause=(
            "{fraction:%} of the units of {where} are at an end of the range of {kind}, where the slope is "
            "nearly 0 and hardly any gradient passes. Layers affected: {layers}."
        ),
        fix=("Standardise the inputs, start from weights of Xavier's scale, lower the learning rate, or use ReLU."),
        snippet=(
            "for m in model.modules():\n"
            "    if isinstance(m, (nn.Linear, nn.Conv2d)):\n"
            "        nn.init.xavier_normal_(m.weight)\n"
            "        if m.bias is not None:\n"
            "            nn.init.zeros_(m.bias)"
        ),
    ),
    charts=(
        by_layer(
            message("doctor.chart.values_at_an_end_of", "Values at an end of their range"),
            message("doctor.chart.fraction_of_the_layer_s_values", "fraction of the layer's values"),
            "activation.saturated",
            percent=True,
            above=0.7,
        ),
    ),
    explains=(
        "model.inputs_unused",
        "activation.collapsed",
        "gradient.vanishing",
        "fit.*",
        "optim.slow_convergence",
        "optim.lr_too_low",
        "optim.plateau_minimum",
        "optim.plateau_saddle",
    ),
    needs=("activation.std",),
    overcome_at=0.6,
)
