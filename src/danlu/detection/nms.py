"""Non-maximum suppression: of boxes that overlap by more than a threshold, the one of the highest score stays.

A box that was dropped drops no other, and an IoU of exactly the threshold is kept. torchvision's kernel does the work.
"""

from __future__ import annotations

import torch
from torch import Tensor

from danlu.detection.boxes import iou_matrix

# From this many boxes on, a processor is faster group by group: the kernel compares all pairs.
MANY = 1000


def nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Indices of the boxes that stay, by falling score. (D, 4), (D,) -> int64 (<= D,)."""
    import torchvision

    return torchvision.ops.nms(boxes, scores.to(boxes.dtype), threshold)


def grouped_nms(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """`nms` within each group (a class, an image, both), all groups at once; groups: int64 (D,) >= 0.

    Groups are moved apart, in doubles, so that a thousand of them cost no accuracy, and by more than the boxes' whole
    extent, so that negative coordinates do not bring two groups together.
    """
    if len(boxes) == 0:
        return torch.zeros(0, dtype=torch.int64, device=boxes.device)
    if boxes.device.type == "cpu" and len(boxes) > MANY:
        order = groups.argsort(stable=True)
        counts = torch.unique_consecutive(groups[order], return_counts=True)[1].tolist()
        kept = torch.cat([part[nms(boxes[part], scores[part], threshold)] for part in order.split(counts)])
        return kept[scores[kept].argsort(descending=True, stable=True)]
    exact = boxes.double()
    extent = (exact.max() - exact.min() + 1).ceil()
    return nms(exact + (groups * extent)[:, None], scores, threshold)


def batched_nms(
    boxes: Tensor, scores: Tensor, labels: Tensor | None, *, threshold: float, most: int, least_score: float
) -> tuple[Tensor, Tensor]:
    """Per image and class, the `most` best survivors of each image among boxes that score above `least_score`.

    boxes: (N, P, 4). scores: (N, P). labels: int64 (N, P), or None for all of one class.
    Returns chosen, int64 (N, most) by falling score, and taken, bool (N, most): False fills up short rows.
    """
    images = len(boxes)
    which, candidate = (scores > least_score).nonzero(as_tuple=True)
    groups = which
    if labels is not None and len(which):
        groups = which * (labels.max() + 1) + labels[which, candidate]
    kept = grouped_nms(boxes[which, candidate], scores[which, candidate], groups, threshold)
    kept = kept[which[kept].argsort(stable=True)]  # by image, in each by score
    owner = which[kept]
    rank = torch.arange(len(kept), device=boxes.device) - torch.searchsorted(owner, owner)
    owner, kept, rank = owner[rank < most], kept[rank < most], rank[rank < most]
    chosen = torch.zeros(images, most, dtype=torch.int64, device=boxes.device)
    taken = torch.zeros(images, most, dtype=torch.bool, device=boxes.device)
    chosen[owner, rank], taken[owner, rank] = candidate[kept], True
    return chosen, taken


@torch.no_grad()
def soft_nms(boxes: Tensor, scores: Tensor, labels: Tensor | None, *, threshold: float, sigma: float | None) -> Tensor:
    """Scores lowered by better boxes of the same class instead of boxes dropped. (..., P, 4), (..., P) -> (..., P).

    Box after box by falling (lowered) score multiplies the scores of those after it: sigma None by 1 - IoU where that
    is above the threshold (linear), else by exp(-IoU^2 / sigma) (Gaussian). Bodla et al. 2017. Costs P^2 numbers per
    image and P rounds: cut the candidates first.
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
