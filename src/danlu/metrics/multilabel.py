"""Metrics of several labels per sample: average precision, F1 and the threshold of each class.

N samples, K classes. p: probabilities (N, K). targets: (N, K) of 0 and 1. thresholds: (K,); a label is predicted where
its probability is at least the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

DEFAULT_THRESHOLD = 0.5  # of classes whose threshold cannot be chosen


def average_precision(p: Tensor, targets: Tensor) -> list[float]:
    """Average precision sum_i (R_i - R_{i-1}) P_i of each class over its distinct scores; NaN without positives.

    The step-wise area under the precision-recall curve, as scikit-learn's `average_precision_score`.
    """
    return [_average_precision(scores, truth) for scores, truth in zip(p.double().T, targets.T)]


def _average_precision(scores: Tensor, truth: Tensor) -> float:
    hits, predicted = _curve(scores, truth)[1:]
    if not len(hits) or hits[-1] == 0:
        return math.nan
    gained = torch.diff(hits, prepend=hits.new_zeros(1))
    return (gained * hits / predicted).sum().item() / hits[-1].item()


def _curve(scores: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distinct scores, falling, with the number of hits and of predictions at that score or above; float64."""
    ordered, order = scores.double().sort(descending=True, stable=True)
    hits = truth[order].double().cumsum(0)
    last = torch.cat([ordered[1:] != ordered[:-1], torch.ones(min(1, len(ordered)), dtype=torch.bool)])
    counts = torch.arange(1, len(ordered) + 1, dtype=torch.float64)
    return ordered[last], hits[last], counts[last]


def best_thresholds(p: Tensor, targets: Tensor) -> list[float]:
    """Threshold of each class with the largest F1: midway between the last predicted score and the next lower one.

    Among equal F1 the one with the fewest predictions; `DEFAULT_THRESHOLD` for classes without a positive sample.
    """
    found = []
    for scores, truth in zip(p.T, targets.T):
        values, hits, predicted = _curve(scores, truth)
        if not len(values) or hits[-1] == 0:
            found.append(DEFAULT_THRESHOLD)
            continue
        best = int((2 * hits / (predicted + hits[-1])).argmax())
        below = values[best + 1].item() if best + 1 < len(values) else 0.0
        found.append((values[best].item() + below) / 2)
    return found


def label_metrics(p: Tensor, targets: Tensor, thresholds: Sequence[float]) -> dict[str, float]:
    """Compute mAP, macro F1 ("f1") and micro F1 ("f1_micro"), in [0, 1]; NaN where undefined.

    mAP and f1 are means over the classes with a positive sample. f1 counts a class that is never predicted as 0.
    """
    rows = per_label(p, targets, thresholds)
    occurring = [row for row in rows if row["support"]]
    hits = ((p >= _row(thresholds, p)) & (targets > 0)).sum().item()
    marked = (p >= _row(thresholds, p)).sum().item() + (targets > 0).sum().item()
    return {
        "mAP": _mean([row["ap"] for row in occurring]),
        "f1": _mean([row["f1"] for row in occurring]),
        "f1_micro": 2 * hits / marked if marked else math.nan,
    }


def per_label(p: Tensor, targets: Tensor, thresholds: Sequence[float]) -> list[dict[str, float]]:
    """Return {"ap", "threshold", "precision", "recall", "f1", "support"} of each class.

    Precision is 0 for classes never predicted, recall 0 for classes without a positive sample. support is the number
    of samples with the label.
    """
    predicted, truth = p >= _row(thresholds, p), targets > 0
    hits, said, support = ((predicted & truth).sum(0), predicted.sum(0), truth.sum(0))
    columns = {
        "precision": hits / said.clamp(min=1),
        "recall": hits / support.clamp(min=1),
        "f1": 2 * hits / (said + support).clamp(min=1),
        "support": support,
    }
    rows = torch.stack([column.double() for column in columns.values()], dim=1).tolist()
    scores = zip(average_precision(p, targets), thresholds, rows)
    return [{"ap": ap, "threshold": threshold} | dict(zip(columns, row)) for ap, threshold, row in scores]


def _row(thresholds: Sequence[float], p: Tensor) -> Tensor:
    return torch.tensor(thresholds, dtype=p.dtype, device=p.device)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
