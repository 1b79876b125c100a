"""Detection metrics: COCO's twelve numbers for boxes and masks, VOC's average precision, curves, error types.

hotcoco computes the COCO metrics, equal to pycocotools. `evaluator` builds its COCOeval from danlu's objects,
`evaluate_files` from COCO files of any system; the other functions read that COCOeval.
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
    """Evaluate detections in N images with hotcoco.

    Args:
        truth: Ground-truth objects of each image.
        found: Detections of each image.
        sizes: (height, width) of each image in pixels.
        classes: Class names.
        kind: "boxes" or "masks".

    Returns:
        A finished hotcoco.COCOeval.
    """
    from hotcoco import COCO

    images = [{"id": i, "height": h, "width": w} for i, (h, w) in enumerate(sizes, 1)]
    categories = [{"id": k, "name": name} for k, name in enumerate(classes, 1)]
    ids = np.repeat(np.arange(1, len(truth) + 1), [len(t) for t in truth])
    boxes = _corner_and_size([t.boxes for t in truth])
    masks: Any = [rle for t in truth for rle in run_lengths(t.masks)] if kind == "masks" else None
    ground_truth = COCO.from_arrays(
        images,
        categories,
        ids,
        _joined([t.labels for t in truth]) + 1,
        boxes,
        area=_mask_areas(masks) if masks else boxes[:, 2] * boxes[:, 3],
        iscrowd=_joined([t.ignore for t in truth]).astype(np.int64),
        segmentation=masks,
    )
    results: Any = _mask_results(found) if kind == "masks" else _box_results(found)
    return evaluate_files(ground_truth, ground_truth.load_res(results), kind)


def evaluate_files(truth: Any, found: Any, kind: Kind = "boxes") -> Any:
    """Evaluate two hotcoco.COCO sets, read from an annotation file and a results file. Returns a finished COCOeval."""
    from hotcoco import COCOeval

    coco_eval = COCOeval(truth, found, _HOTCOCO_KIND[kind])
    coco_eval.evaluate()
    coco_eval.accumulate()
    coco_eval.summary_lines()
    return coco_eval


def detection_metrics(coco_eval: Any, kind: Kind = "boxes") -> dict[str, float]:
    """Return COCO's twelve numbers by danlu's names, without those undefined for lack of objects (of that size)."""
    prefix = "mask_" if kind == "masks" else ""
    found = coco_eval.get_results()
    named = ((prefix + ours, float(found[theirs])) for theirs, ours in _NAMES.items())
    return {name: value for name, value in named if value >= 0}


def per_class(coco_eval: Any, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return AP, AP at IoU 0.5, the largest F1, its score threshold and the number of objects of each class.

    Rows are {"name", "objects", "mAP", "mAP50", "f1", "score"}; metrics are None for a class without objects.
    """
    precision, scores = (
        coco_eval.eval["precision"],
        coco_eval.eval["scores"],
    )
    recalls = np.linspace(0, 1, precision.shape[1])
    counts = [len(coco_eval.coco_gt.get_ann_ids(cat_ids=[k + 1], iscrowd=False)) for k in range(len(classes))]
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


def precision_recall(coco_eval: Any, classes: Sequence[str], iou: float = 0.5) -> dict[str, Any]:
    """Return precision at 101 recall values for each class with objects. iou: one of COCO's ten IoU thresholds."""
    precision = coco_eval.eval["precision"]
    threshold = round((iou - 0.5) / 0.05)
    curves = {name: precision[threshold, :, k, 0, -1] for k, name in enumerate(classes)}
    return {
        "recall": np.linspace(0, 1, precision.shape[1]).round(4).tolist(),
        "precision": {name: curve.round(4).tolist() for name, curve in curves.items() if curve.min() >= 0},
    }


