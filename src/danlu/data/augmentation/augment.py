"""Batched image transforms on the device: `Augment` for training, `Normalise` for evaluation.

Random numbers are drawn for the whole batch of all processes, as one matrix of uniforms in which each setting has its
own columns. Each transform is a function of the images and its columns. A batch therefore does not depend on the number
of processes, and switching one setting on or off does not change the random numbers of the others.

Order of operations: gather, pad-crop-flip without resampling (or, if a setting needs it, one affine map with
resampling), colour jitter, normalisation, noise, random erasing, mixup or cutmix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.config import AugmentConfig
from danlu.data.augmentation.colour import jitter
from danlu.data.augmentation.geometry import (
    affine,
    bernoulli,
    between,
    centre_side,
    integers,
    pad_crop_flip,
    random_boxes,
    resample,
)
from danlu.data.augmentation.mixing import add_noise, cutmix_weights, erase, mix, mixup_weights
from danlu.data.augmentation.presets import PRESETS, WHOLE_AREA, resolve

__all__ = ["PRESETS", "Augment", "Draws", "Normalise", "resolve", "views"]

# Columns of each setting in the matrix of uniforms.
_COUNTS = {"flip": 2, "pad": 2, "area": 4, "affine": 5, "colour": 4, "erase": 5, "mix": 3}
COLUMNS = {name: slice(end - _COUNTS[name], end) for name, end in zip(_COUNTS, accumulate(_COUNTS.values()))}
WIDTH = sum(_COUNTS.values())
CPU_CHUNK = 1 << 20  # values of a batch transformed at once on a CPU, so that they stay in its cache


@dataclass(frozen=True)
class Draws:
    """Random numbers of n samples of a batch.

    uniform: float32 (n, WIDTH) in [0, 1). mix_ratio: weight of a sample itself when mixed, float32 (n,); None: no
    mixing. cut: whether to use cutmix rather than mixup, bool (n,). first: position of the first sample in the batch
    of all processes. noise: seeds of the noise of each sample, int64 (n,); None: no noise.
    """

    uniform: Tensor
    mix_ratio: Tensor | None = None
    cut: Tensor | None = None
    first: int = 0
    noise: Tensor | None = None

    def rows(self, rows: slice) -> Draws:
        """Select the random numbers of some samples, for example of one process."""
        mix_ratio, cut, noise = (None if x is None else x[rows] for x in (self.mix_ratio, self.cut, self.noise))
        return Draws(self.uniform[rows], mix_ratio, cut, self.first + (rows.start or 0), noise)

    def of(self, name: str) -> Tensor:
        """Select the columns of one setting."""
        return self.uniform[:, COLUMNS[name]]

    def to(self, device: torch.device) -> Draws:
        """Return the same numbers on `device`."""
        if device == self.uniform.device:
            return self
        mix_ratio, cut = (None if x is None else x.to(device, non_blocking=True) for x in (self.mix_ratio, self.cut))
        return Draws(self.uniform.to(device, non_blocking=True), mix_ratio, cut, self.first, self.noise)

    def partner(self) -> Tensor:
        """Index of the sample that each one is mixed with, int64 (n,): adjacent samples form pairs.

        A pair is on one process if every process has an even number of samples. A sample without a partner is its own
        partner, so it stays unmixed.
        """
        here = torch.arange(self.first, self.first + len(self.uniform), device=self.uniform.device)
        other = (here ^ 1) - self.first
        return torch.where((other >= 0) & (other < len(here)), other, here - self.first)


class Normalise:
    """Transform of evaluation: centre crop, resize to `size` if the crop is larger, (x - mean) / std.

    size: side of the output in pixels. mean, std: per channel, of images in [0, 1].
    """

    def __init__(self, *, size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        self.size = size
        self._mean = torch.tensor(mean).mul(255).view(-1, 1, 1)
        # A constant channel is only centred.
        self._gain = torch.tensor([1 / (255 * s) if s > 0 else 1 / 255 for s in std]).view(-1, 1, 1)

    def draw(self, rng: np.random.Generator, n: int) -> None:
        """Return None: nothing here is random."""
        return None

    def __call__(
        self, source: Tensor, index: Tensor | None, targets: Tensor, draws: object = None
    ) -> tuple[Tensor, Tensor]:
        """Transform the selected images.

        source: uint8 (N, C, H, W). index: of the images to transform, int64 (n,); None: all.
        Returns float32 (n, C, size, size) and the unchanged targets.
        """
        images = source if index is None else source.index_select(0, index)
        return self.scale(self.centre(images)), targets

    def centre(self, images: Tensor) -> Tensor:
        """Crop the centre square and resize it to `size` pixels; without resizing the result stays uint8."""
        height, width = images.shape[2:]
        side = centre_side(height, width, self.size)
        top, left = (height - side) // 2, (width - side) // 2
        square = images[:, :, top : top + side, left : left + side]
        if side == self.size:
            return square
        return F.interpolate(square.float(), (self.size, self.size), mode="bilinear", antialias=True)

    def scale(self, images: Tensor) -> Tensor:
        """Normalise values in [0, 255] to zero mean and unit variance over the training set; float32."""
        if self._mean.device != images.device:
            self._mean, self._gain = self._mean.to(images.device), self._gain.to(images.device)
        return (images - self._mean).mul_(self._gain)

    def undo(self, images: Tensor) -> Tensor:
        """Invert the normalisation: float (n, C, H, W) to uint8, for display."""
        mean, gain = self._mean.to(images.device), self._gain.to(images.device)
        return (images.float() / gain + mean).round_().clamp_(0, 255).to(torch.uint8)


class Augment:
    """Random transform of training images.

    config: settings; those that are None are resolved from the preset. size, mean, std: as of `Normalise`. channels: of
    the images. classes: number of classes, 0 for regression. Raises Refusal as `presets.resolve` does.
    """

    def __init__(
        self,
        config: AugmentConfig,
        *,
        size: int,
        channels: int,
        classes: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        self.config = resolve(config, size=size, channels=channels, classes=classes)
        self._on: Any = self.config  # resolved: no field is None, although their types are optional
        self.size, self.classes = size, classes
        self.normalise = Normalise(size=size, mean=mean, std=std)
        c = self._on
        self._moves = bool(c.rotate or c.scale or c.shear or c.translate)
        self._crops = tuple(c.area) != WHOLE_AREA
        self._colours = bool(c.brightness or c.contrast or c.saturation or c.hue)

    def draw(self, rng: np.random.Generator, n: int) -> Draws:
        """Draw the random numbers of a batch of n samples (over all processes)."""
        c = self._on
        uniform = torch.from_numpy(rng.random((n, WIDTH), dtype=np.float32))
        noise = torch.from_numpy(rng.integers(0, 2**31, n)) if c.noise else None  # drawn only if used, see the module
        if not (c.mixup or c.cutmix):
            return Draws(uniform, noise=noise)
        # If both are on, each sample uses one or the other with equal probability.
        cut = torch.full((n,), bool(c.cutmix))
        if c.mixup and c.cutmix:
            cut = bernoulli(uniform[:, COLUMNS["mix"]][:, 0], 0.5)
        up, cx = (torch.from_numpy(rng.beta(a or 1.0, a or 1.0, n).astype(np.float32)) for a in (c.mixup, c.cutmix))
        return Draws(uniform, torch.where(cut, cx, up), cut, noise=noise)

    def __call__(
        self, source: Tensor, index: Tensor | None, targets: Tensor, draws: Draws | None
    ) -> tuple[Tensor, Tensor]:
        """Augment and normalise the selected images.

        source: uint8 (N, C, H, W), the whole set or a decoded batch. index: of the images to transform, int64 (n,);
        None: all. targets: int64 (n,) or float32 (n, T). draws: random numbers of these n samples; None: no
        augmentation. Returns float32 (n, C, size, size), and the targets, float32 (n, K) if samples were mixed.
        """
        if draws is None:
            return self.normalise(source, index, targets)
        images = source if index is None else source.index_select(0, index)
        draws = draws.to(images.device)
        images = self._in_chunks(images, draws)
        if draws.mix_ratio is not None and draws.cut is not None:
            weights = self._mix_weights(images, draws, draws.mix_ratio, draws.cut)
            images, targets = mix(images, targets, weights, draws.partner(), self.classes)
        return images, targets

    def _in_chunks(self, images: Tensor, draws: Draws) -> Tensor:
        """Apply `_augment_each`, on a CPU to a few images at a time so that they stay in its cache."""
        n = len(images)
        chunk = max(1, CPU_CHUNK // images[0].numel())
        if images.device.type != "cpu" or n <= chunk:
            return self._augment_each(images, draws)
        done = torch.empty(n, images.shape[1], self.size, self.size)
        for start in range(0, n, chunk):
            rows = slice(start, min(start + chunk, n))
            done[rows] = self._augment_each(images[rows], draws.rows(rows))
        return done

    def _augment_each(self, images: Tensor, draws: Draws) -> Tensor:
        """Apply all transforms of single images: uint8 (n, C, H, W) to normalised float32 (n, C, size, size)."""
        images = self._move_pixels(images, draws)
        if self._colours:
            images = self._colour(images, draws)
        images = self.normalise.scale(images)
        if draws.noise is not None:
            images = self._noise(images, draws.noise)
        return erase(images, draws.of("erase"), self._on.erase) if self._on.erase else images

    def _flips(self, draws: Draws) -> tuple[Tensor | None, Tensor | None]:
        """Return whether to flip each image left-right and up-down, each bool (n,); None if the setting is off."""
        u, flip = draws.of("flip"), self._on.flip
        return (
            bernoulli(u[:, 0], 0.5) if flip in ("lr", "both") else None,
            bernoulli(u[:, 1], 0.5) if flip in ("ud", "both") else None,
        )

    def _corners(self, draws: Draws) -> Tensor | None:
        """Position (x, y) of the crop in the padded image, int64 (n, 2) in [0, 2 pad]; None without padding."""
        return integers(draws.of("pad"), 2 * self._on.pad + 1) if self._on.pad else None

    def _move_pixels(self, images: Tensor, draws: Draws) -> Tensor:
        """Crop, flip and warp images to (n, C, size, size); the result stays uint8 unless pixels are resampled."""
        if self._crops and not self._moves and not self._on.pad and images.device.type == "cpu":
            return self._crop(images, draws)
        if self._moves or self._crops:
            return self._resample(images, draws)
        images = self.normalise.centre(images)
        if not self._on.pad and self._on.flip == "none":
            return images
        return pad_crop_flip(images, self._on.pad, self._corners(draws), *self._flips(draws))

    def _crop(self, images: Tensor, draws: Draws) -> Tensor:
        """Apply random resized crops and flips only, on a CPU: image by image with the antialiased uint8 kernel."""
        height, width = images.shape[2:]
        boxes, centres = random_boxes(draws.of("area"), height, width, self._on.area, self._on.ratio)
        sides = boxes.round().clamp_min(1)
        corners = (centres + (torch.tensor([width, height]) - sides) / 2).round().clamp_min(0)
        done = torch.empty(len(images), images.shape[1], self.size, self.size, dtype=torch.uint8)
        for i, (x, y, w, h) in enumerate(torch.cat((corners, sides), 1).long().tolist()):
            box = images[i : i + 1, :, y : y + h, x : x + w]
            done[i] = F.interpolate(box, (self.size, self.size), mode="bilinear", antialias=True)[0]
        for axis, flipped in zip((-1, -2), self._flips(draws)):
            if flipped is not None:
                done[flipped] = done[flipped].flip(axis)
        return done

    def _resample(self, images: Tensor, draws: Draws) -> Tensor:
        """Apply shear, scaling, rotation, shift, crop and flip, in this order, as one affine map."""
        c, size = self._on, self.size
        height, width = images.shape[2:]
        side = centre_side(height, width, size)  # side of the default crop, in pixels of the input
        if self._crops:
            boxes, centres = random_boxes(draws.of("area"), height, width, c.area, c.ratio)
            side = math.sqrt(height * width * c.area[1])
        else:
            boxes = draws.uniform.new_full((len(images), 2), side)
            centres = torch.zeros_like(boxes)
        corners = self._corners(draws)
        if corners is not None:
            centres = centres + (corners - c.pad) * (side / size)
        per_pixel = boxes / size
        for axis, flipped in enumerate(self._flips(draws)):
            if flipped is not None:
                per_pixel[:, axis] *= torch.where(flipped, -1.0, 1.0)

        if self._moves:
            u = 2 * draws.of("affine") - 1
            forward = affine(u[:, 0] * math.radians(c.rotate), 1 + u[:, 1] * c.scale, u[:, 2] * math.radians(c.shear))
            back = torch.linalg.inv(forward)
            matrix = back * per_pixel[:, None]
            shift = (back @ (centres - u[:, 3:5] * (c.translate * side))[:, :, None])[:, :, 0]
        else:
            matrix, shift = torch.diag_embed(per_pixel), centres
        outside = "zeros" if self._moves or c.pad else "border"
        taps = max(1, round(side / size / (1 - c.scale)))  # bilinear sampling does not alias below 1.5 pixels per step
        return resample(images.float(), matrix, shift, size, outside, taps=taps)

    def _colour(self, images: Tensor, draws: Draws) -> Tensor:
        c, u = self._on, draws.of("colour")
        factors = (between(u[:, i], 1 - x, 1 + x) for i, x in enumerate((c.brightness, c.contrast, c.saturation)))
        return jitter(images.float(), *factors, hue=between(u[:, 3], -c.hue, c.hue))

    def _noise(self, images: Tensor, seeds: Tensor) -> Tensor:
        return add_noise(images, seeds, self._on.noise)

    def _mix_weights(self, images: Tensor, draws: Draws, mix_ratio: Tensor, cut: Tensor) -> Tensor:
        """Weights of each image's own pixels, (n, 1, 1, 1) or (n, 1, H, W)."""
        up = mixup_weights(mix_ratio)
        if not self._on.cutmix:
            return up
        boxes = cutmix_weights(mix_ratio, draws.of("mix")[:, 1:3], *images.shape[2:])
        return torch.where(cut[:, None, None, None], boxes, up)


def views(images: Tensor, config: AugmentConfig) -> list[Tensor]:
    """Create the views of test-time augmentation: the images, and their flips if training used them.

    images: (N, C, H, W). Returns one to four tensors of the same shape, the images themselves first.
    """
    return [images.flip(axes) if axes else images for axes in view_flips(config)]


def view_flips(config: AugmentConfig) -> list[tuple[int, ...]]:
    """List the axes to flip for each of the `views`; the first entry, for the image itself, is empty."""
    flips: list[tuple[int, ...]] = [()]
    if config.flip in ("lr", "both"):
        flips += [(*axes, -1) for axes in flips]
    if config.flip in ("ud", "both"):
        flips += [(*axes, -2) for axes in flips]
    return flips
