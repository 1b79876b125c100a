"""How well objects are found: COCO's twelve numbers for boxes and masks, VOC's average precision, curves, error kinds.

hotcoco computes COCO's part, to the digits of pycocotools. Its evaluator is built here from our own objects, or from
COCO files of any other system; everything else in this file reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from danlu.objects import Detections, Objects

Kind = Literal["boxes", "masks"]
_HOTCOCO_KIND = {"boxes": "bbox", "masks": "segm"}
_NAMES = {
    "AP": "mAP", "AP50": "mAP50", "AP75": "mAP75", "APs": "mAP_small", "APm": "mAP_medium", "APl": "mAP_large",
    "AR1": "AR1", "AR10": "AR10", "AR100": "AR100", "ARs": "AR_small", "ARm": "AR_medium", "ARl": "AR_large",
}  # fmt: skip


def evaluator(
    truth: Sequence[Objects],
    found: Sequence[Detections],
    sizes: Sequence[tuple[int, int]],
    classes: Sequence[str],
    kind: Kind = "boxes",
) -> Any:
    """A finished hotcoco COCOeval of N images. sizes: their (height, width)."""
    from hotcoco import COCO

    images = [{"id": i, "height": h, "width": w} for i, (h, w) in enumerate(sizes, 1)]
    categories = [{"id": k, "name": name} for k, name in enumerate(classes, 1)]
    ids = np.repeat(np.arange(1, len(truth) + 1), [len(t) for t in truth])
    boxes = _corner_and_size([t.boxes for t in truth])
    shapes: Any = [rle for t in truth for rle in run_lengths(t.masks)] if kind == "masks" else None
    real = COCO.from_arrays(
        images,
        categories,
        ids,
        _joined([t.labels for t in truth]) + 1,
        boxes,
        area=_mask_areas(shapes) if shapes else boxes[:, 2] * boxes[:, 3],
        iscrowd=_joined([t.ignore for t in truth]).astype(np.int64),
        segmentation=shapes,
    )
    seen = _mask_results(found) if kind == "masks" else _box_results(found)
    return evaluate_files(real, real.load_res(seen), kind)


def evaluate_files(truth: Any, found: Any, kind: Kind = "boxes") -> Any:
    """A finished evaluator of two hotcoco COCO sets, as read from an annotation file and a results file."""
    from hotcoco import COCOeval

    judge = COCOeval(truth, found, _HOTCOCO_KIND[kind])
    judge.evaluate()
    judge.accumulate()
    judge.summary_lines()
    return judge


def detection_metrics(judge: Any, kind: Kind = "boxes") -> dict[str, float]:
    """COCO's twelve numbers by our names, without those that no object of such a size, or none at all, defines."""
    prefix = "mask_" if kind == "masks" else ""
    found = judge.get_results()
    named = ((prefix + ours, float(found[theirs])) for theirs, ours in _NAMES.items())
    return {name: value for name, value in named if value >= 0}


def per_class(judge: Any, classes: Sequence[str]) -> list[dict[str, Any]]:
    """AP, AP at 0.5, the largest F1 and the score from which it is reached, and the number of objects, by class.

    None where a class has no object to find.
    """
    precision, scores = judge.eval["precision"], judge.eval["scores"]  # (IoU, recall, class, area, most detections)
    recalls = np.linspace(0, 1, precision.shape[1])
    counts = [len(judge.coco_gt.get_ann_ids(cat_ids=[k + 1], iscrowd=False)) for k in range(len(classes))]
    rows = []
    for k, name in enumerate(classes):
        if not counts[k]:
            rows.append({"name": name, "objects": 0, "mAP": None, "mAP50": None, "f1": None, "score": None})
            continue
        curve = precision[0, :, k, 0, -1]
        f1 = 2 * curve * recalls / np.maximum(curve + recalls, 1e-12)
        best = int(f1.argmax())
        rows.append(
            {
                "name": name,
                "objects": counts[k],
                "mAP": float(precision[:, :, k, 0, -1].mean()),
                "mAP50": float(curve.mean()),
                "f1": float(f1[best]),
                "score": float(scores[0, best, k, 0, -1]),
            }
        )
    return rows


