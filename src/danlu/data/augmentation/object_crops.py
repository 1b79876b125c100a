"""Random zoom-out, crops, shifts and mosaic for detection, as rectangles of images on the canvas.

The rectangle of an image is (x1, y1, x2, y2) of the whole image, in units of the canvas side: (0, 0, 1, 1) fills the
canvas, a smaller one leaves a border, and a larger one shows a crop. Each step maps rectangles (n, 4) to rectangles, so
steps can be chained. Uniform random numbers in [0, 1) are passed as `u`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from danlu.data.augmentation.geometry import bernoulli, between, integers, random_boxes

CROP_CANDIDATES = 10  # random crops per image; the first one with a sufficient IoU is used
MIN_IOUS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)  # IoU thresholds of a crop and an object (Liu et al. 2016, section 2.2)
MOSAIC_CENTRE_RANGE = (0.25, 0.75)  # range of the point where the four images of a mosaic meet, in canvas sides
FULL_CANVAS = (0.0, 0.0, 1.0, 1.0)


def full_canvas(n: int) -> Tensor:
    """Create rectangles (n, 4) of images that fill their canvases."""
    return torch.tensor(FULL_CANVAS).expand(n, 4)


def zoom_out(u: Tensor, max_factor: float) -> Tensor:
    """Shrink half of the images by up to `max_factor`, at a random position (SSD's expansion). u: (n, 4)."""
    side = torch.where(bernoulli(u[:, 0], 0.5), 1 / between(u[:, 1], 1, max_factor), 1.0)[:, None]
    corner = u[:, 2:] * (1 - side)
    return torch.cat((corner, corner + side), 1)


def random_crops(u: Tensor, area: tuple[float, ...], ratio: tuple[float, ...]) -> Tensor:
    """Draw random crops of the canvas, (n, T, 4).

    u: (n, T, 4). area: range of the fraction of the canvas area. ratio: range of width/height.
    """
    sizes, centres = random_boxes(u.flatten(0, 1), 1, 1, area, ratio)
    corner = 0.5 + centres - sizes / 2
    return torch.cat((corner, corner + sizes), 1).view_as(u)


def choose_crop(u: Tensor, crops: Tensor, boxes: Tensor, valid: Tensor, probability: float) -> Tensor:
    """Choose the first crop whose IoU with some object reaches a random threshold of `MIN_IOUS` (SSD).

    u: (n, 2). crops: candidates (n, T, 4). boxes: (n, M, 4), in units of the canvas side. valid: whether a box is an
    object, bool (n, M). probability: that an image is cropped.
    Returns (n, 4): the full canvas if no crop qualifies, and any crop if there are no objects.
    """
    min_iou = torch.tensor(MIN_IOUS)[integers(u[:, 1], len(MIN_IOUS))]
    iou = _iou(crops[:, :, None], boxes[:, None]).masked_fill(~valid[:, None], 0).amax(2)  # (n, T)
    good = (iou >= min_iou[:, None]) & (iou > 0) | ~valid.any(1, keepdim=True)
    first = crops[torch.arange(len(crops)), good.int().argmax(1)]
    cropped = good.any(1) & bernoulli(u[:, 0], probability)
    return torch.where(cropped[:, None], first, torch.tensor(FULL_CANVAS))


def _iou(a: Tensor, b: Tensor) -> Tensor:
    """Compute the intersection over union of boxes (..., 4); 0 if both are empty."""
    sides = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp_(min=0)
    both = sides.prod(-1)
    each = [(x[..., 2:] - x[..., :2]).clamp(min=0).prod(-1) for x in (a, b)]
    return both / (each[0] + each[1] - both).clamp_(min=1e-9)


def apply_crop(rectangles: Tensor, crop: Tensor) -> Tensor:
    """Scale and shift rectangles (n, 4) so that the crop (n, 4) of the canvas fills it."""
    corner, size = crop[:, :2], crop[:, 2:] - crop[:, :2]
    return (rectangles - corner.repeat(1, 2)) / size.repeat(1, 2)


def zoom_and_shift(rectangles: Tensor, zoom: Tensor, shift: Tensor) -> Tensor:
    """Scale rectangles about the centre of the canvas by `zoom` (n,), then shift them by (n, 2) canvas sides."""
    return (rectangles - 0.5) * zoom[:, None] + 0.5 + shift.repeat(1, 2)


def mosaic(u: Tensor, zoom: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Arrange four images around a random point, each touching it with a corner (Bochkovskiy et al. 2020).

    u: (n, 2). zoom: side of each image relative to the canvas, (n,). side: of the canvas, in pixels.
    Returns the rectangles of the images and those they are clipped to, each (n, 4, 4), in pixels, in the order upper
    left, upper right, lower left, lower right.
    """
    point = (between(u, *MOSAIC_CENTRE_RANGE) * side).round()
    size = zoom[:, None] * side
    before, after = torch.cat((point - size, point), 1), torch.cat((point, point + size), 1)  # x1, y1, x2, y2
    upper, lower = torch.cat((0 * point, point), 1), torch.cat((point, torch.full_like(point, side)), 1)
    # Whether x and y of each image begin at the point rather than end there, as x, y, x, y.
    later = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]]).bool().repeat(1, 2)
    rectangles, clips = (torch.where(later, b[:, None], a[:, None]) for a, b in ((before, after), (upper, lower)))
    return rectangles, clips
