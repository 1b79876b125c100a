"""Finding data.augmentation_harmful: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.input_statistics import input_shift, input_shift_text
from danlu.doctor.derived.labels import late_accuracy
from danlu.doctor.drawings.counts import input_ranges
from danlu.doctor.drawings.over_epochs import redrawn
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.places import TRAINING, VALIDATION


def augmentation_harmful(ledger: Ledger) -> Iterable[Finding]:
    """Training inputs that differ too much from validation inputs, or validation samples that change every epoch."""
    redrawn = ledger.values("input.val_redrawn", "val")
    if len(redrawn) >= 2 and min(redrawn) > 0.5:
        problem = message(
            "finding.data.augmentation_harmful.redrawn",
            "In validation {fraction:%} of the samples change from epoch to epoch under the same labels, so that a random "
            "transform is applied to them and the score is too low and noisy",
            fraction=round(redrawn[-1], 2),
        )
        do = message(
            "finding.data.augmentation_harmful.train_only",
            "Give the random transform to the training set alone; resize and normalise alone for validation.",
        )
        facts = {"problem": problem, "do": do, "fraction": redrawn[-1], "epochs": len(redrawn) + 1, "threshold": 0.5}
        yield Finding("data.augmentation_harmful", "warning", 0.85, VALIDATION, facts)
        return
    if "int" in str(ledger.last("input.dtype")) and len(ledger.last("input.shape", default=[])) < 3:
        return  # tokens, whose numbers have no scale
    apart = input_shift(ledger)
    fitted, held = late_accuracy(ledger, "train"), late_accuracy(ledger, "val")
    if apart and apart[0] == "train" and fitted is not None and held is not None:
        problem = message(
            "finding.data.augmentation_harmful.apart",
            "The {apart}, so that the model is trained on other images than it is judged on",
            apart=input_shift_text(apart[1]),
        )
        do = message(
            "finding.data.augmentation_harmful.weaken",
            "Weaken it until training images can be recognised by eye: smaller noise, erasing and rotation.",
        )
        facts = {"problem": problem, "do": do, "train": fitted, "val": held} | apart[1]
        yield Finding("data.augmentation_harmful", "warning", 0.85, TRAINING, facts)


SPEC = FindingSpec(
    code="data.augmentation_harmful",
    order=80,
    severities=("warning",),
    rule=augmentation_harmful,
    words=Words(
        title="Augmentation does harm ({where})",
        cause="{problem}.",
        fix=(
            "{do} With danlu: --augment light or none. Do not rotate images whose label depends on the "
            "orientation (6 and 9)."
        ),
    ),
    charts=(
        redrawn,
        input_ranges,
    ),
    explains=(
        "fit.*",
        "optim.slow_convergence",
        "model.too_small",
    ),
    needs=(
        "input.mean[train]",
        "input.mean[val]",
    ),
    alone=True,
)
