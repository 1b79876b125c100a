"""Sentences on the uncertainty of the accuracy of a finished training, for small validation and test sets."""

from __future__ import annotations

import math

from danlu.message import Message, message
from danlu.metrics.classification import Z_95, wilson_interval
from danlu.run.names import split_key
from danlu.run.summary import Summary

MAX_SAMPLES = 1000  # the interval of larger splits, below 6 percentage points, is not printed
MIN_VALIDATION = 100  # samples; with fewer, cross-validation is suggested


def uncertainty(summary: Summary, fold: int | None) -> list[Message]:
    """Interval of the accuracy on the test set, its gap to validation, and what to do about few validation samples.

    fold: number of the fold in a cross-validation, where a single fold gets no interval.
    """
    counts = (summary.data or {}).get("counts") or {}
    accuracies = {
        name: (summary.metrics.get(name) or {}).get("accuracy") for name in ("val", "test") if counts.get(name)
    }
    measured = {name: accuracy for name, accuracy in accuracies.items() if accuracy is not None}
    if not measured or fold is not None:
        return []
    split = "test" if "test" in measured else "val"
    accuracy, samples = measured[split], counts[split]
    if samples > MAX_SAMPLES or not math.isfinite(accuracy):
        return []
    low, high = wilson_interval(accuracy, samples)
    text = (
        "{split} accuracy {accuracy:.1%} on {samples} {samples:sample|samples}: "
        "{low:.0%} to {high:.0%} with 95 % confidence"
    )
    values = {"split": split_key(split), "accuracy": accuracy, "samples": samples, "low": low, "high": high}
    lines = [message("printing.interval", text, **values)]
    if len(measured) == 2 and _apart(measured["val"], counts["val"], accuracy, samples):
        text = "validation accuracy {val:.1%} is higher than chance explains; trust the test set"
        lines.append(message("printing.gap", text, val=measured["val"]))
    if 0 < counts.get("val", 0) < MIN_VALIDATION and high - low > 0.1:
        text = "{samples} validation samples choose the epoch: `--folds 5` validates on every training sample"
        lines.append(message("printing.few_validation", text, samples=counts["val"]))
    return lines


def _apart(val: float, val_samples: int, test: float, test_samples: int) -> bool:
    """Return whether validation exceeds test by more than chance at 95 % confidence (two proportions, pooled)."""
    pooled = (val * val_samples + test * test_samples) / (val_samples + test_samples)
    deviation = math.sqrt(pooled * (1 - pooled) * (1 / val_samples + 1 / test_samples))
    return val - test > Z_95 * deviation
