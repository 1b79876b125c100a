"""Finding activation.collapsed: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable

from danlu.doctor.derived.embeddings import have_equal_embeddings
from danlu.doctor.derived.layers import norms_of_one_value, output_layers
from danlu.doctor.drawings.over_layers import by_layer
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.message import Message

MIN_SIGMOIDS = 2  # layers
ABRUPT = 1e-2  # spread of the outputs of the layer before, above which they vary
EQUAL = 1e-5  # max spread of outputs that are the same for every sample
CHECK = message(
    "finding.activation.collapsed.check",
    "Check what it receives and how its weights are initialised. A lower learning rate, less weight decay, a normalisation "
    "layer or a residual connection keep samples apart.",
)
INDISTINGUISHABLE = message(
    "finding.activation.collapsed.indistinguishable", " The layers after it cannot tell the samples apart."
)
NORMALISED = message(
    "finding.activation.collapsed.one_value",
    " It normalises each position over a single value: the difference of that value from its mean is always 0.",
)
WIDEN = message(
    "finding.activation.collapsed.widen",
    "Give each position more features before it (d_model of 16 or more, by nn.Linear(1, 16)), or remove this normalisation.",
)

REPEL = message(
    "finding.activation.collapsed.repel",
    "Add to the loss what keeps different samples apart: negative pairs with a margin, a contrastive loss over the batch "
    "(InfoNCE), or a term for the variance of each output; or stop the gradient of one branch, behind a predictor.",
)
UNSQUASH = message(
    "finding.activation.collapsed.unsquash",
    "Use ReLU or GELU in place of sigmoid in the hidden layers, or put a normalisation layer before each.",
)


def collapsed(ledger: Ledger) -> Iterable[Finding]:
    """A layer returns the same output for every sample, so that later layers cannot distinguish samples.

    One of several outputs may do so (it may start at zero or at the prior) and is not reported.
    """
    order = ledger.facts("layer.order")
    outputs = output_layers(ledger)
    before = 0.0  # spread of the layer before
    for layer in sorted((w for w in ledger.wheres("activation.spread") if w in order), key=lambda w: order[w]):
        if len(outputs) > 1 and layer in outputs:
            continue
        spreads = ledger.values("activation.spread", layer)[-2:]
        samples = ledger.last("activation.samples", layer, 0)
        fallen = layer in outputs and have_equal_embeddings(ledger, layer)
        if len(spreads) >= 2 and samples >= 8 and (max(spreads) < EQUAL or fallen):
            facts = {
                "spread": spreads[-1],
                "samples": samples,
                "variation": math.sqrt(max(0.0, spreads[-1])),
                "kind": ledger.last("layer.kind", layer),
            }
            of_one = layer in norms_of_one_value(ledger)
            facts |= {"why": NORMALISED if of_one else INDISTINGUISHABLE, "do": WIDEN if of_one else CHECK}
            sigmoids = _sigmoids_up_to(ledger, order[layer])
            if sigmoids >= MIN_SIGMOIDS and not of_one and before <= ABRUPT:
                facts |= {"why": _squashed(sigmoids), "do": UNSQUASH}
            elif fallen:
                facts |= {"why": _drawn_together(ledger, layer), "do": REPEL}
            # If the outputs of the layer before still vary, this layer is the cause of the faults before and after it.
            confidence = 0.97 if before > ABRUPT or of_one else 0.85
            yield Finding("activation.collapsed", "error", confidence, layer, facts)
            return
        before = spreads[-1] if spreads else before


def _drawn_together(ledger: Ledger, layer: str) -> Message:
    """Sentence on a loss that pulls all embeddings to one point."""
    return message(
        "finding.activation.collapsed.no_repulsion",
        " At the start they varied by {start:%}. The loss compares outputs with one another, without targets, and is "
        "smallest where all of them are equal.",
        start=math.sqrt(max(0.0, ledger.first("activation.spread", layer, 0.0))),
    )


def _sigmoids_up_to(ledger: Ledger, place: int) -> int:
    """Number of sigmoids among the layers up to this place in the order of calls."""
    order = ledger.facts("layer.order")
    kinds = ledger.facts("layer.activation").items()
    return sum(kind == "sigmoid" and order.get(layer, math.inf) <= place for layer, kind in kinds)


def _squashed(sigmoids: int) -> Message:
    """Sentence on the differences between samples that sigmoids make smaller."""
    return message(
        "finding.activation.collapsed.squashed",
        " Sigmoids return nearly 0.5 for small inputs, whatever the sample: each of the {sigmoids} up to here makes the "
        "differences between samples smaller.",
        sigmoids=sigmoids,
    )


SPEC = FindingSpec(
    code="activation.collapsed",
    order=470,
    severities=(
        "error",
        "note",
    ),
    rule=collapsed,
    words=Words(
        title="{where} returns the same output for every sample",
        cause=("For {samples} different samples the outputs of {where} vary by only {variation:%} of their size.{why}"),
        fix="{do}",
    ),
    charts=(
        by_layer(
            message("doctor.chart.how_much_each_layer_tells", "Differences between samples at each layer"),
            message("doctor.chart.variance_over_samples_mean_square", "variance over samples / mean square"),
            "activation.spread",
            log=True,
            below=1e-05,
            level=(1e-05, message("doctor.chart.alike_below", "alike below")),
        ),
    ),
    explains=(
        "model.inputs_unused",
        "fit.*",
        "gradient.vanishing",
        "model.no_nonlinearity",
    ),
    needs=("activation.spread",),
    overcome_at=0.9,
)