def best_threshold(truth: Sequence[Objects], found: Sequence[Detections], iou: float = 0.5) -> tuple[float, float]:
    """Return the score threshold with the largest F1 over all classes, and that F1. iou: IoU threshold of a hit."""
    scores, hits, _, objects = _matched(truth, found, iou)
    total = objects.sum()
    if not total or not len(scores):
        return 0.5, 0.0
    true = hits.cumsum()
    f1 = 2 * true / (np.arange(1, len(hits) + 1) + total)
    last_of_score = np.append(scores[1:] != scores[:-1], True)  # a threshold keeps all detections of equal score
    best = int(np.where(last_of_score, f1, -1).argmax())
    return float(scores[best]), float(f1[best])


def confusion(coco_eval: Any, score: float, iou: float = 0.5) -> list[list[int]]:
    """Return (K + 1) x (K + 1) counts at a score threshold: rows true, columns predicted, the last is background."""
    return coco_eval.confusion_matrix(iou_thr=iou, min_score=score)["matrix"].astype(int).tolist()


def error_kinds(coco_eval: Any) -> dict[str, dict[str, float]]:
    """Return the AP at IoU 0.5 lost to each type of error, and its number (TIDE, Bolya et al. 2020)."""
    names = {"Cls": "class", "Loc": "place", "Both": "both", "Dupe": "duplicate", "Bkg": "background", "Miss": "missed"}
    found = coco_eval.tide_errors()
    return {
        ours: {"cost": float(found["delta_ap"][key]), "count": int(found["counts"][key])} for key, ours in names.items()
    }


def voc_average_precision(
    truth: Sequence[Objects], found: Sequence[Detections], classes: int, iou: float = 0.5, points: int | None = None
) -> list[float | None]:
    """Compute Pascal VOC's average precision of each class; None for a class without objects.

    Detections, in order of falling score, are matched with the object of their class of largest IoU. A second match of
    an object is a false positive; a match of a difficult object is ignored.

    Args:
        truth: Ground-truth objects of each image.
        found: Detections of each image.
        classes: Number of classes K.
        iou: IoU threshold of a hit.
        points: 11 for the eleven recall values of VOC 2007; None for the area under the curve (from 2010 on).
    """
    _, hits, labels, objects = _matched(truth, found, iou)
    totals = objects.tolist() + [0] * classes
    own = (hits[labels == k] for k in range(classes))
    return [area_under(of_class, total, points) if total else None for of_class, total in zip(own, totals)]


def area_under(hits: np.ndarray, total: int, points: int | None = None) -> float:
    """Compute average precision of detections in order of falling score.

    Args:
        hits: True positives, bool (D,).
        total: Number of objects.
        points: As for `voc_average_precision`.
    """
    true = hits.cumsum()
    recall, precision = true / total, true / np.arange(1, len(hits) + 1)
    if points is not None:
        recalls = np.linspace(0, 1, points)
        return float(np.mean([precision[recall >= r - 1e-12].max(initial=0) for r in recalls]))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0) * envelope))


def _box_results(found: Sequence[Detections]) -> np.ndarray:
    """Return rows of image, x, y, width, height, score, class."""
    images = np.repeat(np.arange(1, len(found) + 1), [len(d) for d in found])
    boxes, scores = _corner_and_size([d.boxes for d in found]), _joined([d.scores for d in found])
    return np.column_stack([images, boxes, scores, _joined([d.labels for d in found]) + 1]).astype(np.float64)


def _mask_results(found: Sequence[Detections]) -> list[dict[str, Any]]:
    """Return COCO results without boxes, so that object sizes are the areas of the masks."""
    return [
        {"image_id": i, "category_id": label + 1, "score": score, "segmentation": shape}
        for i, d in enumerate(found, 1)
        for label, score, shape in zip(d.labels.tolist(), d.scores.tolist(), run_lengths(d.masks))
    ]


