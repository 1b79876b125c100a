"""Placement of images of any size on a canvas of fixed size, and the maps of boxes and masks to it and back.

Coordinates are continuous: an image spans [0, W] x [0, H] and the first pixel covers [0, 1]. torch is not imported, so
that a process that decodes images starts without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from danlu.patch_grid import PatchGrid

if TYPE_CHECKING:
    from torch import Tensor

PAD = 114  # grey level around a letterboxed image, as in YOLOX
Fit = Literal["crop", "letterbox", "stretch"]
AnyFit = Fit | PatchGrid


@dataclass(frozen=True)
class Placement:
    """Map from an image to a canvas: x on the canvas = x of the image * scale[0] + offset[0]; y likewise with [1].

    original, size: (height, width) of the image and of the canvas, in pixels.
    """

    original: tuple[int, int]
    size: tuple[int, int]
    scale: tuple[float, float]
    offset: tuple[float, float] = (0.0, 0.0)

    def boxes(self, boxes: Tensor) -> Tensor:
        """Map boxes (..., 4) of the image to the canvas."""
        return boxes * boxes.new_tensor(self.scale * 2) + boxes.new_tensor(self.offset * 2)

    def inverse(self) -> Placement:
        """Return the inverse map, from the canvas to the image."""
        scale = (1 / self.scale[0], 1 / self.scale[1])
        offset = (-self.offset[0] * scale[0], -self.offset[1] * scale[1])
        return Placement(self.size, self.original, scale, offset)

    def boxes_back(self, boxes: Tensor) -> Tensor:
        """Map boxes (..., 4) of the canvas to the image and clip them to it."""
        height, width = self.original
        moved = self.inverse().boxes(boxes)
        return moved.clamp(min=0).minimum(moved.new_tensor([width, height, width, height]))

    def camera(self, camera: Tensor) -> Tensor:
        """Map the intrinsics (3, 3) of the image to those of the canvas."""
        change = camera.new_zeros(3, 3)
        change[0, 0], change[1, 1], change[2, 2] = *self.scale, 1.0
        change[0, 2], change[1, 2] = self.offset
        return change @ camera

    def masks(self, masks: np.ndarray) -> np.ndarray:
        """Map masks (..., h, w) of the image to the canvas, (..., H, W): the value at each pixel centre, 0 outside."""
        rows, row_inside = _under(self.size[0], self.scale[1], self.offset[1], self.original[0])
        columns, column_inside = _under(self.size[1], self.scale[0], self.offset[0], self.original[1])
        inside = row_inside[:, None] & column_inside
        return masks[..., rows[:, None], columns] * inside.astype(masks.dtype)

    def runs_back(self, mask: np.ndarray) -> np.ndarray:
        """Map a mask of the canvas, 0 and 1 of shape (H, W), to the image, as COCO's run lengths, int64 (K,).

        The pixels of the image are not materialised, since it may be a thousand times as large as the canvas. The
        image must be entirely on the canvas.
        """
        back, (height, width) = self.inverse(), self.original
        rows, _ = _under(height, back.scale[1], back.offset[1], self.size[0])
        columns, _ = _under(width, back.scale[0], back.offset[0], self.size[1])
        # Edges of the mask along each column of the canvas, as rows of the image.
        column, edge = np.nonzero(np.diff(mask, axis=0, prepend=0, append=0).T)
        row = np.searchsorted(rows, np.arange(self.size[0] + 1))[edge]
        # Each column of the image has the edges of the canvas column at its centre.
        count = np.bincount(column, minlength=self.size[1])
        first, count = (count.cumsum() - count)[columns], count[columns]
        which = np.arange(count.sum()) + np.repeat(first - count.cumsum() + count, count)
        places, times = np.unique(np.repeat(np.arange(width) * height, count) + row[which], return_counts=True)
        # Two edges at the same position cancel: empty runs, or a run that continues in the next column.
        places = places[(times % 2 == 1) & (places < height * width)]
        return np.diff(places, prepend=0, append=height * width)


def letterbox(original: tuple[int, int], size: int) -> Placement:
    """Fit the whole image into size x size, keeping its aspect ratio, centred.

    original: (height, width). The scale is computed from the rounded size in pixels, so that boxes are exact.
    """
    height, width = original
    ratio = min(size / height, size / width)
    new_height, new_width = max(1, round(height * ratio)), max(1, round(width * ratio))
    offset = ((size - new_width) // 2, (size - new_height) // 2)
    return Placement(original, (size, size), (new_width / width, new_height / height), offset)


def stretch(original: tuple[int, int], size: int) -> Placement:
    """Resize the whole image to size x size without keeping its aspect ratio. original: (height, width)."""
    return Placement(original, (size, size), (size / original[1], size / original[0]))


FITS: dict[str, Callable[[tuple[int, int], int], Placement]] = {"letterbox": letterbox, "stretch": stretch}


def _under(count: int, scale: float, offset: float, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Index of the input pixel at the centre of each of `count` output pixels, and whether it is inside the input."""
    below = np.floor((np.arange(count) + 0.5 - offset) / scale).astype(np.int64)
    return below.clip(0, limit - 1), (below >= 0) & (below < limit)
