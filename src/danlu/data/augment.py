"""Images to what the network sees, a batch at a time on the device: `Augment` for training, `Normalise` for the rest.

Random numbers are drawn for the whole batch of all processes, as one matrix of uniforms in which every setting owns its
columns. Each transform is a function of the images and its columns. So a batch looks the same however many processes
share it, and switching one setting on or off leaves what the others draw as it was.

The way of a batch: gather, pad-crop-flip in whole pixels (or, where anything else moves the pixels, one affine map and
one resampling), colour, normalise, erase, mix.
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
from danlu.data.colour import jitter
from danlu.data.geometry import (
    affine,
    between,
    centre_side,
    coin,
    pad_crop_flip,
    random_boxes,
    resample,
    whole,
)
from danlu.data.mixing import cutmix_weights, erase, mix, mixup_weights
from danlu.data.presets import PRESETS, WHOLE, resolve

__all__ = ["PRESETS", "Augment", "Draws", "Normalise", "resolve", "views"]

# Every setting's columns in the matrix of uniforms.
_COUNTS = {"flip": 2, "pad": 2, "area": 4, "affine": 5, "colour": 4, "erase": 5, "mix": 3}
COLUMNS = {name: slice(end - _COUNTS[name], end) for name, end in zip(_COUNTS, accumulate(_COUNTS.values()))}
WIDTH = sum(_COUNTS.values())
PART = 1 << 20  # numbers of a batch treated at once on a processor: some megabytes as float32


@dataclass(frozen=True)
class Draws:
    """Random numbers of n samples of a batch.

    uniform: float32 (n, WIDTH) in [0, 1). share: float32 (n,), what a mixed sample keeps of itself; None: no mixing.
    cut: bool (n,), cutmix rather than mixup. first: place of the first sample in the whole batch.
    """

    uniform: Tensor
    share: Tensor | None = None
    cut: Tensor | None = None
    first: int = 0

    def rows(self, rows: slice) -> Draws:
        """The numbers of one process's samples."""
        share, cut = (None if x is None else x[rows] for x in (self.share, self.cut))
        return Draws(self.uniform[rows], share, cut, self.first + (rows.start or 0))

    def of(self, name: str) -> Tensor:
        """The columns of one setting."""
        return self.uniform[:, COLUMNS[name]]

    def to(self, device: torch.device) -> Draws:
        if device == self.uniform.device:
            return self
        share, cut = (None if x is None else x.to(device, non_blocking=True) for x in (self.share, self.cut))
        return Draws(self.uniform.to(device, non_blocking=True), share, cut, self.first)

    def partner(self) -> Tensor:
        """With whom each sample is mixed, int64 (n,): neighbours in the batch, which is shuffled, swap in pairs.

        A pair stays together on one process as long as every process holds an even number of samples; a sample left
        alone is its own partner, that is, unmixed.
        """
        here = torch.arange(self.first, self.first + len(self.uniform), device=self.uniform.device)
        mate = (here ^ 1) - self.first
        return torch.where((mate >= 0) & (mate < len(here)), mate, here - self.first)


