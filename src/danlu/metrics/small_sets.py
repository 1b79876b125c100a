"""Uncertainty of accuracies on small sets."""

from __future__ import annotations

import math
from collections.abc import Mapping

from danlu.metrics.classification import Z_95, wilson_interval

MAX_SAMPLES = 1000  # the interval of larger sets, below 6 percentage points, is not shown


def accuracy_interval(accuracy: object, samples: object) -> tuple[float, float] | None:
    """95 % interval of an accuracy on a small set; None for a large one, and where there is no accuracy."""
    if not isinstance(accuracy, int | float) or not math.isfinite(accuracy):
        return None
    if not isinstance(samples, int) or not 0 < samples <= MAX_SAMPLES:
        return None
    return wilson_interval(accuracy, samples)


def higher_than_chance(accuracies: Mapping[str, float], counts: Mapping[str, int]) -> bool:
    """Return whether "val" exceeds "test" by more than chance at 95 % confidence (two proportions, pooled)."""
    val, test, val_samples, test_samples = accuracies["val"], accuracies["test"], counts["val"], counts["test"]
    pooled = (val * val_samples + test * test_samples) / (val_samples + test_samples)
    deviation = math.sqrt(pooled * (1 - pooled) * (1 / val_samples + 1 / test_samples))
    return val - test > Z_95 * deviation


def measured_accuracies(metrics: Mapping[str, object], counts: Mapping[str, int]) -> dict[str, float]:
    """Accuracies of "val" and "test", of those that have samples. metrics: of each split, or None."""
    found = {}
    for split in ("val", "test"):
        values = metrics.get(split)
        accuracy = values.get("accuracy") if isinstance(values, Mapping) else None
        if counts.get(split) and isinstance(accuracy, int | float):
            found[split] = float(accuracy)
    return found
