"""Agreement of targets per pixel with the images and outputs of their samples, across a batch.

Masks of other images, and masks that are not mirrored together with their images, leave a usual loss curve: the model
learns where objects lie on average. Subtracting the mean over the batch from outputs and targets at every position
removes that average. What remains of both is uncorrelated if each output could as well belong to another sample. The
same is measured of a linear fit of the targets by each pixel's neighbourhood in the image, which needs no training, and
of both against targets that are mirrored, turned upside down or transposed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.observation.budget import is_scheduled
from danlu.doctor.observation.watched_model import Pass, WatchedModel, tensors_in

MIN_SAMPLES, MAX_SAMPLES = 4, 16  # of a batch
MIN_SIDE, MAX_SIDE = 8, 48  # pixels; larger maps are averaged
MAX_CLASSES = 4  # the most frequent classes of a batch, each of which is a map of its own
MAX_CHANNELS = 4
MIN_REST = 1e-5  # root mean square of centred maps, relative to that of the maps
RIDGE = 1e-3  # of the mean square of the features
ARRANGEMENTS = {  # of targets (N, K, H, W)
    "own": lambda targets: targets,
    "mirrored": lambda targets: targets.flip(3),
    "upside_down": lambda targets: targets.flip(2),
    "transposed": lambda targets: targets.transpose(2, 3),
}


class DenseTargets(Instrument):
    """Write dense.agreement, dense.fit and dense.symmetry."""

    name = "dense_targets"

    def after_loss(self, watched: WatchedModel, call: Pass, loss: Tensor, outputs: Any, targets: Any) -> bool | None:
        if not call.grad or not is_scheduled(watched.step):
            return None
        images = next(tensors_in((call.args, call.kwargs)), None)
        found = maps(outputs, targets)
        if found is None or images is None or not is_batch_of_images(images, len(found[0])):
            return None
        said, wanted = (centred(one) for one in found)
        seen = centred(features(images.detach()[: len(said)].float(), wanted.shape[2], wanted.shape[3]))
        square = wanted.shape[2] == wanted.shape[3]
        arranged = {name: arrange(wanted) for name, arrange in ARRANGEMENTS.items() if square or name != "transposed"}
        for (name, other), fit in zip(arranged.items(), fits(seen, list(arranged.values()))):
            watched.write_deferred("dense.agreement", correlation(said, other), name, call.step)
            watched.write_deferred("dense.fit", fit, name, call.step)
            if name != "own":
                watched.write_deferred("dense.symmetry", correlation(wanted, other), name, call.step)
        return True


def maps(outputs: Any, targets: Any) -> tuple[Tensor, Tensor] | None:
    """Maps of outputs and targets of the same meaning, (N, K, H, W) each; None where targets are not dense.

    Args:
        outputs: (N, K, h, w) scores of classes or values. targets: (N, H, W) or (N, 1, H, W) integers, or values of
            the shape of the outputs.
    """
    if not (isinstance(outputs, Tensor) and isinstance(targets, Tensor)) or not outputs.is_floating_point():
        return None
    said, wanted = (one.detach()[:MAX_SAMPLES] for one in (outputs, targets))
    said, wanted = (one[:, None] if one.dim() == 3 else one for one in (said, wanted))
    if said.dim() != 4 or wanted.dim() != 4 or not MIN_SAMPLES <= len(said) == len(wanted):
        return None
    height, width = (min(*sizes, MAX_SIDE) for sizes in zip(said.shape[2:], wanted.shape[2:]))
    if min(height, width) < MIN_SIDE:
        return None
    if said.shape[1] != wanted.shape[1] and (wanted.shape[1] > 1 or wanted.is_floating_point()):
        return None
    if said.shape[1] > 1 and wanted.shape[1] == 1:
        counts = torch.bincount(wanted[(wanted >= 0) & (wanted < said.shape[1])], minlength=said.shape[1])
        classes = counts.topk(min(MAX_CLASSES, said.shape[1])).indices
        said, wanted = said[:, classes], wanted == classes.view(1, -1, 1, 1)
    said, wanted = (adaptive_avg_pool2d(one[:, :MAX_CLASSES].float(), (height, width)) for one in (said, wanted))
    return said, wanted


def is_batch_of_images(images: Tensor, count: int) -> bool:
    """Return whether these are images (N, C, H, W) in floating point, at least `count` of them."""
    return images.dim() == 4 and images.is_floating_point() and len(images) >= count and min(images.shape[2:]) > 1


def features(images: Tensor, height: int, width: int) -> Tensor:
    """Values of each pixel, mean and contrast of its neighbourhood: (N, 3 C, height, width)."""
    small = adaptive_avg_pool2d(images[:, :MAX_CHANNELS], (height, width))
    mean = avg_pool2d(small, 3, 1, 1, count_include_pad=False)
    contrast = avg_pool2d((small - mean).abs(), 5, 1, 2, count_include_pad=False)
    return torch.cat([small, mean, contrast], 1)


def centred(values: Tensor) -> Tensor:
    """The maps without their mean over the batch at each position; zero where only rounding errors are left."""
    rest = values - values.mean(0, keepdim=True)
    return torch.where(rest.square().mean() > MIN_REST**2 * values.square().mean(), rest, 0.0)


def correlation(one: Tensor, other: Tensor) -> Tensor:
    """Correlation of centred maps over all samples, channels and positions; not a number where one is constant."""
    return (one * other).sum() / (one.square().sum() * other.square().sum()).sqrt()


def fits(seen: Tensor, arranged: list[Tensor]) -> list[Tensor]:
    """Correlation of one half of the samples with a linear map of their features that is fitted to the other half.

    Args:
        seen: centred features (N, F, H, W). arranged: centred targets (N, K, H, W), each of which is fitted.
    """
    half = len(seen) // 2
    rows = seen.movedim(1, -1)
    x = rows[:half].reshape(-1, rows.shape[-1])
    y = torch.cat(arranged, 1)[:half].movedim(1, -1).reshape(len(x), -1)
    gram = x.T @ x
    ridge = RIDGE * gram.diagonal().mean().clamp(min=1e-12) * torch.eye(len(gram), device=x.device)
    predicted = (rows[half:] @ torch.linalg.solve(gram + ridge, x.T @ y)).movedim(-1, 1)
    parts = predicted.split(arranged[0].shape[1], 1)
    return [correlation(part, other[half:]) for part, other in zip(parts, arranged)]
