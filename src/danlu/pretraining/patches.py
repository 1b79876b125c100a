"""Images as patches: cutting, joining, normalisation per patch, and fixed positions."""

from __future__ import annotations

import torch
from torch import Tensor

EPS = 1e-6  # added to the variance of a patch
MIN_DEVIATION = 1e-3  # standard deviation below which a patch counts as constant, in units of the normalised images


def to_patches(images: Tensor, side: int) -> Tensor:
    """Cut images (N, C, H, W) into patches (N, L, side^2 C), row by row, channels last within a patch."""
    n, c, height, width = images.shape
    rows, columns = height // side, width // side
    return images.view(n, c, rows, side, columns, side).permute(0, 2, 4, 3, 5, 1).reshape(n, rows * columns, -1)


def to_images(patches: Tensor, side: int, channels: int) -> Tensor:
    """Join patches (N, L, side^2 C) of square images to (N, C, H, H); the inverse of `to_patches`."""
    n, length, _ = patches.shape
    rows = round(length**0.5)
    cut = patches.view(n, rows, rows, side, side, channels)
    return cut.permute(0, 5, 1, 3, 2, 4).reshape(n, channels, rows * side, rows * side)


def normalise_patches(patches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise each patch (..., D) by its own mean and standard deviation (n - 1 in the denominator).

    Returns the normalised patches, and mean and standard deviation (..., 1), with which a prediction is converted back.
    """
    mean, variance = patches.mean(-1, keepdim=True), patches.var(-1, keepdim=True)
    std = (variance + EPS).sqrt()
    return (patches - mean) / std, mean, std


def is_constant(patches: Tensor) -> Tensor:
    """Return whether the values of each patch (..., D) are all equal, bool (...)."""
    return patches.std(-1) < MIN_DEVIATION


def sincos_positions(width: int, side: int) -> Tensor:
    """Return fixed positions (side^2, width) of a grid: the first half of the width from the column, then the row.

    Each half holds the sines, then the cosines of place * 10000^(-i / (width / 4)). Source: He et al., "Masked
    autoencoders are scalable vision learners", 2022, appendix A.1.
    """
    omega = 10_000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width / 4))
    angles = torch.arange(side, dtype=torch.float64)[:, None] * omega
    one = torch.cat([angles.sin(), angles.cos()], 1)  # (side, width / 2)
    columns, rows = one[None].expand(side, -1, -1), one[:, None].expand(-1, side, -1)
    return torch.cat([columns, rows], 2).reshape(side * side, width).float()
