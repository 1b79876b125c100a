"""Rules about data on example ledgers, with and without the fault."""

from __future__ import annotations

import pytest

from danlu.doctor.findings.data.label_range import label_range
from danlu.doctor.ledger import Ledger


def labels(shares: list[float], batches: int, held: list[float] | None = None) -> Ledger:
    """One epoch of batches of 16, of which the labels were counted."""
    ledger = Ledger()
    ledger.add("loss.kind", "cross_entropy", "", 1)
    for name, value in {"samples": 16 * batches, "measured": batches, "batches": batches}.items():
        ledger.add(f"epoch.{name}", value, "train", 1)
    ledger.add("class.actual", shares, "train", 1)
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
