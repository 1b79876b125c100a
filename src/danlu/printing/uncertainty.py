"""Sentences on the uncertainty of the accuracy of a finished training, for small validation and test sets."""

from __future__ import annotations

from danlu.message import Message, message
from danlu.metrics.small_sets import accuracy_interval, higher_than_chance, measured_accuracies
from danlu.run.names import split_key
from danlu.run.summary import Summary

MIN_VALIDATION = 100  # samples; with fewer, cross-validation is suggested


def uncertainty(summary: Summary, fold: int | None) -> list[Message]:
    """Interval of the accuracy on the test set, its gap to validation, and what to do about few validation samples.

    fold: number of the fold in a cross-validation, where a single fold gets no interval.
    """
    counts = (summary.data or {}).get("counts") or {}
    measured = measured_accuracies(summary.metrics, counts)
    if not measured or fold is not None:
        return []
    split = "test" if "test" in measured else "val"
    accuracy, samples = measured[split], counts[split]
    if (interval := accuracy_interval(accuracy, samples)) is None:
        return []
    low, high = interval
    text = (
        "{split} accuracy {accuracy:.1%} on {samples} {samples:sample|samples}: "
        "{low:.0%} to {high:.0%} with 95 % confidence"
    )
    values = {"split": split_key(split), "accuracy": accuracy, "samples": samples, "low": low, "high": high}
    lines = [message("printing.interval", text, **values)]
    if len(measured) == 2 and higher_than_chance(measured, counts):
        text = "validation accuracy {val:.1%} is higher than chance explains; trust the test set"
        lines.append(message("printing.gap", text, val=measured["val"]))
    if 0 < counts.get("val", 0) < MIN_VALIDATION and high - low > 0.1:
        text = "{samples} validation samples choose the epoch: `--folds 5` validates on every training sample"
        lines.append(message("printing.few_validation", text, samples=counts["val"]))
    return lines
