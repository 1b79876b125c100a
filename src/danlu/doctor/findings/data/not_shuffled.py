"""Finding data.not_shuffled: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from danlu.doctor.derived.applies import classifies
from danlu.doctor.derived.labels import mean_rows
from danlu.doctor.drawings.over_time import pair
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message


def not_shuffled(ledger: Ledger) -> Iterable[Finding]:
    """Batches whose labels differ from all labels by far more than expected by chance.

    Either from batch to batch, or, where few batches were looked at, because the first ones hold few of the classes.
    """
    steps, distances = ledger.series("batch.label_distance")
    expected = dict(zip(*ledger.series("batch.label_distance_expected")))
    pairs = [(d, expected.get(s, 0.0)) for s, d in zip(steps, distances)]
    held = mean_rows(ledger.values("class.actual", "val"))  # empty if no loss is computed in validation
    known = held or mean_rows(ledger.values("class.actual", "train"))
    if len(pairs) < 3 or len(known) < 3:
        return
    distance, chance = (sum(part) / len(pairs) for part in zip(*pairs))
    first = (ledger.values("class.actual", "train") or [[]])[0]
    size = (ledger.values("batch.size") or [0])[0]
    classes = sum(frequency > 0 for frequency in first)
    # A shuffled batch of `size` misses a class of frequency p with probability (1 - p)^size.
    usual = sum(1 - (1 - p) ** size for p in known)
    facts: dict[str, Any] = {"distance": distance, "expected": chance, "batches": len(pairs)}
    facts |= {"classes": classes, "usual": usual}
    one_class = size >= 8 and len(first) == len(held) and classes < 0.4 * usual and not labels_are_one(ledger)
    if distance > 2.2 * chance and distance > 0.3 and size >= 8:
        facts["seen"] = message(
            "finding.data.not_shuffled.frequencies",
            "In each batch {distance:%} of the labels would have to change to match the class frequencies of the training "
            "set; in shuffled order it would be {expected:%}",
            distance=distance,
            expected=chance,
        )
        yield Finding("data.not_shuffled", "error", min(0.95, 0.6 + 0.1 * distance / max(chance, 0.01)), "", facts)
    elif one_class:
        facts["seen"] = message(
            "finding.data.not_shuffled.classes",
            "The batches checked in the first epoch hold {classes} of {all} classes; one shuffled batch of {size} would hold "
            "about {usual:.0f}",
            classes=classes,
            all=len(known),
            size=int(size),
            usual=usual,
        )
        yield Finding("data.not_shuffled", "error", 0.85, "", facts)


def labels_are_one(ledger: Ledger) -> bool:
    """Return whether all labels of all epochs are of one class, as many batches measured as an epoch has: no order would help."""
    measured, batches = sum(ledger.values("epoch.measured", "train")), ledger.last("epoch.batches", "train", 0)
    return 0 < batches <= measured and max(mean_rows(ledger.values("class.actual", "train")) or [0.0]) == 1


SPEC = FindingSpec(
    code="data.not_shuffled",
    order=60,
    severities=("error",),
    rule=not_shuffled,
    words=Words(
        title="Samples are ordered by class",
        cause=("{seen}. Each step pulls the model towards the classes of its batch and away from the others."),
        fix="Shuffle the training set.",
        snippet="loader = torch.utils.data.DataLoader(dataset, batch_size=64, shuffle=True)",
    ),
    charts=(
        pair(
            message("doctor.chart.labels_of_a_batch_against", "Labels of a batch against all labels"),
            message("doctor.chart.total_variation", "total variation"),
            ("batch.label_distance", "", message("doctor.chart.measured", "measured")),
            ("batch.label_distance_expected", "", message("doctor.chart.of_a_shuffled_order", "of a shuffled order")),
        ),
    ),
    explains=(
        "fit.*",
        "optim.oscillation",
        "optim.lr_too_high",
        "norm.train_eval_gap",
        "optim.batch_too_small",
    ),
    needs=("batch.label_distance",),
    concerns=classifies,
    alone=True,
)
