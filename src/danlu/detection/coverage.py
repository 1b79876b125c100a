"""How well a detector's anchors suit the objects: an object that no anchor is like is learnt late or never."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from danlu.detection.boxes import iou
from danlu.detection.detector import Detector

TOGETHER = 1 << 24  # pairs of object and anchor that are compared at once


@torch.no_grad()
def anchors_of(detector: Detector, channels: int, size: int) -> Tensor | None:
    """(A, 4) for pictures of size x size, or None of a detector without anchors. The detector is left as it was."""
    training = detector.training
    device = next(detector.parameters()).device
    found = _anchors(detector.eval().outputs(torch.zeros(1, channels, size, size, device=device)))
    detector.train(training)
    return found.cpu() if found is not None else None


def best_overlap(boxes: Tensor, anchors: Tensor) -> Tensor:
    """The greatest IoU that each of (M, 4) boxes has with any of (A, 4) anchors: (M,)."""
    parts = boxes.split(max(1, TOGETHER // len(anchors)))
    return torch.cat([iou(part, anchors).amax(1) for part in parts]) if len(boxes) else boxes.new_zeros(0)


def _anchors(outputs: Any) -> Tensor | None:
    """What outputs hold under "anchors", at any depth: all levels in one."""
    if not isinstance(outputs, dict):
        return None
    if "anchors" in outputs:
        own = outputs["anchors"]
        return own if isinstance(own, Tensor) else torch.cat(list(own))
    return next((found for value in outputs.values() if (found := _anchors(value)) is not None), None)
