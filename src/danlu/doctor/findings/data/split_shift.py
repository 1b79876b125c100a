"""Finding data.split_shift: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from danlu.doctor.derived.input_statistics import input_shift, input_shift_text
from danlu.doctor.derived.labels import labels_seen, mean_rows
from danlu.doctor.derived.learning import final_skill
from danlu.doctor.drawings.counts import input_ranges
from danlu.doctor.finding import Finding
from danlu.doctor.findings.data.not_shuffled import not_shuffled
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.places import INPUTS, LABELS, class_label

MIN_TARGET_SHIFT = 8.0  # standard deviations of the training targets between the means
MIN_UNFORESEEN = 1.0  # of these, where validation is predicted worse than by its mean
MIN_VALIDATED, LEARNT = 30, 0.6  # validation samples, and the variance of the training targets that is explained
GOOD_SKILL = 0.75  # on validation; well predicted although its inputs have moved
MAX_HARMLESS_SHIFT, MAX_HARMLESS_SCALE = 1.0, 0.35  # of the means, in standard deviations, and of the log of these
MIN_EXPECTED_LABELS = 10  # of a class; with fewer it may be missing by chance


def split_shift(ledger: Ledger) -> Iterable[Finding]:
    """Validation inputs or labels whose distribution differs from training."""
    apart = input_shift(ledger)
    if apart and apart[0] == "val":
        severity = "note" if _is_harmless(ledger, apart[1]) else "error"
        yield Finding("data.split_shift", severity, 0.9, INPUTS, {"problem": input_shift_text(apart[1])} | apart[1])
        return
    moved = target_shift(ledger) or unforeseen_targets(ledger)
    if moved:
        yield Finding("data.split_shift", "error", 0.9, LABELS, moved)
        return
    train, val = (mean_rows(ledger.values("class.actual", phase)) for phase in ("train", "val"))
    if len(train) == len(val) > 1:
        distance = sum(abs(a - b) for a, b in zip(train, val)) / 2
        least = max(0.02, MIN_EXPECTED_LABELS / max(1, labels_seen(ledger)))
        missing = [k for k, (a, b) in enumerate(zip(train, val)) if b > least and a < 0.15 * b]
        if distance > 0.3 and missing and not _is_sorted_by_class(ledger):
            problem = message(
                "finding.data.split_shift.missing_classes",
                "training set has hardly any labels of the classes {classes}, which are frequent in validation",
                classes=[class_label(ledger, k) for k in missing[:8]],
            )
            facts = {"problem": problem, "apart": distance, "classes": missing[:8]}
            yield Finding("data.split_shift", "error", 0.85, LABELS, facts)


def _is_harmless(ledger: Ledger, facts: Mapping[str, float]) -> bool:
    """Return whether inputs moved by little, as the later values of a series with a trend, and are predicted well."""
    moved = abs(facts["val_mean"] - facts["train_mean"]) / facts["train_std"]
    scaled = abs(math.log(facts["val_std"] / facts["train_std"]))
    well = ledger.has("loss.mean", "val") and (final_skill(ledger) or 0.0) >= GOOD_SKILL
    return well and moved < MAX_HARMLESS_SHIFT and scaled < MAX_HARMLESS_SCALE


def target_shift(ledger: Ledger) -> dict[str, Any] | None:
    """Evidence of real-valued targets whose ranges in training and validation do not meet, far from each other.

    A series whose later values lie above all earlier ones moves by a few of its standard deviations.
    """
    ends = {f"{p}_{end}": ledger.last(f"target.{end}", p) for p in ("train", "val") for end in ("min", "max")}
    mean, std, other = (
        ledger.last(*name) for name in (("target.mean", "train"), ("target.std", "train"), ("target.mean", "val"))
    )
    if None in (*ends.values(), mean, std, other) or ledger.last("target.kind") != "values":
        return None
    apart = ends["val_min"] > ends["train_max"] or ends["val_max"] < ends["train_min"]
    if not apart or not std or abs(other - mean) < MIN_TARGET_SHIFT * std:
        return None
    problem = message(
        "finding.data.split_shift.targets",
        "targets of training range from {train_min} to {train_max}, those of validation from {val_min} to {val_max}: they are "
        "in other units, or only one of them was transformed (log, standardisation)",
        **ends,
    )
    return {"problem": problem} | ends


def unforeseen_targets(ledger: Ledger) -> dict[str, Any] | None:
    """Evidence of real-valued targets that moved between the splits, and that the model predicts worse than their mean."""
    (mean, std), (other, spread) = (
        (ledger.last("target.mean", phase), ledger.last("target.std", phase)) for phase in ("train", "val")
    )
    fit, held = ledger.last("explained.mean", "train"), ledger.last("explained.mean", "val")
    few = ledger.last("epoch.samples", "val", 0) < MIN_VALIDATED or ledger.last("target.kind") != "values"
    if few or None in (mean, other, fit, held) or not std or not spread:
        return None
    if abs(other - mean) < MIN_UNFORESEEN * std or fit < LEARNT or held > 0:
        return None
    facts = {"train_mean": mean, "train_std": std, "val_mean": other, "val_std": spread, "fit": fit}
    problem = message(
        "finding.data.split_shift.unforeseen",
        "targets of training have mean {train_mean} and deviation {train_std}, those of validation {val_mean} and {val_std}. The "
        "inputs do not show it as in training: the model explains {fit:%} of the variance in training, and predicts validation "
        "worse than its mean. The inputs may be standardised for each split by itself, or the splits are of other times",
        **facts,
    )
    return {"problem": problem} | facts


def _is_sorted_by_class(ledger: Ledger) -> bool:
    """Return whether the data is sorted by class: then some batches do not represent all labels."""
    return any(True for _ in not_shuffled(ledger))


SPEC = FindingSpec(
    code="data.split_shift",
    order=70,
    severities=("error", "note"),
    rule=split_shift,
    words=Words(
        title="Validation {where} differ from training",
        cause=("The {problem}. The validation score therefore measures another task than the one trained on."),
        fix=(
            "Prepare both splits by the same transform with the statistics of training, and split the "
            "samples at random."
        ),
        snippet="train_set, val_set = torch.utils.data.random_split(dataset, [0.8, 0.2])",
    ),
    before_training=Words(
        title="Classes without training samples",
        cause="Validation or test set has classes without any training sample: {classes}.",
        fix="Split at random within classes (--split stratified), or remove these classes.",
    ),
    charts=(input_ranges,),
    explains=("fit.*",),
    needs=(
        "input.mean[train]",
        "input.mean[val]",
    ),
    alone=True,
)
