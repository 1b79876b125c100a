"""Images of any size on one canvas: where each lies, so that boxes and masks move with it and predictions move back.

Coordinates are continuous: an image spans [0, W] x [0, H] and the first pixel covers [0, 1]. No torch is imported, so
that a process that decodes images starts without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

PAD = 114  # grey level around a letterboxed image, as in YOLOX
Fit = Literal["crop", "letterbox", "stretch"]


@dataclass(frozen=True)
class Placement:
    """x on the canvas = x of the image * scale[0] + offset[0], and so for y with [1].

    original, size: (height, width) of the image and of the canvas.
    """

    original: tuple[int, int]
    size: tuple[int, int]
    scale: tuple[float, float]
    offset: tuple[float, float] = (0.0, 0.0)

    def boxes(self, boxes: Tensor) -> Tensor:
        """(..., 4) of the image to the canvas."""
        return boxes * boxes.new_tensor(self.scale * 2) + boxes.new_tensor(self.offset * 2)

    def inverse(self) -> Placement:
        """The way back: the canvas laid on the image."""
        scale = (1 / self.scale[0], 1 / self.scale[1])
        offset = (-self.offset[0] * scale[0], -self.offset[1] * scale[1])
        return Placement(self.size, self.original, scale, offset)

    def boxes_back(self, boxes: Tensor) -> Tensor:
        """(..., 4) of the canvas to the image, clipped to it."""
        height, width = self.original
        moved = self.inverse().boxes(boxes)
        return moved.clamp(min=0).minimum(moved.new_tensor([width, height, width, height]))

    def masks(self, masks: np.ndarray) -> np.ndarray:
        """(..., h, w) of the image to (..., H, W): a pixel takes the value that lies under its centre, 0 outside."""
        rows, row_inside = _under(self.size[0], self.scale[1], self.offset[1], self.original[0])
        columns, column_inside = _under(self.size[1], self.scale[0], self.offset[0], self.original[1])
        inside = row_inside[:, None] & column_inside
        return masks[..., rows[:, None], columns] * inside.astype(masks.dtype)

    def runs_back(self, mask: np.ndarray) -> np.ndarray:
        """A mask (H, W) of 0 and 1 of the canvas as it lies on the image: COCO's run lengths, int64 (K,).

        The image's pixels are never made: it may be a thousand times as large as the canvas. The whole of it must
        lie on the canvas.
        """
        back, (height, width) = self.inverse(), self.original
        rows, _ = _under(height, back.scale[1], back.offset[1], self.size[0])
        columns, _ = _under(width, back.scale[0], back.offset[0], self.size[1])
        # Along each column of the canvas: where the mask begins and ends, as rows of the image.
        column, edge = np.nonzero(np.diff(mask, axis=0, prepend=0, append=0).T)
        row = np.searchsorted(rows, np.arange(self.size[0] + 1))[edge]
        # Each column of the image has the edges of the one that lies under it.
        count = np.bincount(column, minlength=self.size[1])
        first, count = (count.cumsum() - count)[columns], count[columns]
        which = np.arange(count.sum()) + np.repeat(first - count.cumsum() + count, count)
        places, times = np.unique(np.repeat(np.arange(width) * height, count) + row[which], return_counts=True)
        # Two edges at one place are none: rows that no pixel lies on, or a run that goes on in the next column.
        places = places[(times % 2 == 1) & (places < height * width)]
        return np.diff(places, prepend=0, append=height * width)


def letterbox(original: tuple[int, int], size: int) -> Placement:
    """The whole image as large as it fits on size x size, in its own proportions, in the middle.

    The scale is that of the pixels it is resized to, so that boxes stay exact.
    """
    height, width = original
    ratio = min(size / height, size / width)
    new_height, new_width = max(1, round(height * ratio)), max(1, round(width * ratio))
    offset = ((size - new_width) // 2, (size - new_height) // 2)
    return Placement(original, (size, size), (new_width / width, new_height / height), offset)


def stretch(original: tuple[int, int], size: int) -> Placement:
    """The whole image resized to size x size, whatever its proportions."""
    return Placement(original, (size, size), (size / original[1], size / original[0]))


FITS: dict[str, Callable[[tuple[int, int], int], Placement]] = {"letterbox": letterbox, "stretch": stretch}


def _under(count: int, scale: float, offset: float, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """For the centres of `count` pixels in a row: the pixel of the image below each, and whether there is one."""
    below = np.floor((np.arange(count) + 0.5 - offset) / scale).astype(np.int64)
    return below.clip(0, limit - 1), (below >= 0) & (below < limit)
