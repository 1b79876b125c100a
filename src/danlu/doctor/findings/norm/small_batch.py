"""Finding norm.small_batch: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.applies import has_norm
from danlu.doctor.drawings.over_layers import by_layer
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message


def small_batch(ledger: Ledger) -> Iterable[Finding]:
    """Batch normalisation over so few samples that its statistics are noise (Ioffe 2017; Wu and He 2018)."""
    batches = ledger.facts("norm.batch")
    kinds = ledger.facts("norm.kind")
    small = {name: n for name, n in batches.items() if n <= 4 and "Batch" in str(kinds.get(name, "Batch"))}
    if small:
        layer, batch = min(small.items(), key=lambda pair: pair[1])
        values = ledger.facts("norm.values").get(layer, batch)
        severity = "warning" if batch <= 3 else "note"
        facts = {"batch": batch, "values": values, "layers": len(small)}
        yield Finding("norm.small_batch", severity, 0.85 if batch <= 3 else 0.5, layer, facts)


SPEC = FindingSpec(
    code="norm.small_batch",
    order=200,
    severities=(
        "warning",
        "note",
    ),
    rule=small_batch,
    words=Words(
        title="Batch normalisation with a batch size of {batch}",
        cause=(
            "Each of its statistics is taken over {values} values from a batch of {batch} (layers: {layers}). "
            "They are mostly noise, and the output for a sample depends on the other samples of its batch."
        ),
        fix=(
            "Use group or layer normalisation (danlu: --model.norm group), or batches of 16 and more; "
            "freeze the running statistics when fine-tuning."
        ),
        snippet="norm = nn.GroupNorm(8, 64)",
    ),
    charts=(
        by_layer(
            message("doctor.chart.samples_for_each_statistic", "Samples for each statistic"),
            message("doctor.chart.samples_of_a_batch", "samples of a batch"),
            "norm.batch",
            level=(16, message("doctor.chart.16_enough", "16: enough")),
        ),
    ),
    explains=(
        "norm.train_eval_gap",
        "fit.*",
        "optim.batch_too_small",
    ),
    needs=("norm.batch",),
    concerns=has_norm,
)