def precision_recall(judge: Any, classes: Sequence[str], iou: float = 0.5) -> dict[str, Any]:
    """Precision at 101 recalls for each class that has objects. iou: one of COCO's ten thresholds."""
    precision = judge.eval["precision"]
    at = round((iou - 0.5) / 0.05)
    curves = {name: precision[at, :, k, 0, -1] for k, name in enumerate(classes)}
    return {
        "recall": np.linspace(0, 1, precision.shape[1]).round(4).tolist(),
        "precision": {name: curve.round(4).tolist() for name, curve in curves.items() if curve.min() >= 0},
    }


def best_threshold(truth: Sequence[Objects], found: Sequence[Detections], iou: float = 0.5) -> tuple[float, float]:
    """The score from which detections should be kept for the largest F1 over all classes, and that F1."""
    scores, hits, _, objects = _judged(truth, found, iou)
    total = objects.sum()
    if not total or not len(scores):
        return 0.5, 0.0
    true = hits.cumsum()
    f1 = 2 * true / (np.arange(1, len(hits) + 1) + total)
    last_of_score = np.append(scores[1:] != scores[:-1], True)  # a threshold takes all of an equal score
    best = int(np.where(last_of_score, f1, -1).argmax())
    return float(scores[best]), float(f1[best])


def confusion(judge: Any, score: float, iou: float = 0.5) -> list[list[int]]:
    """(K + 1) x (K + 1) counts at a score threshold; rows are real, columns are found, the last of each is nothing."""
    return judge.confusion_matrix(iou_thr=iou, min_score=score)["matrix"].astype(int).tolist()


def error_kinds(judge: Any) -> dict[str, dict[str, float]]:
    """How much AP at 0.5 each kind of error costs, and how often it occurs (TIDE, Bolya et al. 2020)."""
    names = {"Cls": "class", "Loc": "place", "Both": "both", "Dupe": "duplicate", "Bkg": "background", "Miss": "missed"}
    found = judge.tide_errors()
    return {
        ours: {"cost": float(found["delta_ap"][key]), "count": int(found["counts"][key])} for key, ours in names.items()
    }


def voc_average_precision(
    truth: Sequence[Objects], found: Sequence[Detections], classes: int, iou: float = 0.5, points: int | None = None
) -> list[float | None]:
    """Pascal VOC's average precision by class; None for a class without objects.

    Each detection, the surest first, is held against the object of its class that it overlaps most: a second hit on an
    object is false, a hit on a difficult one counts nothing. points: 11 for VOC 2007's eleven recalls; None for the
    area under the curve (2010 on).
    """
    _, hits, labels, objects = _judged(truth, found, iou)
    totals = objects.tolist() + [0] * classes
    own = (hits[labels == k] for k in range(classes))
    return [area_under(of_class, total, points) if total else None for of_class, total in zip(own, totals)]


def area_under(hits: np.ndarray, total: int, points: int | None = None) -> float:
    """Average precision of detections in falling order of score. hits: bool (D,). total: objects to find."""
    true = hits.cumsum()
    recall, precision = true / total, true / np.arange(1, len(hits) + 1)
    if points is not None:
        at = np.linspace(0, 1, points)
        return float(np.mean([precision[recall >= r - 1e-12].max(initial=0) for r in at]))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0) * envelope))


def _box_results(found: Sequence[Detections]) -> np.ndarray:
    """Rows of image, x, y, width, height, score, class."""
    images = np.repeat(np.arange(1, len(found) + 1), [len(d) for d in found])
    boxes, scores = _corner_and_size([d.boxes for d in found]), _joined([d.scores for d in found])
    return np.column_stack([images, boxes, scores, _joined([d.labels for d in found]) + 1]).astype(np.float64)


def _mask_results(found: Sequence[Detections]) -> list[dict[str, Any]]:
    """Without boxes: COCO sorts detections by the area of their masks."""
    return [
        {"image_id": i, "category_id": label + 1, "score": score, "segmentation": shape}
        for i, d in enumerate(found, 1)
        for label, score, shape in zip(d.labels.tolist(), d.scores.tolist(), run_lengths(d.masks))
    ]


