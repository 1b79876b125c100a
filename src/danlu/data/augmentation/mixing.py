"""Noise, random erasing, mixup and cutmix of normalised images and their targets."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.data.augmentation.geometry import bernoulli, between, log_between, rectangles

ERASED_AREA, ERASED_RATIO = (0.02, 0.33), (0.3, 3.3)  # Zhong et al. 2017, section 3.2


def erase(images: Tensor, u: Tensor, probability: float) -> Tensor:
    """Set a random rectangle of 2 % to 33 % of an image to 0, the mean colour (random erasing, Zhong et al. 2017).

    images: normalised float (N, C, H, W), modified in place. u: uniforms in [0, 1), (N, 5). probability: per image.
    """
    height, width = images.shape[2:]
    area = between(u[:, 1], *ERASED_AREA) * (height * width)
    ratio = log_between(u[:, 2], *ERASED_RATIO)  # height / width
    tall = (area * ratio).sqrt_().round_().clamp_(1, height) * bernoulli(u[:, 0], probability)
    wide = (area / ratio).sqrt_().round_().clamp_(1, width)
    top = (u[:, 3] * (height + 1 - tall)).floor_()
    left = (u[:, 4] * (width + 1 - wide)).floor_()
    return images.mul_(~rectangles(top, top + tall, left, left + wide, (height, width)))


def add_noise(images: Tensor, seeds: Tensor, std: float) -> Tensor:
    """Add Gaussian noise to each image. For a linear model this equals weight decay (Bishop 1995, "Training with noise
    is equivalent to Tikhonov regularization").

    images: normalised float (N, C, H, W), modified in place. seeds: int64 (N,). std: in units of the normalised values.
    """
    generator = torch.Generator(images.device)
    for image, seed in zip(images, seeds.tolist()):
        generator.manual_seed(seed)
        image.add_(torch.randn(image.shape, generator=generator, device=image.device), alpha=std)
    return images


def mixup_weights(mix_ratio: Tensor) -> Tensor:
    """Reshape the weight of each image in mixup, (N,), to (N, 1, 1, 1) (Zhang et al. 2017)."""
    return mix_ratio[:, None, None, None]


def cutmix_weights(mix_ratio: Tensor, u: Tensor, height: int, width: int) -> Tensor:
    """Build the masks of cutmix (Yun et al. 2019): 0 inside the box that the partner fills, 1 outside, (N, 1, H, W).

    mix_ratio: (N,); the box covers about 1 - mix_ratio of the area and is clipped at the image's edge. u: uniforms for
    its centre, (N, 2).
    """
    side = (1 - mix_ratio).sqrt()
    y, x = (u[:, 0] * height).floor(), (u[:, 1] * width).floor()
    tall, wide = (side * height).floor(), (side * width).floor()
    top, left = y - (tall / 2).floor(), x - (wide / 2).floor()
    return (~rectangles(top, top + tall, left, left + wide, (height, width))).float()


def mix(images: Tensor, targets: Tensor, weights: Tensor, partner: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Blend each image and its target with those of its partner.

    weights: of each pixel of the image itself, (N, 1, 1, 1) or (N, 1, H, W); their mean weights the target.
    partner: index of each image's partner, int64 (N,). targets: int64 (N,) of `classes` classes, or float (N, T).
    Returns images, and float targets (N, classes) with rows that sum to 1, or (N, T).
    """
    if not targets.is_floating_point():
        targets = F.one_hot(targets, classes).to(images.dtype)
    mix_ratio = weights.mean((1, 2, 3)).view(-1, *[1] * (targets.ndim - 1))
    return (
        torch.lerp(images.index_select(0, partner), images, weights),
        torch.lerp(targets.index_select(0, partner), targets, mix_ratio),
    )
