"""Finding data.duplicates: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean
from typing import Any

from danlu.doctor.derived.inputs import reevaluates_batches
from danlu.doctor.derived.progress import has_even_epochs
from danlu.doctor.drawings.over_time import series
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.places import TRAINING
from danlu.message import Message


def duplicates(ledger: Ledger) -> Iterable[Finding]:
    """Samples that occur more than once in an epoch, or with different labels."""
    if reevaluates_batches(ledger) or not has_even_epochs(ledger):
        return
    conflicts, hashed = ledger.last("input.label_conflicts", default=0), ledger.last("input.hashed", "train", 0)
    known_epochs = (
        ledger.last("run.epoch_by", default="") != "none"
    )  # otherwise the whole run is one epoch, and all samples repeat
    repeated = ledger.values("input.repeated", "train") if known_epochs else []
    # Copies repeat in each epoch; samples carried over from the last batch of an epoch need not.
    share = fmean(repeated) if repeated else 0.0
    facts: dict[str, Any] = {"repeated": share, "conflicts": int(conflicts), "seen": hashed}
    facts["names"] = names_text(ledger.last("input.copies"))
    if conflicts >= 2 and conflicts > 0.005 * hashed:
        yield Finding("data.duplicates", "warning", 0.85, TRAINING, facts)
    elif share > 0.05:
        yield Finding("data.duplicates", "warning", 0.75, TRAINING, facts)


def names_text(names: list[str] | None) -> Message | str:
    """Sentence with pairs of equal samples, "" where the trainer named none."""
    text = " For example: {names}."
    return message("finding.data.duplicates.names", text, names="; ".join(names)) if names else ""


SPEC = FindingSpec(
    code="data.duplicates",
    order=20,
    severities=("warning",),
    rule=duplicates,
    words=Words(
        title="Samples occur more than once",
        cause=(
            "{repeated:%} of the training samples checked in an epoch had already occurred in the same "
            "epoch, and {conflicts} identical samples came with different labels. Repeated samples weigh "
            "too much, and contradictory labels cannot be learnt.{names}"
        ),
        fix=(
            "Drop the copies, and inspect those with different labels. A sampler that draws with "
            "replacement on purpose is not a fault."
        ),
        snippet=(
            "_, first = np.unique(x_train.flatten(1).numpy(), axis=0, return_index=True)\n"
            "x_train, y_train = x_train[np.sort(first)], y_train[np.sort(first)]"
        ),
    ),
    before_training=Words(
        title="Images occur more than once",
        cause=(
            "{pairs} pairs are (nearly) identical ({share:%} of the samples have a duplicate), {conflicts} of them "
            "with "
            "different labels. For example: {names}."
        ),
        fix="Delete the copies, and inspect those with different labels: one of each pair is wrong.",
    ),
    charts=(
        series(
            message("doctor.chart.samples_that_came_before_in", "Samples that came before in the same epoch"),
            message("doctor.chart.share", "fraction"),
            "input.repeated",
            x="epoch",
            where="train",
            share=True,
        ),
    ),
    needs=("input.repeated[train]",),
    alone=True,
)
