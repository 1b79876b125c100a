"""Label statistics and accuracies over the epochs."""

from __future__ import annotations

import math

from danlu.doctor.derived.progress import accuracies
from danlu.doctor.ledger import Ledger

Z_95 = 1.96  # quantile of the normal distribution for two-sided 95 % confidence


def labels_seen(ledger: Ledger) -> float:
    """Number of training samples whose labels were counted, over all epochs."""
    columns = (ledger.values(f"epoch.{name}", "train") for name in ("samples", "measured", "batches"))
    return sum(samples * measured / max(1, batches) for samples, measured, batches in zip(*columns))


def labels_places(ledger: Ledger) -> bool:
    """Return whether a sample has many labels, of its pixels or of the items of a sequence."""
    return ledger.last("output.rows", default=1) > 1 or len(ledger.last("output.shape", default=[])) > 2


def mean_rows(rows: list[list[float]]) -> list[float]:
    """Mean over the epochs of lists such as class frequencies; an epoch may have been seen only partly."""
    rows = [row for row in rows if isinstance(row, list) and len(row) == len(rows[0])]
    return [sum(column) / len(rows) for column in zip(*rows)] if rows else []


def late_accuracy(ledger: Ledger, phase: str) -> float | None:
    """Mean accuracy of the last third of the epochs, as measured or as reported by the loop."""
    found = accuracies(ledger, phase)
    late = [found[epoch] for epoch in sorted(found)[-max(1, len(found) // 3) :] if math.isfinite(found[epoch])]
    return sum(late) / len(late) if late else None


def late_mean(ledger: Ledger, name: str, phase: str) -> float | None:
    """Mean of a quantity over the last third of the epochs."""
    values = [v for v in ledger.values(name, phase) if isinstance(v, int | float) and math.isfinite(v)]
    late = values[-max(1, len(values) // 3) :]
    return sum(late) / len(late) if late else None


def highest_accuracy(ledger: Ledger, accuracy: float) -> float:
    """Upper bound (95 %, Wilson 1927) of an accuracy on the validation set; itself if its size is unknown."""
    samples = ledger.last("epoch.samples", "val")
    if not samples:
        return accuracy
    z = Z_95**2 / samples
    spread = Z_95 * math.sqrt(accuracy * (1 - accuracy) / samples + z / (4 * samples))
    return (accuracy + z / 2 + spread) / (1 + z)


def balanced_accuracy(ledger: Ledger, phase: str) -> float | None:
    """Mean recall of the classes over the last third of the epochs; 1 / K for outputs that do not depend on the inputs.

    Unlike the accuracy it does not favour the most frequent class, which a weighted loss gives up on purpose.
    """
    rows = ledger.values("class.correct", phase)
    recalls = [one for one in mean_rows(rows[-max(1, len(rows) // 3) :]) if one >= 0]
    return sum(recalls) / len(recalls) if len(recalls) > 1 else None


def chance_accuracy(ledger: Ledger) -> float:
    """Accuracy of always predicting the most frequent class."""
    frequencies = mean_rows(ledger.values("class.actual", "val")) or mean_rows(ledger.values("class.actual", "train"))
    return max(frequencies or [0.5])
