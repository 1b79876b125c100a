"""Objects that are annotated twice: the same box again, or nearly the same, of the same class in the same image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from danlu.data.sources.labelled_images.labelled import Thing

MIN_IOU = 0.95  # of two boxes of one class that are taken for the same object
MAX_NEIGHBOURS = 32  # boxes further right that a box is compared with; ten thousand in one place take no minutes


def repeated(things: Sequence[Thing], boxes: np.ndarray, owner: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Usable objects that equal an earlier one in image, class and box.

    boxes: float (N, 4). owner: image of each object (N,). good: whether it is usable (N,).
    """
    rows = np.flatnonzero(good)
    labels = np.array([thing.label for thing in things], np.float64)
    keys = np.column_stack([owner, labels, boxes])[rows]
    first = np.unique(keys, axis=0, return_index=True)[1] if len(rows) else np.zeros(0, np.int64)
    return np.delete(rows, first)


def nearly_repeated(
    things: Sequence[Thing], boxes: np.ndarray, owner: np.ndarray, good: np.ndarray
) -> list[tuple[int, int, float]]:
    """Usable objects whose IoU with an earlier one of their image and class is above `MIN_IOU`, and below 1.

    Each once, as (object, the earlier one, IoU). Ignored objects, as crowds, do not count. Arguments: as `repeated`.
    """
    rows = np.flatnonzero(good & ~np.array([thing.ignore for thing in things], bool))
    labels = np.array([thing.label for thing in things], np.int64)
    rows = rows[np.lexsort((boxes[rows, 0], labels[rows], owner[rows]))]
    its_boxes, group = boxes[rows].astype(np.float64), np.stack([owner[rows], labels[rows]], axis=1)
    found: dict[int, tuple[int, float]] = {}
    active = np.arange(len(rows))
    for shift in range(1, min(len(rows), MAX_NEIGHBOURS + 1)):
        # Boxes are in the order of their left edges, and those of an IoU above the threshold t are within 1 - t of the
        # width: only a few neighbours remain to be compared.
        active = active[active + shift < len(rows)]
        one, two = its_boxes[active], its_boxes[active + shift]
        near = two[:, 0] - one[:, 0] <= (1 - MIN_IOU) * (one[:, 2] - one[:, 0])
        kept = near & (group[active] == group[active + shift]).all(axis=1)
        active, one, two = active[kept], one[kept], two[kept]
        if not len(active):
            break
        iou = _iou(one, two)
        for i in np.flatnonzero((iou > MIN_IOU) & (one != two).any(axis=1)):
            first, later = sorted((int(rows[active[i]]), int(rows[active[i] + shift])))
            found.setdefault(later, (first, float(iou[i])))
    return [(later, first, iou) for later, (first, iou) in sorted(found.items())]


def _iou(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """IoU of boxes x1, y1, x2, y2, row by row: (N, 4), (N, 4) -> (N,)."""
    sides = np.minimum(one[:, 2:], two[:, 2:]) - np.maximum(one[:, :2], two[:, :2])
    shared = sides.clip(0).prod(axis=1)
    areas = (one[:, 2:] - one[:, :2]).prod(axis=1) + (two[:, 2:] - two[:, :2]).prod(axis=1)
    return shared / (areas - shared)
