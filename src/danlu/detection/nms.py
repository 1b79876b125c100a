"""Non-maximum suppression: among boxes with an IoU above a threshold, keep the one with the highest score.

A suppressed box suppresses no other, and an IoU of exactly the threshold is kept. Uses torchvision's kernel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from danlu.detection.boxes import iou_matrix

# From this many boxes on, a CPU is faster group by group: the kernel compares all pairs.
MIN_BOXES_BY_GROUP = 1000


def nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Indices of the kept boxes by descending score. (D, 4), (D,) -> int64 (<= D,)."""
    import torchvision

    return torchvision.ops.nms(boxes, scores.to(boxes.dtype), threshold)


def grouped_nms(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """Run `nms` within each group (a class, an image, both), all groups at once; groups: int64 (D,) >= 0.

    Groups are shifted apart by more than the extent of all boxes, so that negative coordinates do not make two groups
    overlap; in double precision, so that a thousand groups cost no accuracy.
    """
    if len(boxes) == 0:
        return torch.zeros(0, dtype=torch.int64, device=boxes.device)
    if boxes.device.type == "cpu" and len(boxes) > MIN_BOXES_BY_GROUP:
        order = groups.argsort(stable=True)
        counts = torch.unique_consecutive(groups[order], return_counts=True)[1].tolist()
        kept = torch.cat([part[nms(boxes[part], scores[part], threshold)] for part in order.split(counts)])
        return kept[scores[kept].argsort(descending=True, stable=True)]
    exact = boxes.double()
    extent = (exact.max() - exact.min() + 1).ceil()
    return nms(exact + (groups * extent)[:, None], scores, threshold)


def batched_nms(
    boxes: Tensor, scores: Tensor, labels: Tensor | None, *, iou_threshold: float, max_detections: int, min_score: float
) -> tuple[Tensor, Tensor]:
    """Suppress per image and class; keep the top `max_detections` per image with scores above `min_score`.

    boxes: (N, P, 4). scores: (N, P). labels: int64 (N, P), or None for all of one class.
    Returns chosen, int64 (N, max_detections) by descending score, and taken, bool of that shape: False is padding.
    """
    images = len(boxes)
    which, candidate = (scores > min_score).nonzero(as_tuple=True)
    groups = which
    if labels is not None and len(which):
        groups = which * (labels.max() + 1) + labels[which, candidate]
    kept = grouped_nms(boxes[which, candidate], scores[which, candidate], groups, iou_threshold)
    kept = kept[which[kept].argsort(stable=True)]  # by image, in each by score
    owner = which[kept]
    rank = torch.arange(len(kept), device=boxes.device) - torch.searchsorted(owner, owner)
    owner, kept, rank = owner[rank < max_detections], kept[rank < max_detections], rank[rank < max_detections]
    chosen = torch.zeros(images, max_detections, dtype=torch.int64, device=boxes.device)
    taken = torch.zeros(images, max_detections, dtype=torch.bool, device=boxes.device)
    chosen[owner, rank], taken[owner, rank] = candidate[kept], True
    return chosen, taken


@torch.no_grad()
def soft_nms(boxes: Tensor, scores: Tensor, labels: Tensor | None, *, threshold: float, sigma: float | None) -> Tensor:
    """Soft-NMS: lower the scores of overlapping boxes of a class. (..., P, 4), (..., P) -> (..., P).

    In order of descending (lowered) score each box multiplies the scores of those after it: with sigma None by 1 - IoU
    where the IoU is above the threshold (linear), else by exp(-IoU^2 / sigma) (Gaussian). Bodla et al. 2017. Needs P^2
    numbers per image and P rounds: select candidates first.
    """
    overlap = iou_matrix(boxes, boxes)
    linear = torch.where(overlap > threshold, 1 - overlap, 1)
    factor = linear if sigma is None else (-overlap.square() / sigma).exp()
    if labels is not None:
        factor = factor.masked_fill(labels[..., :, None] != labels[..., None, :], 1)
    scores, waiting = scores.clone(), torch.ones_like(scores, dtype=torch.bool)
    for _ in range(boxes.shape[-2]):
        best = scores.masked_fill(~waiting, -torch.inf).argmax(-1, keepdim=True)
        waiting.scatter_(-1, best, False)
        row = factor.gather(-2, best[..., None].expand(*best.shape, factor.shape[-1]))[..., 0, :]
        scores = torch.where(waiting, scores * row, scores)
    return scores
