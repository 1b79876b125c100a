"""Test-time augmentation and ensembling: merge detections from several flips or models.

A merged score is the mean over all views, so a detection that the other views do not confirm loses score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from danlu.detection.boxes import iou_matrix
from danlu.detection.detector import Detector
from danlu.detection.nms import grouped_nms
from danlu.objects import Detections

MERGE_IOU = 0.6  # IoU from which boxes of different views show one object, for detectors without suppression
Axes = tuple[int, ...]  # flipped axes of images (N, C, H, W): -1 horizontally, -2 vertically, () none


@torch.no_grad()
def detect_flipped(
    detector: Detector, images: Tensor, flips: Sequence[Axes], min_score: float, nms_iou: float, max_detections: int
) -> list[Detections]:
    """Merge the detections in the images (N, C, H, W) flipped along each of `flips`; () is the unflipped image.

    Arguments and result as for `Detector.detect`.
    """
    view_min_score = min_score / len(flips)  # other views may raise the mean score to min_score
    size = (images.shape[-2], images.shape[-1])
    views = []
    for axes in flips:
        found = detector.detect(detector(images.flip(axes)), view_min_score, nms_iou, max_detections)
        views.append([flip_detections(one, axes, size) for one in found])
    if len(views) == 1:
        return views[0]
    return [merge(of_image, nms_iou, max_detections, min_score) for of_image in zip(*views)]


def flip_detections(found: Detections, axes: Axes, size: tuple[int, int]) -> Detections:
    """Flip detections along axes. size: (height, width) of the image in pixels."""
    left, top, right, bottom = found.boxes.unbind(1)
    if -1 in axes:
        left, right = size[1] - right, size[1] - left
    if -2 in axes:
        top, bottom = size[0] - bottom, size[0] - top
    masks = found.masks.flip(axes) if found.masks is not None else None
    return Detections(torch.stack([left, top, right, bottom], 1), found.scores, found.labels, masks)


def merge(views: Sequence[Detections], nms_iou: float, max_detections: int, min_score: float = 0.0) -> Detections:
    """Merge the detections of several views of one image.

    Non-maximum suppression over all views keeps the top-scoring box of each cluster. Its new score is the mean over
    the views of the highest score among their boxes of its class with IoU >= nms_iou, 0 in a view without one. The
    `max_detections` top-scoring ones of at least `min_score` are returned. Masks (a tensor, or a list of run lengths)
    are selected with their boxes. An nms_iou of 1, of detectors without suppression, is replaced by MERGE_IOU: two
    views never agree to the pixel.
    """
    nms_iou = nms_iou if nms_iou < 1 else MERGE_IOU
    boxes, scores, labels = (torch.cat([getattr(x, name) for x in views]) for name in ("boxes", "scores", "labels"))
    kept = grouped_nms(boxes, scores, labels, nms_iou)
    by_view = [_best_match(boxes[kept], labels[kept], view, nms_iou) for view in views]
    mean = torch.stack(by_view).mean(0)
    mean, order = mean.sort(descending=True, stable=True)
    mean = mean[:max_detections][mean[:max_detections] >= min_score]
    kept = kept[order[: len(mean)]]
    return Detections(boxes[kept], mean, labels[kept], _masks(views, kept))


def _masks(views: Sequence[Detections], kept: Tensor) -> Any:
    """Masks of the detections `kept`, indices into the concatenated views."""
    masks: Any = [x.masks for x in views]
    if masks[0] is None:
        return None
    if isinstance(masks[0], Tensor):
        return torch.cat(masks)[kept]
    flat = [mask for of_view in masks for mask in of_view]
    return [flat[i] for i in kept.tolist()]


def _best_match(boxes: Tensor, labels: Tensor, view: Detections, min_iou: float) -> Tensor:
    """Highest score (D,) in a view among its boxes that match each box (D, 4) in class and IoU; 0 without a match."""
    if not len(view):
        return boxes.new_zeros(len(boxes))
    same = (iou_matrix(boxes, view.boxes) >= min_iou) & (labels[:, None] == view.labels)
    return (same * view.scores).amax(1)
