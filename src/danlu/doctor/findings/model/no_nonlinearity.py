"""Finding model.no_nonlinearity: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.drawings.over_layers import chain
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.places import FUNCTIONAL


def no_nonlinearity(ledger: Ledger) -> Iterable[Finding]:
    """Stacked linear layers, which equal one linear layer. A narrow middle (low rank, autoencoder) is intended."""
    pairs = []
    groups = ledger.facts("layer.groups")
    for second, first in ledger.facts("layer.linear_after").items():
        middle = _width(ledger, "layer.input_shape", second)
        narrow = middle < min(_width(ledger, "layer.input_shape", first), _width(ledger, "layer.output_shape", second))
        if not narrow and groups.get(first, 1) == 1 and groups.get(second, 1) == 1:
            pairs.append((first, second))
    if not pairs:
        return
    links = ledger.last("layer.linear_links", default=len(pairs))
    if len(pairs) < links:
        pairs = [pair for pair in pairs if not _joins_parts(*pair)]
    if not pairs:
        return
    everywhere = len(pairs) >= links
    hidden = [p for p in pairs if not ledger.last("layer.linear_via_norm", p[1], 0)]
    confidence = 0.97 if everywhere else 0.9 if hidden else 0.75
    evidence = {
        "pairs": len(pairs),
        "links": links,
        "first": FUNCTIONAL if pairs[0][0] == "(functional)" else pairs[0][0],
        "second": pairs[0][1],
    }
    severity = "error" if everywhere else "warning"
    yield Finding("model.no_nonlinearity", severity, confidence, pairs[0][1], evidence)


def _joins_parts(first: str, second: str) -> bool:
    """Return whether two layers are inside different children of the model.

    A linear layer at the end of one part may feed another part by design, as the linear bottlenecks of MobileNetV2 feed
    the neck of a detector.
    """
    return "." in first and "." in second and first.partition(".")[0] != second.partition(".")[0]


def _width(ledger: Ledger, name: str, layer: str) -> int:
    shape = ledger.last(name, layer)
    if not shape or len(shape) < 2:
        return 10**9
    return shape[1] if str(ledger.last("layer.kind", layer)).startswith("Conv") else shape[-1]


SPEC = FindingSpec(
    code="model.no_nonlinearity",
    order=120,
    severities=(
        "error",
        "warning",
    ),
    rule=no_nonlinearity,
    words=Words(
        title="Linear layers are stacked without activations",
        cause=(
            "{first} feeds {second} without an activation between them (so do {pairs} of {links} pairs of successive linear "
            "layers). Two linear layers in a row equal one, so that depth has no effect."
        ),
        fix="Put an activation between them, for example nn.ReLU() after {first}.",
        snippet="model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 3))",
    ),
    charts=(chain,),
    explains=(
        "fit.underfitting",
        "fit.not_learning",
        "model.too_small",
        "optim.slow_convergence",
    ),
    needs=("layer.linear_layers",),
)
