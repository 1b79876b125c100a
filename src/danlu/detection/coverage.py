"""Measure how well anchors match the objects: objects without an anchor at IoU >= 0.5 train slowly or not at all."""

from __future__ import annotations

import torch
from torch import Tensor

from danlu.detection.boxes import iou_matrix
from danlu.detection.detector import Detector

MAX_PAIRS = 1 << 24  # pairs of object and anchor compared in one operation


@torch.no_grad()
def anchors_of(detector: Detector, channels: int, size: int) -> Tensor | None:
    """Anchors (A, 4) for images of size x size; None for a detector without anchors. The detector is not changed."""
    training = detector.training
    device = next(detector.parameters()).device
    found = detector.eval().outputs(torch.zeros(1, channels, size, size, device=device)).get("anchors")
    detector.train(training)
    if found is None:
        return None
    return (found if isinstance(found, Tensor) else torch.cat(list(found))).cpu()


def shapes_of(anchors: Tensor) -> list[tuple[float, float, int]]:
    """Distinct (width, height, number) of anchors (A, 4), by area; sides rounded to 0.1 pixels."""
    sides = ((anchors[:, 2:] - anchors[:, :2]).double() * 10).round() / 10
    found, counts = sides.unique(dim=0, return_counts=True)
    return sorted(((w, h, n) for (w, h), n in zip(found.tolist(), counts.tolist())), key=lambda one: one[0] * one[1])


def best_overlap(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Max IoU (M,) of each box (M, 4) with any anchor (A, 4)."""
    parts = boxes.split(max(1, MAX_PAIRS // len(anchors)))
    return torch.cat([iou_matrix(part, anchors).amax(-1) for part in parts])
