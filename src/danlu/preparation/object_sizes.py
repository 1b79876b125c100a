"""Histogram of object sizes on the canvas of a detector, and the fraction its anchors cover."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from danlu.detection.coverage import anchors_of, best_overlap
from danlu.detection.detector import Detector
from danlu.preparation.prepared import Prepared

BINS_PER_OCTAVE = 4  # histogram bins from a side length to its double
COVERING_IOU = 0.5  # IoU from which an anchor covers an object
MAX_OBJECTS = 2000  # objects compared with the anchors


def object_sizes(prepared: Prepared, model: nn.Module) -> dict[str, Any]:
    """Histogram of the training objects by the square root of their box area on the canvas; {} without objects.

    Keys: "side" of the canvas in pixels, "edges" (B + 1,) in pixels, "counts" (B,). Detectors with anchors: "coverage",
    for each bin the fraction of objects with an anchor at IoU >= COVERING_IOU (None for an empty bin), "covered", the
    fraction of all objects, "anchors", their number. Detectors without anchors: "strides" of the feature maps.
    """
    boxes = boxes_on_canvas(prepared)
    side = prepared.signature.canvas or 1
    sizes = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1).sqrt().clamp(min=1)
    if not len(sizes):
        return {}
    low, high = (math.floor(BINS_PER_OCTAVE * math.log2(float(end))) for end in (sizes.min(), sizes.max()))
    bins = (BINS_PER_OCTAVE * sizes.log2()).floor().long().clamp(low, high) - low
    histogram: dict[str, Any] = {
        "side": side,
        "edges": [round(2 ** (k / BINS_PER_OCTAVE), 2) for k in range(low, high + 2)],
        "counts": bins.bincount(minlength=high - low + 1).tolist(),
    }
    assert isinstance(model, Detector)
    anchors = anchors_of(model, prepared.signature.channels or 3, prepared.signature.size or side)
    if anchors is None:
        return histogram | {"strides": [float(s) for s in getattr(model, "strides", ())]}
    return histogram | _coverage(boxes, bins, anchors, high - low + 1)


def boxes_on_canvas(prepared: Prepared) -> Tensor:
    """Boxes (M, 4) of all training objects that are not ignored, in pixels of the canvas."""
    assert prepared.objects is not None
    boxes = [torch.zeros(0, 4)]
    for i in prepared.split.train.tolist():
        one = prepared.objects.annotations[i]
        boxes.append(prepared.objects.placements[i].boxes(one.boxes[~one.ignore]))
    return torch.cat(boxes)


def _coverage(boxes: Tensor, bins: Tensor, anchors: Tensor, count: int) -> dict[str, Any]:
    """Fraction of objects that an anchor covers, by bin and in total, from at most MAX_OBJECTS of them."""
    some = slice(None, None, -(-len(boxes) // MAX_OBJECTS))
    covered, bins = best_overlap(boxes[some], anchors) >= COVERING_IOU, bins[some]
    fractions = [covered[bins == k].float().mean().item() if (bins == k).any() else None for k in range(count)]
    return {"coverage": fractions, "covered": covered.float().mean().item(), "anchors": len(anchors)}
