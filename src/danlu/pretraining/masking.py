"""Masks of patches for masked image modelling: random patches, random units, and blocks."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

MIN_BLOCK = 16  # patches of the smallest block at 14 x 14 patches (Bao et al. 2021, section 2.3)
PATCHES_OF_MIN_BLOCK = 196  # number of patches for which MIN_BLOCK was chosen
ATTEMPTS = 10  # to place one block


def random_order(count: int, length: int, generator: torch.Generator | None = None) -> Tensor:
    """Return `count` random permutations of `length` patches, int64 (count, length)."""
    return torch.rand(count, length, generator=generator).argsort(1)


def random_masks(count: int, length: int, masked: int, generator: torch.Generator | None = None) -> Tensor:
    """Return masks, bool (count, length), each with exactly `masked` random entries set."""
    masks = torch.zeros(count, length, dtype=torch.bool)
    return masks.scatter_(1, random_order(count, length, generator)[:, :masked], True)


def units_masked(ratio: float, units: int) -> int:
    """Return the number of masked units of SimMIM: the ratio of all, rounded up, at least one stays visible."""
    return min(max(1, math.ceil(ratio * units)), units - 1)


def block_masks(count: int, side: int, wanted: int, rng: np.random.Generator, min_block: int | None = None) -> Tensor:
    """Return block-wise masks of BEiT, bool (count, side, side).

    Blocks are added until `wanted` patches are masked, or no block fits in ten attempts, so that a mask has at most
    `wanted` patches. The area of a block is uniform between `min_block` and the patches still wanted, its aspect ratio
    log-uniform between 0.3 and 1/0.3. Source: Bao et al., "BEiT", 2021, algorithm 1.

    Args:
        count: Number of masks.
        side: Patches per side of the image.
        wanted: Max number of masked patches.
        rng: Source of random numbers.
        min_block: Min area of a block in patches; by default 16 at 14 x 14 patches, in proportion for others.
    """
    smallest = min_block if min_block is not None else max(2, round(MIN_BLOCK * side**2 / PATCHES_OF_MIN_BLOCK))
    return torch.from_numpy(np.stack([_block_mask(side, wanted, smallest, rng) for _ in range(count)]))


def _block_mask(side: int, wanted: int, smallest: int, rng: np.random.Generator) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    left = wanted
    while left > 0 and (added := _add_block(mask, left, smallest, rng)):
        left -= added
    if not mask.any():  # tiny images on which no block fits
        mask[rng.integers(side), rng.integers(side)] = True
    return mask


def _add_block(mask: np.ndarray, left: int, smallest: int, rng: np.random.Generator) -> int:
    """Mask one more block of at most `left` new patches; return their number, 0 if no attempt fitted."""
    side, bound = len(mask), math.log(1 / 0.3)
    for _ in range(ATTEMPTS):
        area = smallest + (left - smallest) * rng.random()  # backwards where fewer than the smallest are left
        aspect = math.exp(bound * (2 * rng.random() - 1))
        height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if not (0 < height < side and 0 < width < side):
            continue
        top, start = rng.integers(side - height + 1), rng.integers(side - width + 1)
        block = mask[top : top + height, start : start + width]
        new = block.size - int(block.sum())
        if 0 < new <= left:
            block[:] = True
            return new
    return 0
