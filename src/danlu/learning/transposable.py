"""Transposable 2:4 masks: at most two non-zero weights of every four along inputs and along outputs.

The pattern also holds for the transposed matrix, which the backward pass multiplies by, so that both passes of a
training could use sparse kernels (Hubara et al., "Accelerated Sparse Neural Training", 2021).
"""

from __future__ import annotations

import itertools
from functools import lru_cache

import torch
from torch import Tensor

MAX_TILES = 1 << 20  # tiles that are scored at once, 90 values each


@lru_cache
def tile_masks() -> Tensor:
    """All masks of a 4 x 4 tile with two weights in each row and column: bool (90, 4, 4)."""
    rows = [[k in pair for k in range(4)] for pair in itertools.combinations(range(4), 2)]
    every = torch.tensor(list(itertools.product(rows, repeat=4)))
    return every[(every.sum(1) == 2).all(1)]


def best_tiles(weight: Tensor) -> Tensor:
    """Return the mask of weights to keep: of each 4 x 4 tile of outputs and inputs the mask with the largest sum.

    The sum is that of the magnitudes, so that a large negative weight counts as a positive one. All 90 masks are
    compared, of equal ones the first is taken.

    Args:
        weight: (outputs, inputs, ...), outputs and inputs multiples of 4.

    Returns:
        Bool tensor of the shape of `weight`.
    """
    masks = tile_masks().to(weight.device)
    tiles = weight.detach().abs().movedim((0, 1), (-2, -1)).unflatten(-2, (-1, 4)).unflatten(-1, (-1, 4))
    tiles = tiles.transpose(-3, -2)  # (..., outputs / 4, inputs / 4, 4, 4)
    flat, table = tiles.flatten(-2).flatten(0, -2), masks.flatten(1).to(tiles.dtype).T
    chosen = torch.cat([(part @ table).argmax(1) for part in flat.split(MAX_TILES)])
    kept = masks[chosen].view(tiles.shape).transpose(-3, -2).flatten(-2).flatten(-3, -2)
    return kept.movedim((-2, -1), (0, 1))


def fits(weight: Tensor) -> bool:
    """Return whether a weight divides into tiles."""
    return weight.ndim >= 2 and weight.shape[0] % 4 == 0 and weight.shape[1] % 4 == 0
