"""Metrics of semantic segmentation, all from counts over the whole split.

A label map is uint8 (H, W): classes 0 ... K - 1, and `IGNORE` for pixels that are left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from danlu.objects import IGNORE

BOUNDARY_FRACTION = 0.02  # of the image's diagonal: width of the band along a contour


def confusion_of(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Count the pixels of each (true, predicted) class, int64 (K, K), without ignored ones. Both (H, W)."""
    kept = truth != IGNORE
    pairs = truth[kept].astype(np.int64) * classes + predicted[kept]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def boundary_counts(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Intersection and union in pixels of the boundary bands of each class, int64 (K, 2).

    A pixel is in the band of its class if a pixel of another class, or the outside of the image, is within 2 % of the
    diagonal (in rows and columns). Boundary IoU: Cheng et al. 2021, equation 3. Ignored pixels are left out.
    """
    kept = truth != IGNORE
    predicted = np.where(kept, predicted, IGNORE)
    width = max(1, round(BOUNDARY_FRACTION * math.hypot(*truth.shape)))
    real, found = _band(truth, width) & kept, _band(predicted, width) & kept
    both = np.bincount(truth[real & found & (truth == predicted)], minlength=classes)
    union = np.bincount(truth[real], minlength=classes) + np.bincount(predicted[found], minlength=classes) - both
    return np.stack([both, union], axis=1)


def _band(labels: np.ndarray, width: int) -> np.ndarray:
    """Pixels with another value, or the outside of the image, at most `width` rows and columns away; bool (H, W)."""
    from scipy import ndimage

    padded = np.pad(labels.astype(np.int16), width, constant_values=-1)
    side = 2 * width + 1
    low, high = ndimage.minimum_filter(padded, side), ndimage.maximum_filter(padded, side)
    return (low != high)[width:-width, width:-width]


def iou_per_class(confusion: np.ndarray) -> np.ndarray:
    """IoU of each class, TP / (TP + FP + FN), float64 (K,); NaN for a class that is neither present nor predicted."""
    hits = np.diag(confusion).astype(np.float64)
    return _ratio(hits, confusion.sum(0) + confusion.sum(1) - hits)


def semantic_metrics(confusion: np.ndarray, boundary: np.ndarray | None = None) -> dict[str, float]:
    """Compute the metrics of a split from its counts; means are over the classes that occur in the ground truth.

    confusion: int64 (K, K), rows are the truth. boundary: sums of `boundary_counts`, or None.
    Returns mIoU, pixel_accuracy, class_accuracy (mean recall), fw_IoU (weighted by the frequency of the classes), dice
    (mean of 2 TP / (2 TP + FP + FN)) and boundary_IoU. All are 0 if no pixel has a class.
    """
    hits, real, found = np.diag(confusion).astype(np.float64), confusion.sum(1), confusion.sum(0)
    present, total = real > 0, max(int(real.sum()), 1)
    iou = iou_per_class(confusion)
    metrics = {
        "mIoU": _mean(iou[present]),
        "pixel_accuracy": float(hits.sum() / total),
        "class_accuracy": _mean(_ratio(hits, real)[present]),
        "fw_IoU": float((iou[present] * real[present]).sum() / total),
        "dice": _mean(_ratio(2 * hits, real + found)[present]),
    }
    if boundary is not None:
        metrics["boundary_IoU"] = _mean(_ratio(boundary[:, 0], boundary[:, 1])[present])
    return metrics


def class_rows(confusion: np.ndarray, boundary: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Name, IoU, Dice, precision, recall, boundary IoU and fraction of the pixels of each class; None: undefined."""
    hits, real, found = np.diag(confusion).astype(np.float64), confusion.sum(1), confusion.sum(0)
    columns = {
        "iou": iou_per_class(confusion),
        "dice": _ratio(2 * hits, real + found),
        "precision": _ratio(hits, found),
        "recall": _ratio(hits, real),
        "boundary_iou": _ratio(boundary[:, 0], boundary[:, 1]),
        "pixels": _ratio(real, np.full(len(real), max(int(real.sum()), 1))),
    }
    return [
        {"name": name} | {key: None if np.isnan(v[k]) else float(v[k]) for key, v in columns.items()}
        for k, name in enumerate(classes)
    ]


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    below = np.asarray(below, np.float64)
    return np.divide(above, below, out=np.full(len(below), np.nan), where=below > 0)


def _mean(values: np.ndarray) -> float:
    return float(values[~np.isnan(values)].mean()) if (~np.isnan(values)).any() else 0.0
