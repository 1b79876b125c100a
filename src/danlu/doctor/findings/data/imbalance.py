"""Finding data.imbalance: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from danlu.doctor.derived.applies import classifies
from danlu.doctor.derived.labels import labels_places, mean_rows
from danlu.doctor.derived.progress import steps_taken
from danlu.doctor.drawings.counts import classes
from danlu.doctor.finding import Finding
from danlu.doctor.findings.data.not_shuffled import not_shuffled
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.places import TRAINING, VALIDATION, class_label, class_place
from danlu.message import Message

MIN_RECALL = 0.5  # of each rarer class of places; where none reaches it, the most frequent class swallows them
MIN_STEPS = 100  # training steps, before the recalls of training are judged


def imbalance(ledger: Ledger) -> Iterable[Finding]:
    """A class so rare that accuracy hides its errors (He and Garcia 2009); a warning where its recall is lower."""
    frequencies = mean_rows(ledger.values("class.actual", "train"))
    held = mean_rows(ledger.values("class.correct", "val"))
    seen = max(ledger.values("epoch.samples", "train"), default=math.inf)
    if len(frequencies) < 2 or len(frequencies) > 100 or seen < 20 * len(frequencies):
        return  # with so few samples a class may be rare by chance
    if any(True for _ in not_shuffled(ledger)):
        return  # the measured batches do not represent sorted data
    k, most = (
        min(range(len(frequencies)), key=frequencies.__getitem__),
        max(range(len(frequencies)), key=frequencies.__getitem__),
    )
    if frequencies[k] * len(frequencies) < 0.3 and frequencies[most] > 8 * frequencies[k] and frequencies[k] > 0:
        found = (held[k], held[most]) if len(held) == len(frequencies) else (0.0, 0.0)
        facts: dict[str, Any] = {
            "class": k,
            "fraction": frequencies[k],
            "common": frequencies[most],
            "without": 1 - frequencies[k],
        }
        facts["name"] = class_label(ledger, k)
        if len(held) == len(frequencies):
            facts |= {"found": found[0], "found_common": found[1]}
        facts["recall"] = recall_text(found) if len(held) == len(frequencies) and min(found) >= 0 else ""
        facts["fix"] = "binary" if str(ledger.last("loss.kind")).startswith("bce") else ""
        hidden = frequencies[k] * len(frequencies) < 0.06  # so rare that never predicting it costs almost nothing
        badly = 0 <= found[0] < found[1] - 0.1
        places = labels_places(ledger)
        weighed = _is_weighed(ledger, k, most)
        late = ledger.values("class.correct", "train")[-1:]  # of a loop whose validation has no loss
        recalls = held or (mean_rows(late) if steps_taken(ledger) >= MIN_STEPS else [])
        swallowed = places and len(recalls) == len(frequencies) and is_swallowed(recalls, most)
        swallowed = swallowed and frequencies[most] > 0.5
        if swallowed:
            facts["fix"] = "places"
            facts["recall"] = message(
                "finding.data.imbalance.swallowed",
                " In {phase} the recall of every class but {common} is below {below:%}. Where class {common} stands for "
                "padding or unlabelled pixels, the loss has to leave it out.",
                phase=VALIDATION if held else TRAINING,
                common=class_label(ledger, most),
                below=MIN_RECALL,
            )
        # Most places are background.
        severity = "warning" if (((badly or hidden) and not places) or swallowed) and not weighed else "note"
        yield Finding("data.imbalance", severity, 0.8 if badly else 0.7, class_place(facts["name"]), facts)


def is_swallowed(recalls: list[float], most: int) -> bool:
    """Return whether nearly all places are predicted to be of the most frequent class; -1 marks a class without labels."""
    others = [recall for k, recall in enumerate(recalls) if k != most and recall >= 0]
    return bool(others) and max(others) < MIN_RECALL and recalls[most] > 0.9


def recall_text(found: tuple[float, float]) -> Message:
    """Sentence on the recall in validation of the rare and of the most frequent class."""
    text = " In validation its recall is {found:%}, that of the most frequent class {found_common:%}."
    return message("finding.data.imbalance.recall", text, found=found[0], found_common=found[1])


def _is_weighed(ledger: Ledger, rare: int, common: int) -> bool:
    """Return whether the loss already weighs the rare class at least twice as much as the common one."""
    weights, positive = ledger.last("loss.class_weights"), ledger.last("loss.option", "pos_weight")
    if weights and max(rare, common) < len(weights):
        return weights[rare] >= 2 * weights[common]
    if isinstance(positive, list) and len(positive) == 1:
        return positive[0] >= 2 if rare == 1 else positive[0] <= 0.5
    return False


SPEC = FindingSpec(
    code="data.imbalance",
    order=30,
    severities=(
        "warning",
        "note",
    ),
    rule=imbalance,
    words=Words(
        title="Class {name} is so rare that accuracy hides its errors",
        cause=(
            "Class {name} has {fraction:%} of the training labels, the most frequent class "
            "{common:%}.{recall} A model that never predicts class {name} would still have an accuracy of "
            "{without:%}."
        ),
        fix=(
            "Judge the model by the recall of each class or by F1. Weigh the classes in the loss (danlu: "
            "--loss.class_weights balanced or --data.balance true), or collect more samples of class "
            "{name}."
        ),
        snippet={
            "places": "loss_fn = nn.CrossEntropyLoss(ignore_index=0)  # class 0: padding or unlabelled",
            "": (
                "counts = torch.bincount(y_train).clamp(min=1)\n"
                "loss_fn = nn.CrossEntropyLoss(weight=len(y_train) / (len(counts) * counts))"
            ),
            "binary": (
                "positives = (y_train == 1).sum()\n"
                "loss_fn = nn.BCEWithLogitsLoss(pos_weight=(len(y_train) - positives) / positives)"
            ),
        },
    ),
    before_training=Words(
        title="Classes are very imbalanced",
        cause=("{rare} has {count} training samples, {common} has {most}: plain accuracy hides errors on {rare}."),
        fix="Evaluate by F1 or per-class recall; try --loss.class_weights balanced or --data.balance true.",
    ),
    charts=(
        classes(
            message("doctor.chart.each_class_how_common_and", "Each class: how common, and how much of it is found"),
            ("class.actual", "train", message("doctor.chart.fraction_of_the_labels", "fraction of the labels")),
            ("class.correct", "val", message("doctor.chart.of_these_found", "of these found")),
        ),
    ),
    explains=("fit.one_class",),
    needs=("class.actual[train]",),
    concerns=classifies,
    alone=True,
)