def run_lengths(masks: Tensor | Sequence[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """uint8 (M, H, W) as COCO's run lengths; what is run lengths already stays so."""
    from hotcoco.mask import encode

    if masks is None:
        raise ValueError("masks are evaluated where objects and detections have them")
    if not isinstance(masks, Tensor):
        return list(masks)
    return [encode(np.asfortranarray(mask)) for mask in masks.to(torch.uint8).cpu().numpy()]


def compressed(counts: np.ndarray, size: tuple[int, int]) -> dict[str, Any]:
    """Run lengths (K,) of a mask of size (height, width) as `run_lengths` gives them."""
    from hotcoco.mask import fr_py_objects

    return fr_py_objects({"size": list(size), "counts": counts.tolist()}, *size)


class _Judged(NamedTuple):
    """Detections that count, the surest first. objects: those to find, of each class."""

    scores: np.ndarray
    hits: np.ndarray
    labels: np.ndarray
    objects: np.ndarray


def _judged(truth: Sequence[Objects], found: Sequence[Detections], iou: float) -> _Judged:
    """Each detection held against the object of its image and class that it overlaps most, all at once."""
    labels, seen_labels = (_joined([one.labels for one in many]) for many in (truth, found))
    classes = int(max(labels.max(initial=0), seen_labels.max(initial=0))) + 1
    group, seen_group = _images(truth) * classes + labels, _images(found) * classes + seen_labels
    together = np.argsort(group, kind="stable")
    group, boxes = group[together], _joined([t.boxes for t in truth]).reshape(-1, 4)[together]
    ignore = _joined([t.ignore for t in truth])[together].astype(bool)
    scores = _joined([d.scores for d in found])
    falling = np.argsort(-scores, kind="stable")
    seen_group, seen_boxes = seen_group[falling], _joined([d.boxes for d in found]).reshape(-1, 4)[falling]

    # Every pair of a detection and an object of its group: the objects of a group lie side by side.
    first, last = np.searchsorted(group, seen_group), np.searchsorted(group, seen_group, "right")
    count = last - first
    detection = np.repeat(np.arange(len(falling)), count)
    which = np.arange(len(detection)) + np.repeat(first - count.cumsum() + count, count)
    overlap = _overlaps(seen_boxes[detection], boxes[which])

    most = np.lexsort((-overlap, detection))
    detection, nearest = np.unique(detection[most], return_index=True)
    which, hit = which[most][nearest], overlap[most][nearest] >= iou
    detection, which = detection[hit], which[hit]
    counts, hits = np.ones(len(falling), dtype=bool), np.zeros(len(falling), dtype=bool)
    counts[detection[ignore[which]]] = False
    hits[detection[np.unique(which, return_index=True)[1]]] = True  # the surest one; a second hit is false
    objects = np.bincount(labels[~_joined([t.ignore for t in truth]).astype(bool)], minlength=classes)
    return _Judged(scores[falling][counts], hits[counts], seen_labels[falling][counts], objects)


def _images(parts: Sequence[Objects] | Sequence[Detections]) -> np.ndarray:
    """Which image each row of all the parts joined is of."""
    return np.repeat(np.arange(len(parts)), [len(part) for part in parts])


def _overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU (R,) of corner boxes, row by row; zero where both are empty."""
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    both = (high - low).clip(min=0).prod(-1)
    areas = [(x[:, 2:] - x[:, :2]).prod(-1) for x in (a, b)]
    return both / np.maximum(areas[0] + areas[1] - both, 1e-12)


def _joined(parts: Sequence[Tensor]) -> np.ndarray:
    return torch.cat(list(parts)).cpu().numpy() if parts else np.zeros(0, dtype=np.int64)


def _corner_and_size(boxes: Sequence[Tensor]) -> np.ndarray:
    """(x, y, width, height), float64."""
    joined = _joined(boxes).reshape(-1, 4).astype(np.float64)
    return np.concatenate([joined[:, :2], joined[:, 2:] - joined[:, :2]], axis=1)


def _mask_areas(shapes: Sequence[dict[str, Any]]) -> np.ndarray:
    from hotcoco.mask import area

    return np.asarray(area(list(shapes)), dtype=np.float64)
