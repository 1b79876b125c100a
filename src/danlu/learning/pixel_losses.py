"""Losses of semantic segmentation: outputs (N, K, H, W) and label maps (N, H, W) to one loss per image, (N,).

Pixels with the value 255 are left out of sums and means; an image of such pixels only has the loss 0.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.objects import IGNORE

SMOOTH = 1.0  # added to both sums of the Dice loss, so that an absent class has a gradient
MIN_WEIGHT = 1e-6  # of a class without pixels, whose logarithm must be finite

PixelLoss = Callable[[Tensor, Tensor], Tensor]


def per_pixel(loss: PixelLoss, weights: Tensor | None = None) -> PixelLoss:
    """Average a loss of class outputs (P, K) and targets (P,) over the pixels of each image.

    weights: of the classes, (K,); the mean is then weighted by them.
    """

    def mean_of_pixels(outputs: Tensor, targets: Tensor) -> Tensor:
        kept = targets != IGNORE
        real = targets.long().masked_fill(~kept, 0)
        # (P, K), channels last, so that every loss of exclusive classes applies
        losses = loss(outputs.permute(0, 2, 3, 1).flatten(0, 2), real.flatten()).view_as(real)
        weight = kept.to(losses.dtype)
        if weights is not None:
            weight = weight * weights.to(losses.device)[real]
        return (losses * weight).flatten(1).sum(1) / weight.flatten(1).sum(1).clamp(min=1e-9)

    return mean_of_pixels


def pixel_cross_entropy(
    outputs: Tensor, targets: Tensor, smoothing: float, weights: Tensor | None = None, unbiased: bool = False
) -> Tensor:
    """Cross-entropy, mean over the pixels of each image, without the copy that `per_pixel` makes of the outputs.

    weights: of each class, (K,). Trained with them, a network predicts probabilities proportional to weight times
    frequency, and contours of rare classes too wide. unbiased: the loss multiplies the probabilities by the weights
    itself (logit adjustment, Menon et al. 2021), so that rare classes are learnt as early and the outputs stay those of
    the frequencies.
    """
    kept = targets != IGNORE
    real = targets.long().masked_fill(~kept, 0)
    if weights is not None:
        weights = weights.to(outputs.device)
        if unbiased:
            outputs = outputs + weights.clamp(min=MIN_WEIGHT).log()[:, None, None]
    losses = F.cross_entropy(outputs, real, reduction="none", label_smoothing=smoothing)
    weight = kept.to(losses.dtype)
    if weights is not None:
        weight = weight * weights[real]
    return (losses * weight).flatten(1).sum(1) / weight.flatten(1).sum(1).clamp(min=1e-9)


def soft_dice(p: Tensor, y: Tensor, smooth: float = 0.0) -> Tensor:
    """1 - (2 sum p y + smooth) / (sum p + sum y + smooth), sums over the last axis (Milletari et al. 2016).

    p: probabilities (..., P). y: 0 and 1, of the same shape.
    """
    return 1 - (2 * (p * y).sum(-1) + smooth) / (p.sum(-1) + y.sum(-1) + smooth)


def dice(outputs: Tensor, targets: Tensor) -> Tensor:
    """Dice loss of the softmax, mean over the classes that an image contains. (N, K, H, W), (N, H, W) -> (N,)."""
    p, y, _ = _flat(outputs, targets)
    present = (y.sum(-1) > 0).to(p.dtype)
    return (soft_dice(p, y, SMOOTH) * present).sum(1) / present.sum(1).clamp(min=1)


def dice_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Sum of the Dice loss and the cross-entropy."""
    return dice(outputs, targets) + pixel_cross_entropy(outputs, targets, 0.0)


def lovasz(outputs: Tensor, targets: Tensor) -> Tensor:
    """Lovász-Softmax loss, mean over the classes that an image contains (Berman et al. 2018, equation 11)."""
    p, y, kept = _flat(outputs, targets)
    return torch.stack([_lovasz_of_image(*one) for one in zip(p, y, kept)])


def _lovasz_of_image(p: Tensor, y: Tensor, kept: Tensor) -> Tensor:
    p, y = p[:, kept], y[:, kept]
    present = y.sum(1) > 0
    if not bool(present.any()):
        return p.sum() * 0
    return torch.stack([lovasz_extension((b - a).abs(), b) for a, b in zip(p[present], y[present])]).mean()


def lovasz_hinge(logits: Tensor, y: Tensor) -> Tensor:
    """Lovász hinge of binary logits (P,) and labels of 0 and 1 (P,): a scalar (Berman et al. 2018, equation 6)."""
    return lovasz_extension((1 - logits * (2 * y - 1)).clamp(min=0), y)


def lovasz_extension(errors: Tensor, y: Tensor) -> Tensor:
    """Lovász extension of the Jaccard loss at errors (P,) of labels y (P,) of 0 and 1: a scalar."""
    errors, order = errors.sort(descending=True)
    y = y[order]
    union = y.sum() + (1 - y).cumsum(0)
    jaccard = 1 - (y.sum() - y.cumsum(0)) / union
    return (errors * torch.cat((jaccard[:1], jaccard[1:] - jaccard[:-1]))).sum()


def _flat(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities and one-hot targets (N, K, P), both 0 in ignored pixels, and the pixels kept, bool (N, P)."""
    classes, kept = outputs.shape[1], (targets != IGNORE).flatten(1)
    p = outputs.softmax(1).flatten(2) * kept[:, None]
    real = targets.long().flatten(1).masked_fill(~kept, classes)
    y = F.one_hot(real, classes + 1)[..., :classes].transpose(1, 2).to(p.dtype)
    return p, y, kept
