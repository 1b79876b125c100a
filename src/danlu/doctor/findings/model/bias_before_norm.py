"""Finding model.bias_before_norm: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.drawings.over_layers import chain
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger


def bias_before_norm(ledger: Ledger) -> Iterable[Finding]:
    """Batch normalisation subtracts the mean, and with it any bias before it (Ioffe and Szegedy 2015, section 3.2)."""
    pairs = ledger.facts("layer.bias_before_norm")
    if pairs:
        norm, layer = next(iter(pairs.items()))
        yield Finding("model.bias_before_norm", "note", 0.95, layer, {"norm": norm, "count": len(pairs)})


SPEC = FindingSpec(
    code="model.bias_before_norm",
    order=150,
    severities=("note",),
    rule=bias_before_norm,
    words=Words(
        title="A bias before batch normalisation does nothing",
        cause=(
            "The normalisation {norm} subtracts the mean of its inputs, and the bias of {where} with it. "
            "Layers with such a bias: {count}."
        ),
        fix="Leave the bias out of {where}: bias=False.",
        snippet="block = nn.Sequential(nn.Linear(64, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU())",
    ),
    charts=(chain,),
    needs=("layer.kind",),
)
