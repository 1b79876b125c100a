"""Finding data.degenerate: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable

from danlu.doctor.derived.input_statistics import blank_by_chance
from danlu.doctor.drawings.counts import counts
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message

MAX_BLANK_FRACTION = 0.5  # fraction of the samples that are blank, above which nothing else can be judged


def degenerate(ledger: Ledger) -> Iterable[Finding]:
    """Blank samples, or samples with non-finite values."""
    seen = sum(ledger.values("input.samples", "train"))
    blank, bad = sum(ledger.values("input.constant", "train")), sum(ledger.values("input.nonfinite", "train"))
    shape = ledger.last("input.shape", default=[])
    facts = {"blank": int(blank), "nonfinite": int(bad), "seen": int(seen)}
    if bad and not ledger.has("nonfinite.step"):  # else numerics.nonfinite names the sample
        yield Finding("data.degenerate", "error", 0.95, "", facts)
    elif blank > 0.02 * seen and blank >= 3 and math.prod(shape[1:] or [1]) > 4 and not _by_chance(ledger, blank, seen):
        severity, confidence = ("error", 0.95) if blank > MAX_BLANK_FRACTION * seen else ("warning", 0.85)
        yield Finding("data.degenerate", severity, confidence, "", facts)


def _by_chance(ledger: Ledger, blank: float, seen: float) -> bool:
    """Return whether chance may make as many samples blank; never most of them."""
    return blank <= min(blank_by_chance(ledger), MAX_BLANK_FRACTION * seen)


SPEC = FindingSpec(
    code="data.degenerate",
    order=50,
    severities=(
        "error",
        "warning",
    ),
    rule=degenerate,
    words=Words(
        title="Some samples are blank or not finite",
        cause=(
            "Of the {seen} training samples checked, {blank} have the same value everywhere and {nonfinite} "
            "contain NaN or infinity. The former carry no information, the latter make the loss NaN."
        ),
        fix=(
            "Find and remove them; danlu data DATA lists unreadable files. Where most are blank, look at a sample after each "
            "operation on it: integers lose what is between 0 and 1 (x / 255 stored as uint8)."
        ),
        snippet=(
            "bad = ~torch.isfinite(x_train).flatten(1).all(1) | (x_train.flatten(1).std(1) == 0)\n"
            "x_train, y_train = x_train[~bad], y_train[~bad]"
        ),
    ),
    before_training=Words(
        title="Blank images",
        cause="{blank} of {samples} images have a single value: {names}.",
        fix="Delete them, or find out why they are blank.",
    ),
    charts=(
        counts(
            message("doctor.chart.training_samples_looked_at", "Training samples looked at"),
            message("doctor.chart.samples", "samples"),
            [
                ("seen", message("doctor.chart.looked_at", "looked at"), False),
                ("blank", message("doctor.chart.blank", "blank"), True),
                ("nonfinite", message("doctor.chart.nan_or_infinite", "NaN or infinite"), True),
            ],
        ),
    ),
    explains=(
        "numerics.nonfinite",
        "fit.*",
        "data.not_normalised",
        "data.labels_shuffled",
        "data.duplicates",
        "activation.collapsed",
        "model.inputs_unused",
    ),
    needs=("input.samples[train]",),
)