class Normalise:
    """The way of validation images: the centre square, resized where the canvas is larger, (x - mean) / std.

    size: side of the output. mean, std: one number per channel, of images in [0, 1].
    """

    def __init__(self, *, size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        self.size = size
        self._mean = torch.tensor(mean).mul(255).view(-1, 1, 1)
        # A channel without any variation is only centred.
        self._gain = torch.tensor([1 / (255 * s) if s > 0 else 1 / 255 for s in std]).view(-1, 1, 1)

    def draw(self, rng: np.random.Generator, n: int) -> None:
        return None

    def __call__(
        self, source: Tensor, index: Tensor | None, targets: Tensor, draws: object = None
    ) -> tuple[Tensor, Tensor]:
        """source: uint8 (N, C, H, W). index: int64 (n,) of the images wanted, None for all.
        Returns float32 (n, C, size, size) and `targets` as given."""
        images = source if index is None else source.index_select(0, index)
        return self.scale(self.centre(images)), targets

    def centre(self, images: Tensor) -> Tensor:
        """The centre square at `size` pixels; whole pixels are kept as they are."""
        height, width = images.shape[2:]
        side = centre_side(height, width, self.size)
        top, left = (height - side) // 2, (width - side) // 2
        square = images[:, :, top : top + side, left : left + side]
        if side == self.size:
            return square
        return F.interpolate(square.float(), (self.size, self.size), mode="bilinear", antialias=True)

    def scale(self, images: Tensor) -> Tensor:
        """[0, 255] -> zero mean, unit variance over the training set; float32."""
        if self._mean.device != images.device:
            self._mean, self._gain = self._mean.to(images.device), self._gain.to(images.device)
        return (images - self._mean).mul_(self._gain)

    def undo(self, images: Tensor) -> Tensor:
        """Normalised float (n, C, H, W) -> uint8, to look at."""
        mean, gain = self._mean.to(images.device), self._gain.to(images.device)
        return (images.float() / gain + mean).round_().clamp_(0, 255).to(torch.uint8)


class Augment:
    """The way of training images. config: resolved (no None). classes: 0 for regression. The rest as `Normalise`."""

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
        self._on: Any = self.config  # resolved: what the type calls optional is there
        self.size, self.classes = size, classes
        self.normalise = Normalise(size=size, mean=mean, std=std)
        c = self._on
        self._moves = bool(c.rotate or c.scale or c.shear or c.translate)
        self._crops = tuple(c.area) != WHOLE
        self._colours = bool(c.brightness or c.contrast or c.saturation or c.hue)

    def draw(self, rng: np.random.Generator, n: int) -> Draws:
        """Random numbers for a batch of n samples, over all processes."""
        c = self._on
        uniform = torch.from_numpy(rng.random((n, WIDTH), dtype=np.float32))
        if not (c.mixup or c.cutmix):
            return Draws(uniform)
        # With both on, each sample takes one or the other with equal chance.
        cut = torch.full((n,), bool(c.cutmix))
        if c.mixup and c.cutmix:
            cut = coin(uniform[:, COLUMNS["mix"]][:, 0], 0.5)
        up, cx = (torch.from_numpy(rng.beta(a or 1.0, a or 1.0, n).astype(np.float32)) for a in (c.mixup, c.cutmix))
        return Draws(uniform, torch.where(cut, cx, up), cut)

    def __call__(
        self, source: Tensor, index: Tensor | None, targets: Tensor, draws: Draws | None
    ) -> tuple[Tensor, Tensor]:
        """source: uint8 (N, C, H, W), the whole set or a decoded batch. index: int64 (n,) of the images wanted, None
        for all. targets: int64 (n,) or float32 (n, T). draws: numbers of these n samples; None: no augmentation.
        Returns float32 (n, C, size, size) and the targets, float32 (n, K) where samples were mixed."""
        if draws is None:
            return self.normalise(source, index, targets)
        images = source if index is None else source.index_select(0, index)
        draws = draws.to(images.device)
        images = self._in_parts(images, draws)
        if draws.share is not None and draws.cut is not None:
            weights = self._mixing(images, draws, draws.share, draws.cut)
            images, targets = mix(images, targets, weights, draws.partner(), self.classes)
        return images, targets

    def _in_parts(self, images: Tensor, draws: Draws) -> Tensor:
        """`_varied`, on a processor a few large images at a time: what lies in its cache is not fetched again."""
        n = len(images)
        few = max(1, PART // images[0].numel())
        if images.device.type != "cpu" or n <= few:
            return self._varied(images, draws)
        done = torch.empty(n, images.shape[1], self.size, self.size)
        for start in range(0, n, few):
            part = slice(start, min(start + few, n))
            done[part] = self._varied(images[part], draws.rows(part))
        return done

    def _varied(self, images: Tensor, draws: Draws) -> Tensor:
        """Everything that needs one image only: uint8 (n, C, H, W) -> normalised float32 (n, C, size, size)."""
        images = self._place(images, draws)
        if self._colours:
            images = self._colour(images, draws)
        images = self.normalise.scale(images)
        return erase(images, draws.of("erase"), self._on.erase) if self._on.erase else images

    def _mirrors(self, draws: Draws) -> tuple[Tensor | None, Tensor | None]:
        """Which images are mirrored left-right and up-down, bool (n,); None where the setting is off."""
        u, flip = draws.of("flip"), self._on.flip
        return (
            coin(u[:, 0], 0.5) if flip in ("lr", "both") else None,
            coin(u[:, 1], 0.5) if flip in ("ud", "both") else None,
        )

    def _corners(self, draws: Draws) -> Tensor | None:
        """Where the crop begins in the padded image: x and y, int64 (n, 2) in 0 ... 2 pad."""
        return whole(draws.of("pad"), 2 * self._on.pad + 1) if self._on.pad else None

    def _place(self, images: Tensor, draws: Draws) -> Tensor:
        """Crop, mirror and move: (n, C, size, size), still uint8 when no pixel had to be resampled."""
        if self._crops and not self._moves and not self._on.pad and images.device.type == "cpu":
            return self._crop(images, draws)
        if self._moves or self._crops:
            return self._resample(images, draws)
        images = self.normalise.centre(images)
        if not self._on.pad and self._on.flip == "none":
            return images
        return pad_crop_flip(images, self._on.pad, self._corners(draws), *self._mirrors(draws))

    def _crop(self, images: Tensor, draws: Draws) -> Tensor:
        """Random resized crops and mirrors alone, on a processor: one by one by the uint8 kernel, antialiased."""
        height, width = images.shape[2:]
        boxes, centres = random_boxes(draws.of("area"), height, width, self._on.area, self._on.ratio)
        sides = boxes.round().clamp_min(1)
        corners = (centres + (torch.tensor([width, height]) - sides) / 2).round().clamp_min(0)
        done = torch.empty(len(images), images.shape[1], self.size, self.size, dtype=torch.uint8)
        for i, (x, y, w, h) in enumerate(torch.cat((corners, sides), 1).long().tolist()):
            box = images[i : i + 1, :, y : y + h, x : x + w]
            done[i] = F.interpolate(box, (self.size, self.size), mode="bilinear", antialias=True)[0]
        for axis, mirrored in zip((-1, -2), self._mirrors(draws)):
            if mirrored is not None:
                done[mirrored] = done[mirrored].flip(axis)
        return done

    def _resample(self, images: Tensor, draws: Draws) -> Tensor:
        """All movement in one map. Forward: shear, zoom, rotate and shift the image, cut out the crop, mirror it."""
        c, size = self._on, self.size
        height, width = images.shape[2:]
        side = centre_side(height, width, size)  # in canvas pixels, what `size` output pixels show by default
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
        for axis, mirrored in enumerate(self._mirrors(draws)):
            if mirrored is not None:
                per_pixel[:, axis] *= torch.where(mirrored, -1.0, 1.0)

        if self._moves:
            u = 2 * draws.of("affine") - 1
            forward = affine(u[:, 0] * math.radians(c.rotate), 1 + u[:, 1] * c.scale, u[:, 2] * math.radians(c.shear))
            back = torch.linalg.inv(forward)
            matrix = back * per_pixel[:, None]
            shift = (back @ (centres - u[:, 3:5] * (c.translate * side))[:, :, None])[:, :, 0]
        else:
            matrix, shift = torch.diag_embed(per_pixel), centres
        outside = "zeros" if self._moves or c.pad else "border"
        taps = max(1, round(side / size / (1 - c.scale)))  # bilinear reading is clean while a step is below 1.5 pixels
        return resample(images.float(), matrix, shift, size, outside, taps=taps)

    def _colour(self, images: Tensor, draws: Draws) -> Tensor:
        c, u = self._on, draws.of("colour")
        factors = (between(u[:, i], 1 - x, 1 + x) for i, x in enumerate((c.brightness, c.contrast, c.saturation)))
        return jitter(images.float(), *factors, hue=between(u[:, 3], -c.hue, c.hue))

    def _mixing(self, images: Tensor, draws: Draws, share: Tensor, cut: Tensor) -> Tensor:
        """What each pixel keeps of itself, (n, 1, 1, 1) or (n, 1, H, W)."""
        up = mixup_weights(share)
        if not self._on.cutmix:
            return up
        boxes = cutmix_weights(share, draws.of("mix")[:, 1:3], *images.shape[2:])
        return torch.where(cut[:, None, None, None], boxes, up)


def views(images: Tensor, config: AugmentConfig) -> list[Tensor]:
    """Test-time augmentation: the images, and their mirror images where training mirrored them. Any (N, C, H, W)."""
    return [images.flip(axes) if axes else images for axes in mirrors(config)]


def mirrors(config: AugmentConfig) -> list[tuple[int, ...]]:
    """Axes of an image along which it is mirrored for each of its `views`; the first is the image itself."""
    seen: list[tuple[int, ...]] = [()]
    if config.flip in ("lr", "both"):
        seen += [(*axes, -1) for axes in seen]
    if config.flip in ("ud", "both"):
        seen += [(*axes, -2) for axes in seen]
    return seen
