"""Where images are to lie on the canvas: zoom-out, crops, zoom, shift and mosaic, each from its random numbers.

A place is x1, y1, x2, y2 of the whole image, in sides of the canvas: 0, 0, 1, 1 fills it, a smaller place leaves a
border, of a larger one a part is seen. Every step takes places (n, 4) and gives places, so steps follow one another.
"""

from __future__ import annotations

import torch
from torch import Tensor

from danlu.data.geometry import between, coin, random_boxes, whole

TRIES = 10  # crops drawn for each image, of which the first that shows enough of an object is taken
OVERLAPS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)  # least IoU of a crop and an object (Liu et al. 2016, section 2.2)
SPLIT = (0.25, 0.75)  # where the four images of a mosaic meet, in sides of the canvas
WHOLE = (0.0, 0.0, 1.0, 1.0)


def filled(n: int) -> Tensor:
    """Places (n, 4) of images that fill their canvases."""
    return torch.tensor(WHOLE).expand(n, 4)


def zoom_out(u: Tensor, largest: float) -> Tensor:
    """SSD's expansion: half of the images lie, up to `largest` times smaller, somewhere on grey. u: (n, 4)."""
    side = torch.where(coin(u[:, 0], 0.5), 1 / between(u[:, 1], 1, largest), 1.0)[:, None]
    corner = u[:, 2:] * (1 - side)
    return torch.cat((corner, corner + side), 1)


def candidates(u: Tensor, area: tuple[float, ...], ratio: tuple[float, ...]) -> Tensor:
    """Random parts of the canvas, (n, T, 4). u: (n, T, 4). area: range of their share of it. ratio: of width/height."""
    sizes, centres = random_boxes(u.flatten(0, 1), 1, 1, area, ratio)
    corner = 0.5 + centres - sizes / 2
    return torch.cat((corner, corner + sizes), 1).view_as(u)


def chosen(u: Tensor, crops: Tensor, boxes: Tensor, valid: Tensor, chance: float) -> Tensor:
    """SSD's choice among crops (n, T, 4): the first whose IoU with some object reaches a bound drawn from `OVERLAPS`.

    u: (n, 2). boxes: (n, M, 4) on the canvas, in its sides. valid: bool (n, M). chance: that an image is cropped.
    Returns (n, 4); the whole canvas where no crop will do, and any crop where there is no object.
    """
    least = torch.tensor(OVERLAPS)[whole(u[:, 1], len(OVERLAPS))]
    overlap = _iou(crops[:, :, None], boxes[:, None]).masked_fill(~valid[:, None], 0).amax(2)  # (n, T)
    good = (overlap >= least[:, None]) & (overlap > 0) | ~valid.any(1, keepdim=True)
    first = crops[torch.arange(len(crops)), good.int().argmax(1)]
    return torch.where((good.any(1) & coin(u[:, 0], chance))[:, None], first, torch.tensor(WHOLE))


def _iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes (..., 4); 0 where both are empty."""
    sides = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp_(min=0)
    both = sides.prod(-1)
    each = [(x[..., 2:] - x[..., :2]).clamp(min=0).prod(-1) for x in (a, b)]
    return both / (each[0] + each[1] - both).clamp_(min=1e-9)


def cropped(place: Tensor, crop: Tensor) -> Tensor:
    """The part `crop` (n, 4) of the canvas becomes the whole of it."""
    corner, size = crop[:, :2], crop[:, 2:] - crop[:, :2]
    return (place - corner.repeat(1, 2)) / size.repeat(1, 2)


def moved(place: Tensor, zoom: Tensor, shift: Tensor) -> Tensor:
    """Zoomed about the middle of the canvas by (n,), then shifted by (n, 2) of its sides."""
    return (place - 0.5) * zoom[:, None] + 0.5 + shift.repeat(1, 2)


def mosaic(u: Tensor, zoom: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Four images that meet at a random point, each with a corner (Bochkovskiy et al. 2020).

    u: (n, 2). zoom: (n,), size of each image in sides of the canvas. side: of the canvas, in pixels.
    Returns places and the rectangles they may fill, (n, 4, 4), in pixels: upper left, upper right, lower left, lower
    right.
    """
    point = (between(u, *SPLIT) * side).round()
    size = zoom[:, None] * side
    before, after = torch.cat((point - size, point), 1), torch.cat((point, point + size), 1)  # x1, y1, x2, y2
    upper, lower = torch.cat((0 * point, point), 1), torch.cat((point, torch.full_like(point, side)), 1)
    later = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]]).bool().repeat(1, 2)  # than the point, in x y x y
    places, clips = (torch.where(later, b[:, None], a[:, None]) for a, b in ((before, after), (upper, lower)))
    return places, clips
