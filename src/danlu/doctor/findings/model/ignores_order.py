"""Finding model.ignores_order: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.input_statistics import are_tokens
from danlu.doctor.derived.learning import final_skill
from danlu.doctor.drawings.counts import against_threshold
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message

MAX_CHANGE = 1e-3  # change of the outputs by rounding, relative to their standard deviation
GOOD_SKILL = 0.5  # fraction of the loss at chance level explained; above it the order may not matter
POOR_SKILL = 0.15  # below it, where the items are vectors, which may be a set on purpose


def ignores_order(ledger: Ledger) -> Iterable[Finding]:
    """A model with attention has the same answer for the items of a sequence in any order, and does not learn well."""
    change, skill = ledger.last("probe.order"), final_skill(ledger)
    if change is None or change > MAX_CHANGE or ledger.last("probe.used_inputs") == 0:
        return  # outputs that depend on no input do not depend on their order
    tokens = are_tokens(ledger)
    poor = skill is not None and skill < (GOOD_SKILL if tokens else POOR_SKILL)
    facts = {"change": change, "threshold": MAX_CHANGE, "length": ledger.last("input.shape", default=[0, 0])[1]}
    if poor or tokens:
        yield Finding("model.ignores_order", "warning" if poor else "note", 0.85, "", facts)


SPEC = FindingSpec(
    code="model.ignores_order",
    order=176,
    severities=("warning", "note"),
    rule=ignores_order,
    words=Words(
        title="The order of the items has no effect",
        cause=(
            "When the {length} items of each sequence were put in another order, the outputs stayed the same. Attention sees a set "
            'of items: without positions it cannot tell "dog bites man" from "man bites dog".'
        ),
        fix="Add positions to the embeddings before the first attention layer, unless the order carries no meaning.",
        snippet=(
            "positions = nn.Embedding(512, 64)  # longest sequence, width of the embeddings\n"
            "embedded = torch.zeros(8, 20, 64)  # of the items\n"
            "embedded = embedded + positions(torch.arange(embedded.shape[1]))"
        ),
    ),
    charts=(
        against_threshold(
            message("doctor.chart.effect_of_the_order", "Effect of the order of the items"),
            message("doctor.chart.change_in_deviations", "change in deviations"),
            "change",
        ),
    ),
    explains=("fit.*", "optim.*", "data.labels_shuffled", "model.too_small", "activation.collapsed"),
    needs=("input.shape",),
    concerns=lambda ledger: ledger.has("probe.order"),
)
