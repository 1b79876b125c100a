"""Box geometry: formats, area, IoU and its variants, clipping.

A box is (x1, y1, x2, y2) in pixels, continuous: its width is x2 - x1 and touching boxes do not overlap. Every function
takes any leading dimensions; two arguments broadcast as `a + b` would. A box of zero area has IoU 0 with every box.
Results and gradients are finite for finite boxes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from danlu.message import message
from danlu.refuse import one_of


def _from_xywh(boxes: Tensor) -> Tensor:
    corner, size = boxes.split(2, -1)
    return torch.cat([corner, corner + size], -1)


def _to_xywh(boxes: Tensor) -> Tensor:
    first, last = boxes.split(2, -1)
    return torch.cat([first, last - first], -1)


def _from_cxcywh(boxes: Tensor) -> Tensor:
    centre, size = boxes.split(2, -1)
    return torch.cat([centre - size / 2, centre + size / 2], -1)


def _to_cxcywh(boxes: Tensor) -> Tensor:
    first, last = boxes.split(2, -1)
    return torch.cat([(first + last) / 2, last - first], -1)


def _same(boxes: Tensor) -> Tensor:
    return boxes


# Format -> conversion from it to corners, conversion from corners to it.
FORMATS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "xyxy": (_same, _same),
    "xywh": (_from_xywh, _to_xywh),
    "cxcywh": (_from_cxcywh, _to_cxcywh),
}


def convert(boxes: Tensor, source: str, target: str) -> Tensor:
    """Convert boxes (..., 4) between xyxy (corners), xywh (upper left corner, size) and cxcywh (centre, size)."""
    to_corners = FORMATS[
        one_of("the boxes' format", source, FORMATS, message("detection.wanted.known_format", "a known format"))
    ][0]
    from_corners = FORMATS[
        one_of("the boxes' format", target, FORMATS, message("detection.wanted.known_format", "a known format"))
    ][1]
    return from_corners(to_corners(boxes))


def area(boxes: Tensor) -> Tensor:
    """Area of boxes, (..., 4) -> (...), 0 for a reversed box."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return (x2 - x1).clamp(min=0) * (y2 - y1).clamp(min=0)


def clip(boxes: Tensor, height: float, width: float) -> Tensor:
    """Clip boxes (..., 4) to the image [0, width] x [0, height]; boxes outside get zero area."""
    x, y = boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
    return torch.stack([x, y], -1).flatten(-2)


def large_enough(boxes: Tensor, min_side: float) -> Tensor:
    """bool (...): width and height of boxes (..., 4) are both at least `min_side` pixels."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return (x2 - x1 >= min_side) & (y2 - y1 >= min_side)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union, the Jaccard index, in [0, 1]. (..., 4), (..., 4) -> (...)."""
    return _ratio(*_intersection_and_union(a, b))


def giou(a: Tensor, b: Tensor) -> Tensor:
    """IoU minus the fraction of the enclosing box that neither box covers, in (-1, 1]. Rezatofighi et al. 2019."""
    inner, union = _intersection_and_union(a, b)
    width, height = _hull(a, b)
    hull = width * height
    return _ratio(inner, union) - _ratio(hull - union, hull)


def diou(a: Tensor, b: Tensor) -> Tensor:
    """IoU minus (distance of the centres / diagonal of the enclosing box)^2, in (-1, 1]. Zheng et al. 2020."""
    return iou(a, b) - _apart(a, b)


def ciou(a: Tensor, b: Tensor) -> Tensor:
    """DIoU minus a term for different aspect ratios; b is the target. Zheng et al. 2020.

    v = (2 / pi (atan(w_b / h_b) - atan(w_a / h_a)))^2 is weighted by alpha = v / (1 - IoU + v), which has no gradient.
    """
    overlap = iou(a, b)
    v = (2 / math.pi * (_slant(b) - _slant(a))).square()
    with torch.no_grad():
        alpha = _ratio(v, 1 - overlap + v)
    return overlap - _apart(a, b) - alpha * v


# Name of a similarity -> function; 1 for equal boxes.
MEASURES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"iou": iou, "giou": giou, "diou": diou, "ciou": ciou}


@torch.no_grad()
def iou_matrix(a: Tensor, b: Tensor, crowd: Tensor | None = None) -> Tensor:
    """IoU of every box of a with every box of b, without gradient. (..., M, 4), (..., A, 4) -> (..., M, A).

    crowd: bool (..., M); for such a box of a the value is intersection / area of b, as in COCO for regions that contain
    many objects.
    """
    return columns_iou(columns(a)[..., :, None], columns(b)[..., None, :], crowd)


def columns(boxes: Tensor) -> Tensor:
    """x1, y1, x2, y2 and area, each contiguous: (..., A, 4) -> (5, ..., A), the layout of `columns_iou`."""
    return torch.cat([boxes.movedim(-1, 0), area(boxes)[None]])


def columns_iou(a: Tensor, b: Tensor, crowd: Tensor | None = None) -> Tensor:
    """`iou_matrix` of `columns` that broadcast: (5, ..., M, 1), (5, ..., 1, A) -> (..., M, A).

    Computed in place, since the matrix is large.
    """
    width = torch.minimum(a[2], b[2]).sub_(torch.maximum(a[0], b[0])).clamp_(min=0)
    height = torch.minimum(a[3], b[3]).sub_(torch.maximum(a[1], b[1])).clamp_(min=0)
    inner = width.mul_(height)
    if crowd is None:
        union = torch.add(a[4], b[4], out=height).sub_(inner)
    else:
        alone = (~crowd)[..., None].to(inner.dtype)
        union = torch.add(a[4] * alone, b[4], out=height).addcmul_(inner, alone, value=-1)
    return inner.div_(union.clamp_(min=torch.finfo(union.dtype).tiny))


def _intersection_and_union(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    ax1, ay1, ax2, ay2 = a.unbind(-1)
    bx1, by1, bx2, by2 = b.unbind(-1)
    width = (torch.minimum(ax2, bx2) - torch.maximum(ax1, bx1)).clamp(min=0)
    height = (torch.minimum(ay2, by2) - torch.maximum(ay1, by1)).clamp(min=0)
    inner = width * height
    return inner, area(a) + area(b) - inner


def _apart(a: Tensor, b: Tensor) -> Tensor:
    """(distance of the centres / diagonal of the enclosing box)^2."""
    width, height = _hull(a, b)
    shift = a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]
    return _ratio(shift.square().sum(-1) / 4, width.square() + height.square())


def _hull(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Width and height of the smallest enclosing box."""
    low, high = torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:])
    width, height = (high - low).clamp(min=0).unbind(-1)
    return width, height


def _slant(boxes: Tensor) -> Tensor:
    """atan(width / height); the floor keeps the gradient of an empty box finite."""
    width, height = (boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-6).unbind(-1)
    return torch.atan(width / height)


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole, and 0 where whole is 0; dividing by 1 there keeps the gradient finite too."""
    return part / torch.where(whole > 0, whole, 1)
