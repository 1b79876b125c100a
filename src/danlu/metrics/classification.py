"""Figures of a classifier: accuracy, top-5, macro F1, calibration, and the tables the report draws.

N samples, K classes. p: probabilities (N, K). targets, predicted: int64 class indices (N,).
"""

from __future__ import annotations

import torch
from torch import Tensor

BINS = 15  # equal-width bins of confidence, as Guo et al., "On Calibration of Modern Neural Networks", 2017


def classification_metrics(p: Tensor, targets: Tensor) -> dict[str, float]:
    """{"accuracy", "top5", "f1", "ece"} as plain numbers; NaN without samples.

    top5: share of samples whose class is among the min(5, K) likeliest. f1: mean over the classes that occur, truly or
    as a prediction. ece: expected calibration error.
    """
    if not len(targets):
        return dict.fromkeys(("accuracy", "top5", "f1", "ece"), float("nan"))
    predicted = p.argmax(1)
    right = predicted == targets
    # Of equal probabilities topk may leave out the one that argmax took.
    among = (p.topk(min(5, p.shape[1])).indices == targets[:, None]).any(1) | right
    confusion = confusion_matrix(predicted, targets, p.shape[1])
    occurs = (confusion.sum(0) + confusion.sum(1) > 0).tolist()
    f1 = [row["f1"] for row, here in zip(per_class(confusion), occurs) if here]
    return {
        "accuracy": right.double().mean().item(),
        "top5": among.double().mean().item(),
        "f1": sum(f1) / len(f1),
        "ece": expected_calibration_error(p, targets),
    }


def confusion_matrix(predicted: Tensor, targets: Tensor, classes: int) -> Tensor:
    """Counts (K, K), int64: row the true class, column the predicted one."""
    return torch.bincount(targets * classes + predicted, minlength=classes**2).view(classes, classes)


def per_class(confusion: Tensor) -> list[dict[str, float]]:
    """{"precision", "recall", "f1", "support"} of each class from a confusion matrix (K, K).

    0 where nothing was predicted (precision) or nothing is there (recall). support: number of true samples.
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
    """How often the predicted class is right at each level of confidence: one entry per bin (low, high].

    Each entry: {"low", "high", "count", "confidence", "accuracy"}; the last two are means over the bin, None where it
    is empty.
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
    """Mean over the samples of |accuracy - confidence| of their bin; 0 is perfectly calibrated (Guo et al. 2017)."""
    count, confidence, right = _bins(p, targets, bins)
    return ((confidence - right).abs().sum() / count.sum()).item()


def _bins(p: Tensor, targets: Tensor, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """Per bin, (bins,) float64: samples, sum of confidence, number right."""
    confidence, predicted = p.double().max(1)
    edges = torch.arange(1, bins, dtype=torch.float64, device=p.device) / bins
    bin_of = torch.bucketize(confidence, edges)
    right = (predicted == targets).double()

    def in_bins(weights: Tensor) -> Tensor:
        return torch.bincount(bin_of, weights, minlength=bins)

    return in_bins(torch.ones_like(right)), in_bins(confidence), in_bins(right)
