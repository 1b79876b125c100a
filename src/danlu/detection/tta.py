"""Several looks at the same images, at their mirror images or by several networks, whose detections become one list.

Every detection is scored by all looks together: one that the others do not confirm loses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from danlu.detection.boxes import iou_matrix
from danlu.detection.nms import grouped_nms
from danlu.objects import Detections

Axes = tuple[int, ...]  # of an image (N, C, H, W) that is mirrored: -1 left and right, -2 above and below


@torch.no_grad()
def detect_mirrored(
    detector: nn.Module, images: Tensor, mirrors: Sequence[Axes], score: float, overlap: float, most: int
) -> list[Detections]:
    """`Detector.detect` of the images mirrored along each of `mirrors`, () among them for as they are, joined."""
    least = score / len(mirrors)  # what one look is less sure of may gain by the others
    size = (images.shape[-2], images.shape[-1])
    looks = []
    for axes in mirrors:
        found = detector.detect(detector(images.flip(axes)), least, overlap, most)  # type: ignore[operator]
        looks.append([mirrored(one, axes, size) for one in found])
    return looks[0] if len(looks) == 1 else [joined(of_image, overlap, most, score) for of_image in zip(*looks)]


def mirrored(found: Detections, axes: Axes, size: tuple[int, int]) -> Detections:
    """What was found in a mirror image, in the image itself. size: height and width of the image."""
    left, top, right, bottom = found.boxes.unbind(1)
    if -1 in axes:
        left, right = size[1] - right, size[1] - left
    if -2 in axes:
        top, bottom = size[0] - bottom, size[0] - top
    masks = found.masks.flip(axes) if found.masks is not None else None
    return Detections(torch.stack([left, top, right, bottom], 1), found.scores, found.labels, masks)


def joined(looks: Sequence[Detections], overlap: float, most: int, score: float = 0.0) -> Detections:
    """Of detections of a class that overlap by more than `overlap` (IoU), from whichever look, the surest stays.

    Its score becomes the mean over the looks of the surest detection of its class that it overlaps so far there, 0
    where there is none. At most `most` of at least `score` are given. Masks, tensors or lists, go with their boxes.
    """
    boxes, scores, labels = (torch.cat([getattr(x, name) for x in looks]) for name in ("boxes", "scores", "labels"))
    kept = grouped_nms(boxes, scores, labels, overlap)
    confirmed = [_surest(boxes[kept], labels[kept], look, overlap) for look in looks]
    mean = torch.stack(confirmed).mean(0)
    mean, order = mean.sort(descending=True, stable=True)
    mean = mean[:most][mean[:most] >= score]
    kept = kept[order[: len(mean)]]
    return Detections(boxes[kept], mean, labels[kept], _masks(looks, kept))


def _masks(looks: Sequence[Detections], kept: Tensor) -> Any:
    """The masks of the detections `kept` of all looks."""
    each: Any = [x.masks for x in looks]
    if each[0] is None:
        return None
    if isinstance(each[0], Tensor):
        return torch.cat(each)[kept]
    masks = [mask for masks in each for mask in masks]
    return [masks[i] for i in kept.tolist()]


def _surest(boxes: Tensor, labels: Tensor, look: Detections, overlap: float) -> Tensor:
    """For each box (D, 4) the highest score in the look of its class among those that overlap it: (D,)."""
    if not len(look):
        return boxes.new_zeros(len(boxes))
    same = (iou_matrix(boxes, look.boxes) >= overlap) & (labels[:, None] == look.labels)
    return (same * look.scores).amax(1)
