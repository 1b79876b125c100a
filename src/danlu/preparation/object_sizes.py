"""How large the objects are on the canvas that a detector is trained on, and how many of them its anchors are like."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from danlu.detection.coverage import anchors_of, best_overlap
from danlu.detection.detector import Detector
from danlu.preparation.prepared import Prepared

STEPS = 4  # bars from a side to its double
LIKE = 0.5  # IoU from which an anchor is like an object
SAMPLED = 2000  # objects that are held against the anchors


def object_sizes(prepared: Prepared, model: nn.Module) -> dict[str, Any]:
    """Objects of the training split, by the root of their box's area on the canvas.

    {"side": of the canvas, "edges": (B + 1,), "counts": (B,), "strides": of a detector without anchors, "coverage":
    the share of each bar's objects that some anchor overlaps by `LIKE` or more (or None), "covered": that of all}.
    """
    boxes = boxes_on_canvas(prepared)
    side = prepared.signature.canvas or 1
    sizes = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1).sqrt().clamp(min=1)
    if not len(sizes):
        return {}
    low, high = (math.floor(STEPS * math.log2(float(end))) for end in (sizes.min(), sizes.max()))
    bars = (STEPS * sizes.log2()).floor().long().clamp(low, high) - low
    found: dict[str, Any] = {
        "side": side,
        "edges": [round(2 ** (k / STEPS), 2) for k in range(low, high + 2)],
        "counts": bars.bincount(minlength=high - low + 1).tolist(),
    }
    assert isinstance(model, Detector)
    anchors = anchors_of(model, prepared.signature.channels or 3, prepared.signature.size or side)
    if anchors is None:
        return found | {"strides": [float(s) for s in getattr(model, "strides", ())]}
    return found | _coverage(boxes, bars, anchors, high - low + 1)


def boxes_on_canvas(prepared: Prepared) -> Tensor:
    """Objects of the training split to find, on the canvas: (M, 4)."""
    assert prepared.objects is not None
    parts = [torch.zeros(0, 4)]
    for i in prepared.split.train.tolist():
        one = prepared.objects.annotations[i]
        parts.append(prepared.objects.placements[i].boxes(one.boxes[~one.ignore]))
    return torch.cat(parts)


def _coverage(boxes: Tensor, bars: Tensor, anchors: Tensor, count: int) -> dict[str, Any]:
    every = slice(None, None, -(-len(boxes) // SAMPLED))
    like, bars = best_overlap(boxes[every], anchors) >= LIKE, bars[every]
    shares = [like[bars == k].float().mean().item() if (bars == k).any() else None for k in range(count)]
    return {"coverage": shares, "covered": like.float().mean().item(), "anchors": len(anchors)}
