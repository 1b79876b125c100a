"""Sizes of images that keep their aspect, as grids of square patches. torch is not imported, as in `data/canvas.py`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

LONGEST = 4  # longest side of a grid, relative to a square of as many patches; aspects up to 16


def size_within(height: int, width: int, patch: int, tokens: int) -> tuple[int, int]:
    """Height and width in pixels of an image that keeps its aspect and has at most `tokens` patches.

    Multiples of the patch's side, at least one patch each; as NaFlex (Tschannen et al. 2025): 480 x 640 with patches of
    16 and 256 tokens becomes 208 x 288, 13 x 18 patches.
    """
    scale = math.sqrt(tokens * patch**2 / (height * width))
    rows, columns = (max(1, math.floor(side * scale / patch)) for side in (height, width))
    rows, columns = min(rows, tokens), min(columns, tokens)  # where the other side is a single patch
    return rows * patch, columns * patch


@dataclass(frozen=True)
class PatchGrid:
    """Rule by which each image gets its own size: a grid of patches in the top left corner of a square canvas.

    patch: side of a patch in pixels. tokens: max number of patches. keep: images of fewer patches keep their size,
    rounded to multiples of the patch; otherwise all are resized to as many patches as `tokens` allows.
    """

    patch: int
    tokens: int
    keep: bool = False

    def size(self, height: int, width: int, canvas: int | None = None) -> tuple[int, int]:
        """Height and width in pixels of an image. canvas: max pixels of a side; longer images are reduced to it."""
        rows, columns = (max(1, round(side / self.patch)) for side in (height, width))
        if not self.keep or rows * columns > self.tokens:
            rows, columns = (side // self.patch for side in size_within(height, width, self.patch, self.tokens))
        shrink = min(1.0, canvas / self.patch / max(rows, columns)) if canvas else 1.0
        return max(1, round(rows * shrink)) * self.patch, max(1, round(columns * shrink)) * self.patch

    def canvas(self, sizes: Iterable[tuple[int, int]]) -> int:
        """Side in pixels of the canvas for images of these heights and widths, at most `LONGEST` times the square."""
        longest = max((max(self.size(*one)) for one in set(sizes)), default=self.patch)
        return min(longest, LONGEST * math.ceil(math.sqrt(self.tokens)) * self.patch)
