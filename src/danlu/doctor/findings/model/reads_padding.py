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
MIN_UNUSED = 0.95  # of the items that are no padding
UNMASKED = message(
    "finding.model.reads_padding.unmasked",
    "Take the output at the true length of each sequence, or pack the sequences (nn.utils.rnn.pack_padded_sequence). Give "
    "attention a key_padding_mask, and average over real items only.",
)
INVERTED = message(
    "finding.model.reads_padding.inverted",
    "Invert the mask: key_padding_mask of nn.MultiheadAttention and src_key_padding_mask are True for the items that are to be "
    "ignored, and masked_fill fills where its mask is True.",
)


def reads_padding(ledger: Ledger) -> Iterable[Finding]:
    """Outputs that the padding changes more than the content does, or the padding alone, in a model that hardly learns."""
    skill = final_skill(ledger)
    unused = ledger.last("probe.content_unused", default=0.0)
    if unused > MIN_UNUSED and (skill is None or skill < LOW_SKILL):
        facts = {"unused": unused, "threshold": MIN_UNUSED, "change": unused, "do": INVERTED, "fix": "mask"}
        facts["seen"] = message(
            "finding.model.reads_padding.only",
            "The outputs depend on the padding of the sequences, and not on {unused:%} of the items that are no padding: the "
            "mask keeps what it should hide.",
            unused=unused,
        )
        yield Finding("model.reads_padding", "error", 0.93, "", facts)
        return
    change = ledger.last("probe.padding", default=0.0)
    if change <= MIN_CHANGE:
        return
    padded = ledger.last("probe.padded")
    facts = {"change": change, "padded": padded, "threshold": MIN_CHANGE, "do": UNMASKED, "fix": "length"}
    facts["seen"] = message(
        "finding.model.reads_padding.seen",
        "{padded:%} of the items of the sequences are padding at their end. Without it the outputs for a sequence change by more "
        "than the differences between sequences: the step that is used lies in the padding, where a recurrent layer has "
        "forgotten the sequence, or the padding is not masked.",
        padded=padded,
    )
    if skill is not None and skill < LOW_SKILL:
        yield Finding("model.reads_padding", "warning", 0.9, "", facts)


SPEC = FindingSpec(
    code="model.reads_padding",
    order=175,
    severities=("error", "warning"),
    rule=reads_padding,
    words=Words(
        title="The outputs depend on the padding",
        cause="{seen}",
        fix="{do}",
        snippet={
            "length": (
                "lengths = (x != 0).sum(1).clamp(min=1).cpu()\n"
                "packed = nn.utils.rnn.pack_padded_sequence(x.unsqueeze(-1), lengths, batch_first=True, enforce_sorted=False)"
            ),
            "mask": "key_padding_mask = x == 0  # where 0 is the padding",
        },
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
        "model.ignores_order",
    ),
    needs=("probe.padding",),
    concerns=lambda ledger: ledger.has("probe.padding"),
)
