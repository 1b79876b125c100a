"""Classification metrics: accuracy, top-5, macro F1, calibration, and the tables of the report.

N samples, K classes. p: probabilities (N, K). targets, predicted: int64 class indices (N,).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

Z_95 = 1.96  # standard deviations that hold 95 % of a normal distribution
BINS = 15  # equal-width confidence bins, as in Guo et al., "On Calibration of Modern Neural Networks", 2017
MAX_ROWS = 200  # classes up to which all counts of a confusion matrix are kept


def classification_metrics(p: Tensor, targets: Tensor) -> dict[str, float]:
    """Compute accuracy, top-5 accuracy, macro F1 and expected calibration error.

    Args:
        p: Probabilities (N, K).
        targets: Class indices (N,).

    Returns:
        {"accuracy", "top5", "f1", "ece"} as floats in [0, 1], NaN without samples. top5 is the fraction of samples
        whose class is among the min(5, K) most probable; f1 is the mean over the classes that occur as target or
        prediction.
    """
    if not len(targets):
        return dict.fromkeys(("accuracy", "top5", "f1", "ece"), float("nan"))
    predicted = p.argmax(1)
    right = predicted == targets
    # Among equal probabilities topk may omit the one that argmax returned.
    in_top5 = (p.topk(min(5, p.shape[1])).indices == targets[:, None]).any(1) | right
    confusion = confusion_matrix(predicted, targets, p.shape[1])
    occurring = (confusion.sum(0) + confusion.sum(1) > 0).tolist()
    f1 = [row["f1"] for row, occurs in zip(per_class(confusion), occurring) if occurs]
    return {
        "accuracy": right.double().mean().item(),
        "top5": in_top5.double().mean().item(),
        "f1": sum(f1) / len(f1),
        "ece": expected_calibration_error(p, targets),
    }


def wilson_interval(fraction: float, samples: int, z: float = Z_95) -> tuple[float, float]:
    """Interval of a probability that was measured as `fraction` of `samples` (Wilson 1927, equation of the score test).

    z: standard deviations, of 95 % confidence by default.
    """
    weight = z**2 / samples
    centre = (fraction + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(fraction * (1 - fraction) / samples + weight / (4 * samples))
    return max(0.0, centre - half), min(1.0, centre + half)


def confusion_matrix(predicted: Tensor, targets: Tensor, classes: int) -> Tensor:
    """Return counts (K, K), int64: the row is the true class, the column the predicted one."""
    return torch.bincount(targets * classes + predicted, minlength=classes**2).view(classes, classes)


def compact(confusion: Tensor) -> list[list[int]] | dict[str, Any]:
    """Confusion matrix for JSON: rows, or the counts above zero where K > MAX_ROWS: {"classes": K, "counts": [...]}.

    counts: lists of true class, predicted class and count. 2,000 classes are 4 million numbers, nearly all 0.
    """
    if len(confusion) <= MAX_ROWS:
        return confusion.tolist()
    places = confusion.nonzero()
    counts = torch.cat([places, confusion[places[:, 0], places[:, 1]][:, None]], dim=1)
    return {"classes": len(confusion), "counts": counts.tolist()}


def expanded(stored: Any) -> list[list[int]]:
    """Rows of a confusion matrix as `compact` stores it."""
    if not isinstance(stored, dict):
        return stored
    rows = [[0] * stored["classes"] for _ in range(stored["classes"])]
    for true, predicted, count in stored["counts"]:
        rows[true][predicted] = count
    return rows


def per_class(confusion: Tensor) -> list[dict[str, float]]:
    """Return {"precision", "recall", "f1", "support"} of each class from a confusion matrix (K, K).

    Precision is 0 for classes never predicted, recall 0 for classes without samples. support is the number of samples
    of the class.
    """
    hits, predicted, support = confusion.diagonal(), confusion.sum(0), confusion.sum(1)
    table = {
        "precision": hits / predicted.clamp(min=1),
        "recall": hits / support.clamp(min=1),
        "f1": 2 * hits / (predicted + support).clamp(min=1),
        "support": support,
    }
    rows = torch.stack([column.double() for column in table.values()], dim=1)
    return [dict(zip(table, row)) for row in rows.tolist()]


def reliability(p: Tensor, targets: Tensor, bins: int = BINS) -> list[dict[str, float | None]]:
    """Return accuracy against confidence, one entry per bin (low, high].

    Entries are {"low", "high", "count", "confidence", "accuracy"}; the last two are means over the bin, None for an
    empty bin.
    """
    count, confidence, right = (sums.tolist() for sums in _bins(p, targets, bins))
    return [
        {
            "low": i / bins,
            "high": (i + 1) / bins,
            "count": int(count[i]),
            "confidence": confidence[i] / count[i] if count[i] else None,
            "accuracy": right[i] / count[i] if count[i] else None,
        }
        for i in range(bins)
    ]


def expected_calibration_error(p: Tensor, targets: Tensor, bins: int = BINS) -> float:
    """Return the mean over samples of |accuracy - confidence| of their bin; 0 is perfect (Guo et al. 2017)."""
    count, confidence, right = _bins(p, targets, bins)
    return ((confidence - right).abs().sum() / count.sum()).item()


def _bins(p: Tensor, targets: Tensor, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return number of samples, sum of confidence and number of correct predictions per bin, each (bins,) float64."""
    confidence, predicted = p.double().max(1)
    edges = torch.arange(1, bins, dtype=torch.float64, device=p.device) / bins
    bin_of = torch.bucketize(confidence, edges)
    right = (predicted == targets).double()

    def in_bins(weights: Tensor) -> Tensor:
        return torch.bincount(bin_of, weights, minlength=bins)

    return in_bins(torch.ones_like(right)), in_bins(confidence), in_bins(right)
