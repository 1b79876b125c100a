"""Finding data.labels_renumbered: rule and wording."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from danlu.doctor.derived.labels import late_accuracy
from danlu.doctor.derived.progress import skills
from danlu.doctor.drawings.over_epochs import epoch_accuracies, epoch_losses
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.places import LABELS, class_label

MIN_SAMPLES = 4  # validation samples of a class, whose predictions are compared
MIN_ALIKE = 0.6  # fraction of the samples of a class that are predicted as one and the same other class
# Classes, their validation samples, and these as a fraction of all validation samples.
MIN_MOVED, MIN_MOVED_SAMPLES, MIN_FRACTION = 2, 16, 0.2
LEARNT_SKILL, LEARNT_ACCURACY = 0.2, 0.5  # of the training; below it predictions say nothing about the labels
NAMED = 4  # pairs of classes in the text


def labels_renumbered(ledger: Ledger) -> Iterable[Finding]:
    """Validation labels that follow the predictions, one class by one, under other numbers."""
    rows = ledger.last("class.taken_for", "val")
    skill, accuracy = (skills(ledger, "train") or [0.0])[-1], late_accuracy(ledger, "train")
    learnt = skill > LEARNT_SKILL or (accuracy or 0.0) > LEARNT_ACCURACY
    if not rows or not learnt:
        return
    known = {label: row for label, row in enumerate(rows) if row[2] >= MIN_SAMPLES}
    taken = [guess for guess, _, _ in known.values()]
    moved = {
        label: guess
        for label, (guess, likely, _) in known.items()
        if guess != label and likely >= MIN_ALIKE and taken.count(guess) == 1
    }
    samples = sum(known[label][2] for label in moved)
    fraction = samples / max(1, sum(count for _, _, count in rows))
    if len(moved) < MIN_MOVED or samples < MIN_MOVED_SAMPLES or fraction < MIN_FRACTION:
        return
    pairs = [
        message(
            "finding.data.labels_renumbered.pair",
            "{label} as {guess}",
            label=class_label(ledger, label),
            guess=class_label(ledger, guess),
        )
        for label, guess in list(moved.items())[:NAMED]
    ]
    facts: dict[str, Any] = {"classes": len(moved), "fraction": fraction, "pairs": pairs, "least": MIN_ALIKE}
    yield Finding("data.labels_renumbered", "error", 0.95, LABELS, facts)


SPEC = FindingSpec(
    code="data.labels_renumbered",
    order=65,
    severities=("error",),
    rule=labels_renumbered,
    words=Words(
        title="Validation numbers the classes differently",
        cause=(
            "For {classes} classes ({fraction:%} of the validation samples), at least {least:%} of the samples are predicted as one "
            "and the same other class: {pairs}. The model can tell the classes apart, but a number does not mean the same class in "
            "validation as in training."
        ),
        fix=(
            "Number the classes once, from the sorted names of the training classes, and use them for every split. "
            "os.listdir and set() have no fixed order."
        ),
        snippet=(
            'names = ["dog", "cat", "fish"]  # of the training classes\n'
            "number_of = {{name: number for number, name in enumerate(sorted(names))}}"
        ),
    ),
    charts=(epoch_accuracies, epoch_losses),
    explains=(
        "fit.*",
        "data.labels_shuffled",
        "data.label_noise",
        "data.split_shift",
        "norm.train_eval_gap",
        "model.too_small",
    ),
    needs=("class.taken_for[val]",),
    alone=True,
)
