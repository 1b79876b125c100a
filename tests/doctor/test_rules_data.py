"""Rules about data on example ledgers, with and without the fault."""

from __future__ import annotations

import pytest

from danlu.doctor.findings.data.label_range import label_range
from danlu.doctor.findings.data.labels_shuffled import labels_shuffled
from danlu.doctor.findings.data.split_shift import split_shift
from danlu.doctor.ledger import Ledger


def labels(frequencies: list[float], batches: int, held: list[float] | None = None) -> Ledger:
    """One epoch of batches of 16, of which the labels were counted."""
    ledger = Ledger()
    ledger.add("loss.kind", "cross_entropy", "", 1)
    for name, value in {"samples": 16 * batches, "measured": batches, "batches": batches}.items():
        ledger.add(f"epoch.{name}", value, "train", 1)
    ledger.add("class.actual", frequencies, "train", 1)
    if held is not None:
        ledger.add("class.actual", held, "val", 1)
    return ledger


FROM_ONE = [0.0, 0.25, 0.25, 0.25, 0.25]


def test_labels_counted_from_one_are_found() -> None:
    (found,) = label_range(labels(FROM_ONE, batches=4))
    assert str(found.evidence["problem"]) == "they are counted from 1"


@pytest.mark.parametrize(
    "ledger",
    [labels(FROM_ONE, batches=1), labels(FROM_ONE, batches=4, held=[0.2] * 5), labels([0.2] * 5, batches=4)],
    ids=["one batch", "validation has the first class", "all classes"],
)
def test_missing_first_class_by_chance_is_not_reported(ledger: Ledger) -> None:
    assert list(label_range(ledger)) == []


def targets(ends: tuple[float, float], held_ends: tuple[float, float]) -> Ledger:
    """Real-valued targets, spread evenly over these ranges."""
    ledger = Ledger()
    ledger.add("target.kind", "values", "", 1)
    for phase, (low, high) in {"train": ends, "val": held_ends}.items():
        for name, value in {"min": low, "max": high, "mean": (low + high) / 2, "std": (high - low) / 3.5}.items():
            ledger.add(f"target.{name}", value, phase, 1)
    return ledger


def test_validation_on_targets_of_another_scale_is_found() -> None:
    (found,) = split_shift(targets((9.6, 13.1), (15_000, 500_000)))
    assert found.evidence["val_min"] == 15_000


@pytest.mark.parametrize("held", [(9.9, 12.8), (13.2, 14.5), (0, 500_000)], ids=["alike", "later values", "meeting"])
def test_other_targets_of_validation_are_no_other_scale(held: tuple[float, float]) -> None:
    assert list(split_shift(targets((9.6, 13.1), held))) == []


def unexplained(fraction: float, steps: int, neighbours: float) -> Ledger:
    """Regression without validation: explained variance of training, and the agreement of neighbours' targets."""
    ledger = Ledger()
    ledger.add("loss.kind", "mse", "", 1)
    ledger.add("target.std", 1.0, "train", 1)
    for step in range(1, steps + 1):
        ledger.add("loss.step", 1 - fraction, "", step)
    ledger.add("explained.mean", fraction, "train", 1)
    for step in range(8):
        ledger.add("label.kinship", neighbours, "", step)
        ledger.add("label.kinship_chance", 0.15, "", step)
    return ledger


def test_targets_that_inputs_do_not_explain_are_found_without_validation() -> None:
    (found,) = labels_shuffled(unexplained(0.0, steps=400, neighbours=0.01))
    assert found.severity == "warning"
    assert list(labels_shuffled(unexplained(0.3, steps=400, neighbours=0.01))) == []
    assert list(labels_shuffled(unexplained(0.0, steps=50, neighbours=0.01))) == []
    assert list(labels_shuffled(unexplained(0.0, steps=400, neighbours=0.5))) == []
