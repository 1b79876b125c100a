"""Anchors: boxes of a few sizes and aspect ratios at every cell of a feature map.

Their order is level by level, row by row, column by column, shape by shape. The anchors
of a map are thus the rows of `head(map).permute(0, 2, 3, 1).reshape(N, -1, 4)`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from danlu.detection.boxes import convert


def shapes(sizes: Sequence[float], ratios: Sequence[float], *, cross: bool, whole: bool = False) -> Tensor:
    """Widths and heights (K, 2) of the anchors in one cell, in the unit of `sizes`.

    sizes: n sides; an anchor of size s has area s^2. ratios: m ratios width / height.
    cross: every size in every ratio, n m shapes, ratio by ratio (Faster R-CNN, RetinaNet); else every size in the first
        ratio, then the first size in the others, n + m - 1 shapes (SSD; Dive into Deep Learning 14.4).
    whole: round corners to integer pixels around the centre, as torchvision does.
    """
    if cross:
        pairs = [(size, ratio) for ratio in ratios for size in sizes]
    else:
        pairs = [(size, ratios[0]) for size in sizes] + [(sizes[0], ratio) for ratio in ratios[1:]]
    table = torch.tensor([(s * math.sqrt(r), s / math.sqrt(r)) for s, r in pairs]).reshape(-1, 2)
    return (table / 2).round() * 2 if whole else table


def ssd_sizes(scales: Sequence[float], side: float) -> list[tuple[float, float]]:
    """Two sizes (s_k, sqrt(s_k s_{k+1})) in pixels per level, from L + 1 scales, fractions of the image's side.

    With `shapes(sizes, (1, 2, 1/2, ...), cross=False)` they are SSD's default boxes. Liu et al. 2016, section 2.2.
    """
    return [(a * side, math.sqrt(a * b) * side) for a, b in pairwise(scales)]


def even_scales(levels: int, smallest: float, largest: float) -> list[float]:
    """Evenly spaced scales from smallest to largest, one per level, and the next one: levels + 1. Liu et al. 2016."""
    step = (largest - smallest) / max(levels - 1, 1)
    return [smallest + step * k for k in range(levels + 1)]


def grid(map_size: tuple[int, int], stride: float | tuple[float, float], *, offset: float) -> Tensor:
    """Positions (x, y) of a map's cells in the image, in pixels: (rows * columns, 2).

    map_size: (rows, columns). stride: pixels per cell, one number or (down, across).
    offset: 0.5 for the cells' centres (SSD, FCOS, YOLO), 0 for their upper left corners (torchvision's anchors).
    """
    down, across = stride if isinstance(stride, tuple) else (stride, stride)
    y, x = (torch.arange(map_size[0]) + offset) * down, (torch.arange(map_size[1]) + offset) * across
    return torch.cartesian_prod(y, x).flip(-1)


def level_anchors(
    map_size: tuple[int, int], stride: float | tuple[float, float], shapes: Tensor, *, offset: float
) -> Tensor:
    """Anchors of one map, xyxy in pixels: shapes (K, 2) at each of its cells -> (rows * columns * K, 4)."""
    centres = grid(map_size, stride, offset=offset)[:, None].expand(-1, len(shapes), -1)
    return convert(torch.cat([centres, shapes.expand_as(centres)], -1).flatten(0, 1), "cxcywh", "xyxy")


def anchors(
    map_sizes: Sequence[tuple[int, int]],
    strides: Sequence[float | tuple[float, float]],
    level_shapes: Sequence[Tensor],
    *,
    offset: float,
) -> list[Tensor]:
    """Anchors of several maps, one tensor (A_l, 4) per level; `torch.cat` makes them the A anchors of a network."""
    levels = zip(map_sizes, strides, level_shapes, strict=True)
    return [level_anchors(size, stride, table, offset=offset) for size, stride, table in levels]


def cells(map_sizes: Sequence[tuple[int, int]], strides: Sequence[float], *, offset: float) -> list[Tensor]:
    """One square of stride x stride per cell, (A_l, 4) per level: the reference boxes of anchor-free detectors.

    offset 0.5: the cells themselves (FCOS); offset 0: squares around their upper left corners (YOLOX).
    """
    return anchors(map_sizes, strides, [torch.full((1, 2), float(s)) for s in strides], offset=offset)