def run_lengths(masks: Tensor | Sequence[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """Encode masks, uint8 (M, H, W), as COCO run lengths; run lengths are returned as they are."""
    from hotcoco.mask import encode

    if masks is None:
        raise ValueError("objects and detections must have masks to be evaluated by mask")
    if not isinstance(masks, Tensor):
        return list(masks)
    return [encode(np.asfortranarray(mask)) for mask in masks.to(torch.uint8).cpu().numpy()]


def compressed(counts: np.ndarray, size: tuple[int, int]) -> dict[str, Any]:
    """Compress run lengths (K,) of a mask of size (height, width) into the form of `run_lengths`."""
    from hotcoco.mask import fr_py_objects

    return fr_py_objects({"size": list(size), "counts": counts.tolist()}, *size)


class _Matched(NamedTuple):
    """Detections that are not ignored, in order of falling score.

    Args:
        scores: (D,).
        hits: True positives, bool (D,).
        labels: Class indices (D,).
        objects: Number of objects of each class, (K,).
    """

    scores: np.ndarray
    hits: np.ndarray
    labels: np.ndarray
    objects: np.ndarray


def _matched(truth: Sequence[Objects], found: Sequence[Detections], iou: float) -> _Matched:
    """Match each detection with the object of its image and class of largest IoU, vectorised over all images."""
    labels, found_labels = _joined([t.labels for t in truth]), _joined([d.labels for d in found])
    classes = int(max(labels.max(initial=0), found_labels.max(initial=0))) + 1
    group, found_group = _images(truth) * classes + labels, _images(found) * classes + found_labels
    order = np.argsort(group, kind="stable")
    group, boxes = group[order], _joined([t.boxes for t in truth]).reshape(-1, 4)[order]
    ignore = _joined([t.ignore for t in truth])[order].astype(bool)
    scores = _joined([d.scores for d in found])
    by_score = np.argsort(-scores, kind="stable")
    found_group, found_boxes = found_group[by_score], _joined([d.boxes for d in found]).reshape(-1, 4)[by_score]

    # Every pair of a detection and an object of its group; objects are sorted by group.
    first, last = np.searchsorted(group, found_group), np.searchsorted(group, found_group, "right")
    count = last - first
    detection = np.repeat(np.arange(len(by_score)), count)
    candidate = np.arange(len(detection)) + np.repeat(first - count.cumsum() + count, count)
    ious = _box_ious(found_boxes[detection], boxes[candidate])

    by_iou = np.lexsort((-ious, detection))
    detection, best = np.unique(detection[by_iou], return_index=True)
    candidate, hit = candidate[by_iou][best], ious[by_iou][best] >= iou
    detection, candidate = detection[hit], candidate[hit]
    counts, hits = np.ones(len(by_score), dtype=bool), np.zeros(len(by_score), dtype=bool)
    counts[detection[ignore[candidate]]] = False
    hits[detection[np.unique(candidate, return_index=True)[1]]] = True  # the top-scoring match only
    objects = np.bincount(labels[~_joined([t.ignore for t in truth]).astype(bool)], minlength=classes)
    return _Matched(scores[by_score][counts], hits[counts], found_labels[by_score][counts], objects)


def _images(images: Sequence[Objects] | Sequence[Detections]) -> np.ndarray:
    """Return the image index of each object or detection."""
    return np.repeat(np.arange(len(images)), [len(image) for image in images])


def _box_ious(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the IoU (R,) of boxes (R, 4), row by row; zero for two empty boxes."""
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    intersection = (high - low).clip(min=0).prod(-1)
    areas = [(x[:, 2:] - x[:, :2]).prod(-1) for x in (a, b)]
    return intersection / np.maximum(areas[0] + areas[1] - intersection, 1e-12)


def _joined(tensors: Sequence[Tensor]) -> np.ndarray:
    return torch.cat(list(tensors)).cpu().numpy() if tensors else np.zeros(0, dtype=np.int64)


def _corner_and_size(boxes: Sequence[Tensor]) -> np.ndarray:
    """Return boxes as (x, y, width, height), float64."""
    joined = _joined(boxes).reshape(-1, 4).astype(np.float64)
    return np.concatenate([joined[:, :2], joined[:, 2:] - joined[:, :2]], axis=1)


def _mask_areas(masks: Sequence[dict[str, Any]]) -> np.ndarray:
    from hotcoco.mask import area

    return np.asarray(area(list(masks)), dtype=np.float64)
