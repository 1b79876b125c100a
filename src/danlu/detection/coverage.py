"""How well a detector's anchors suit the objects: an object that no anchor is like is learnt late or never."""

from __future__ import annotations

import torch
from torch import Tensor

from danlu.detection.boxes import iou_matrix
from danlu.detection.detector import Detector

TOGETHER = 1 << 24  # pairs of object and anchor that are compared at once


@torch.no_grad()
def anchors_of(detector: Detector, channels: int, size: int) -> Tensor | None:
    """(A, 4) for images of size x size, or None of a detector without anchors. The detector is left as it was."""
    training = detector.training
    device = next(detector.parameters()).device
    found = detector.eval().outputs(torch.zeros(1, channels, size, size, device=device)).get("anchors")
    detector.train(training)
    if found is None:
        return None
    return (found if isinstance(found, Tensor) else torch.cat(list(found))).cpu()


def best_overlap(boxes: Tensor, anchors: Tensor) -> Tensor:
    """The greatest IoU that each of (M, 4) boxes has with any of (A, 4) anchors: (M,)."""
    parts = boxes.split(max(1, TOGETHER // len(anchors)))
    return torch.cat([iou_matrix(part, anchors).amax(-1) for part in parts])
