"""Finding model.mixes_samples: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from danlu.doctor.derived.pretraining import is_pretraining
from danlu.doctor.drawings.counts import against_threshold
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message

MIN_DIFFERENCE = 0.01  # relative to the deviation of the outputs
RECURRENT = ("LSTM", "GRU", "RNN")
FIRST_IS_TIME = (*RECURRENT, "MultiheadAttention", "TransformerEncoderLayer", "NonDynamicallyQuantizableLinear")


def mixes_samples(ledger: Ledger) -> Iterable[Finding]:
    """The outputs of a sample change when it is run without the others of its batch, in eval mode."""
    if ledger.last("probe.state", default=0.0) > MIN_DIFFERENCE and has_label_each(ledger):
        yield Finding("model.mixes_samples", "warning", 0.85, "", _state(ledger))
        return
    difference = ledger.last("probe.mixing", default=0.0)
    if difference <= MIN_DIFFERENCE or is_pretraining(ledger):  # masks are drawn for a batch, views compared within it
        return
    layer, kind = next(iter(ledger.facts("probe.mixing_layer").items()), ("", ""))
    if "Norm" in kind:
        return  # batch statistics in eval mode: a choice of the layer
    facts: dict[str, Any] = {"difference": difference, "threshold": MIN_DIFFERENCE, "layer": layer, "kind": kind}
    facts["title"] = message(
        "finding.model.mixes_samples.batch_title", "The output for a sample depends on the others in its batch"
    )
    if kind in FIRST_IS_TIME:
        facts["fix"] = "recurrent" if kind in RECURRENT else "attention"
        facts["source"] = message(
            "finding.model.mixes_samples.time",
            "the {kind} takes dimension 0 for time, so it runs along the samples of the batch",
            kind=kind if kind != "NonDynamicallyQuantizableLinear" else "MultiheadAttention",
        )
        facts["do"] = message(
            "finding.model.mixes_samples.batch_first",
            "Build it with batch_first=True for inputs of shape (batch, time, features).",
        )
    else:
        facts["source"] = message(
            "finding.model.mixes_samples.operation",
            "an operation in or before {layer} works across the batch",
            layer=layer or "forward()",
        )
        facts["do"] = message(
            "finding.model.mixes_samples.look",
            "Look for softmax(dim=0), a view or reshape whose first size is not the batch size (x.view(len(x), -1)), a "
            "transpose, and attention or a recurrent layer without batch_first=True.",
        )
    facts["seen"] = message(
        "finding.model.mixes_samples.alone",
        "Run alone, a sample gets outputs that differ by {difference:%} of their standard deviation from those it gets within "
        "its batch: {source}",
        difference=difference,
        source=facts["source"],
    )
    yield Finding("model.mixes_samples", "error", 0.94, layer, facts)


def has_label_each(ledger: Ledger) -> bool:
    """Return whether a sample has one target, so that samples are no consecutive pieces of one long sequence."""
    shape = ledger.last("target.shape", default=[])
    return bool(shape) and math.prod(shape) == shape[0] and ledger.last("output.rows", default=1.0) == 1


def _state(ledger: Ledger) -> dict[str, Any]:
    """Evidence of a model that keeps something from one call to the next."""
    difference = ledger.last("probe.state")
    facts = {"difference": difference, "threshold": MIN_DIFFERENCE, "layer": "", "kind": ""}
    facts["title"] = message(
        "finding.model.mixes_samples.state_title", "The output for a sample depends on the batches before it"
    )
    facts["seen"] = message(
        "finding.model.mixes_samples.state",
        "Run twice on the same samples in eval mode, the model gives outputs that differ by {difference:%} of their standard "
        "deviation, although no random number is drawn: it keeps something from one call to the next, such as a hidden "
        "state in an attribute. Samples in shuffled order have nothing to do with each other",
        difference=difference,
    )
    facts["do"] = message(
        "finding.model.mixes_samples.reset",
        "Start each batch with a new hidden state: call the layer without one, or with zeros.",
    )
    return facts


SPEC = FindingSpec(
    code="model.mixes_samples",
    order=192,
    severities=("error", "warning"),
    rule=mixes_samples,
    words=Words(
        title="{title}",
        cause="{seen}.",
        fix="{do}",
        snippet={
            "recurrent": "layer = nn.{kind}(input_size=8, hidden_size=16, batch_first=True)",
            "attention": (
                "layer = nn.TransformerEncoderLayer(d_model=16, nhead=4, batch_first=True)\n"
                "attention = nn.MultiheadAttention(16, 4, batch_first=True)"
            ),
        },
    ),
    charts=(
        against_threshold(
            message("doctor.chart.one_sample_alone", "One sample alone against the same within its batch"),
            message("doctor.chart.difference_in_deviations", "difference in deviations"),
            "difference",
        ),
    ),
    explains=(
        "fit.*",
        "optim.*",
        "model.too_small",
        "model.too_large",
        "model.inputs_unused",
        "data.labels_shuffled",
        "activation.*",
        "gradient.*",
        "norm.train_eval_gap",
        "loop.metric_wrong",
    ),
    needs=("probe.mixing",),
)
