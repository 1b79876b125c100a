"""Colour jitter: brightness, contrast, saturation and hue of each image, as one affine map of its colours.

Every one of the four maps a pixel's colour x to M x + v with M and v the same over the image, so the four together
are one small matrix per image and one product. Order and definitions are those of torchvision's ColorJitter
(brightness, contrast, saturation, hue), with two differences: values are clamped to [0, 255] once, at the end, and hue
turns the chroma plane of YIQ (which keeps the luma) instead of going through HSV.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)  # grey value of red, green, blue (ITU-R BT.601, as in torchvision)


def jitter(images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """Change the colours of each image.

    images: float (N, C, H, W) in [0, 255]. brightness, contrast, saturation: factors (N,), 1 changes nothing.
    hue: turns of the colour circle (N,), 0 changes nothing. Saturation and hue act on three channels only.
    Returns float (N, C, H, W) in [0, 255].
    """
    n, channels, height, width = images.shape
    flat = images.reshape(n, channels, -1)
    grey = _grey(channels, images.device)
    # Contrast blends with the image's mean grey value, which brightness has scaled before.
    # Summed channel by channel: a matrix product rounds a row differently with other rows beside it.
    mean = sum(level * weight for level, weight in zip(flat.mean(2).unbind(1), grey))
    pivot = mean * brightness * (1 - contrast)  # (N,)
    gain = brightness * contrast
    if channels != 3:
        changed = flat * gain[:, None, None] + pivot[:, None, None]
    else:
        chroma = _turn(hue) @ _saturate(saturation, grey)  # (N, 3, 3); a grey colour passes it unchanged
        changed = torch.baddbmm(pivot[:, None, None], chroma * gain[:, None, None], flat)
    return changed.clamp_(0, 255).view(n, channels, height, width)


@lru_cache
def _grey(channels: int, device: torch.device) -> Tensor:
    """Weights (C,) of the grey value, sum 1."""
    weights = torch.tensor(LUMA if channels == 3 else [1.0] * channels, device=device)
    return weights / weights.sum()


def _saturate(factor: Tensor, grey: Tensor) -> Tensor:
    """factor x + (1 - factor) grey(x), as matrices (N, 3, 3)."""
    factor = factor[:, None, None]
    return factor * torch.eye(3, device=grey.device) + (1 - factor) * grey.expand(3, 3)


def _turn(hue: Tensor) -> Tensor:
    """Rotation by hue turns in the IQ plane of YIQ, from red towards yellow, in RGB; as matrices (N, 3, 3)."""
    to_yiq, to_rgb = _yiq(hue.device)
    angle = -2 * math.pi * hue  # from I (orange) to Q (purple) is backwards on the colour circle
    cos, sin = angle.cos(), angle.sin()
    one, nil = torch.ones_like(cos), torch.zeros_like(cos)
    turn = torch.stack((one, nil, nil, nil, cos, -sin, nil, sin, cos), 1).view(-1, 3, 3)
    return to_rgb @ turn @ to_yiq


@lru_cache
def _yiq(device: torch.device) -> tuple[Tensor, Tensor]:
    """RGB -> YIQ (NTSC 1953) and back."""
    luma = torch.tensor(LUMA, dtype=torch.float64)
    chroma = torch.tensor([[0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]], dtype=torch.float64)
    # Rows that sum to 1, 0 and 0, to the last digit: grey has no chroma and stays grey.
    forth = torch.cat(((luma / luma.sum())[None], chroma - chroma.mean(1, keepdim=True)))
    return forth.float().to(device), forth.inverse().float().to(device)
