"""Random erasing, mixup and cutmix: what is done to the images after normalisation, and to their labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.data.geometry import between, coin, log_between, rectangles

ERASED_AREA, ERASED_RATIO = (0.02, 0.33), (0.3, 3.3)  # Zhong et al. 2017, section 3.2


def erase(images: Tensor, u: Tensor, chance: float) -> Tensor:
    """Random erasing (Zhong et al. 2017): a rectangle of 2 % to 33 % of the image becomes 0, the mean colour.

    images: normalised float (N, C, H, W), changed in place. u: (N, 5) uniforms. chance: that an image is erased.
    """
    height, width = images.shape[2:]
    area = between(u[:, 1], *ERASED_AREA) * (height * width)
    ratio = log_between(u[:, 2], *ERASED_RATIO)  # height / width
    tall = (area * ratio).sqrt_().round_().clamp_(1, height) * coin(u[:, 0], chance)
    wide = (area / ratio).sqrt_().round_().clamp_(1, width)
    top = (u[:, 3] * (height + 1 - tall)).floor_()
    left = (u[:, 4] * (width + 1 - wide)).floor_()
    return images.mul_(~rectangles(top, top + tall, left, left + wide, (height, width)))


def mixup_weights(share: Tensor) -> Tensor:
    """Mixup (Zhang et al. 2017): every pixel keeps `share` (N,) of itself. Returns (N, 1, 1, 1)."""
    return share[:, None, None, None]


def cutmix_weights(share: Tensor, u: Tensor, height: int, width: int) -> Tensor:
    """Cutmix (Yun et al. 2019): a box of about 1 - share of the area is the partner's. u: (N, 2) its centre.

    The box is cut off at the edge of the image. Returns 0 inside the box and 1 outside, (N, 1, H, W).
    """
    side = (1 - share).sqrt()
    y, x = (u[:, 0] * height).floor(), (u[:, 1] * width).floor()
    tall, wide = (side * height).floor(), (side * width).floor()
    top, left = y - (tall / 2).floor(), x - (wide / 2).floor()
    return (~rectangles(top, top + tall, left, left + wide, (height, width))).float()


def mix(images: Tensor, targets: Tensor, weights: Tensor, partner: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Blend each image, and its target, with its partner's.

    weights: (N, 1, 1, 1) or (N, 1, H, W), what each pixel keeps of itself; its mean is the share of the own target.
    partner: int64 (N,). targets: int64 (N,) of `classes` classes, or float (N, T).
    Returns images and float targets (N, classes) whose rows sum to 1, or (N, T).
    """
    if not targets.is_floating_point():
        targets = F.one_hot(targets, classes).to(images.dtype)
    share = weights.mean((1, 2, 3)).view(-1, *[1] * (targets.ndim - 1))
    return (
        torch.lerp(images.index_select(0, partner), images, weights),
        torch.lerp(targets.index_select(0, partner), targets, share),
    )
