"""Finding model.reads_padding: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.learning import final_skill
from danlu.doctor.drawings.counts import against_threshold
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message

MIN_CHANGE = 1.0  # of the outputs without the padding, in differences between sequences
LOW_SKILL = 0.3  # fraction of the loss at chance level explained; above it the padding does little harm


def reads_padding(ledger: Ledger) -> Iterable[Finding]:
    """A summary of sequences that their padding changes more than their content does, in a model that hardly learns."""
    change, skill = ledger.last("probe.padding", default=0.0), final_skill(ledger)
    if change <= MIN_CHANGE:
        return
    facts = {"change": change, "padded": ledger.last("probe.padded"), "threshold": MIN_CHANGE}
    if skill is not None and skill < LOW_SKILL:
        yield Finding("model.reads_padding", "warning", 0.9, "", facts)


SPEC = FindingSpec(
    code="model.reads_padding",
    order=175,
    severities=("warning",),
    rule=reads_padding,
    words=Words(
        title="The outputs depend on the padding",
        cause=(
            "{padded:%} of the items of the sequences are padding at their end. Without it the outputs for a sequence "
            "change by more than the differences between sequences: the step that is used lies in the padding, where a "
            "recurrent layer has forgotten the sequence, or the padding is not masked."
        ),
        fix=(
            "Take the output at the true length of each sequence, or pack the sequences "
            "(nn.utils.rnn.pack_padded_sequence). Give attention a key_padding_mask, and average over real items only."
        ),
        snippet=(
            "lengths = (x != 0).sum(1).clamp(min=1).cpu()\n"
            "packed = nn.utils.rnn.pack_padded_sequence(x.unsqueeze(-1), lengths, batch_first=True, enforce_sorted=False)"
        ),
    ),
    charts=(
        against_threshold(
            message("doctor.chart.effect_of_padding", "Change of the outputs without the padding"),
            message("doctor.chart.change_between_sequences", "change in differences between sequences"),
            "change",
            log=True,
        ),
    ),
    explains=(
        "fit.*",
        "optim.*",
        "activation.collapsed",
        "gradient.vanishing",
        "model.inputs_unused",
        "model.too_small",
    ),
    needs=("probe.padding",),
    concerns=lambda ledger: ledger.has("probe.padding"),
)
