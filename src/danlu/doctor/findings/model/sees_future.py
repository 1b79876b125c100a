"""Finding model.sees_future: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.drawings.counts import counts
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message

MIN_CHANGE = 0.01  # relative to the deviation of the outputs


def sees_future(ledger: Ledger) -> Iterable[Finding]:
    """Targets are the inputs one item later, and a prediction changes with the item that it should predict."""
    change = ledger.last("probe.future", default=0.0)
    if change > MIN_CHANGE:
        yield Finding("model.sees_future", "error", 0.97, "", {"change": change, "threshold": MIN_CHANGE})


SPEC = FindingSpec(
    code="model.sees_future",
    order=174,
    severities=("error",),
    rule=sees_future,
    words=Words(
        title="The model sees the items that it should predict",
        cause=(
            "The targets are the inputs shifted by one. When the second half of the sequences was replaced, "
            "the predictions for the first half changed by {change:%} of their standard deviation. The "
            "answer is among the inputs, so that a low loss says nothing about predicting."
        ),
        fix=("Give attention a causal mask, use no bidirectional layers, and pad convolutions on the left only."),
        snippet="mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])",
    ),
    charts=(
        counts(
            message("doctor.chart.effect_of_later_items", "Effect of later items on earlier predictions"),
            message("doctor.chart.change_in_deviations", "change in deviations"),
            [
                ("change", message("doctor.chart.measured", "measured"), True),
                ("threshold", message("doctor.chart.allowed", "allowed"), False),
            ],
        ),
    ),
    explains=("fit.*", "optim.*", "data.leak"),
    needs=("probe.future",),
    concerns=lambda ledger: ledger.has("probe.future"),
)
