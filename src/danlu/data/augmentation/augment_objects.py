"""Augmentation for detection and segmentation: images, boxes and masks of a batch move together.

As in `augment`, random numbers are drawn for the whole batch of all processes, and each setting has its own columns.
Order of operations: flip, zoom out, crop, zoom and shift, or mosaic, implemented as one resizing per image (`tiles`);
then colour jitter, normalisation, random erasing and mixup.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from danlu.config import AugmentConfig
from danlu.data.augmentation import object_crops
from danlu.data.augmentation.augment import CPU_CHUNK, Normalise
from danlu.data.augmentation.colour import jitter
from danlu.data.augmentation.geometry import bernoulli, between
from danlu.data.augmentation.mixing import erase
from danlu.data.augmentation.pose_turns import turned
from danlu.data.augmentation.presets import WHOLE_AREA, multi_scale_sizes, resolve_objects
from danlu.data.augmentation.tiles import Tiles, flip_boxes, pack, pick
from danlu.objects import PADDING, ObjectBatch

# Columns of each setting in the matrix of uniforms.
_CROP = 2 + 4 * object_crops.CROP_CANDIDATES
_COUNTS = {"flip": 2, "zoom_out": 4, "crop": _CROP, "move": 3, "colour": 4, "erase": 5, "mosaic": 3}
COLUMNS = {name: slice(end - _COUNTS[name], end) for name, end in zip(_COUNTS, accumulate(_COUNTS.values()))}
WIDTH = sum(_COUNTS.values())
MIN_MIX_WEIGHT = 0.2  # of the second image in mixup; with a lower weight its objects are invisible: no mixing


@dataclass(frozen=True)
class ObjectDraws:
    """Random numbers of n images of a batch.

    uniform: float32 (n, WIDTH) in [0, 1). side: of the batch's images, in pixels. mix_ratio: weight of an image itself
    in mixup, float32 (n,) in [0.5, 1]; None: no mixup. turn: of the rotation of each image, float32 (n,) in [0, 1), or
    None. first: position of the first image in the batch of all
    processes.
    """

    uniform: Tensor
    side: int
    mix_ratio: Tensor | None = None
    first: int = 0
    turn: Tensor | None = None

    def rows(self, rows: slice) -> ObjectDraws:
        """Select the random numbers of some images, for example of one process."""
        mix_ratio = None if self.mix_ratio is None else self.mix_ratio[rows]
        turn = None if self.turn is None else self.turn[rows]
        return ObjectDraws(self.uniform[rows], self.side, mix_ratio, self.first + (rows.start or 0), turn)

    def of(self, name: str) -> Tensor:
        """Select the columns of one setting."""
        return self.uniform[:, COLUMNS[name]]

    def partner(self, distance: int) -> Tensor:
        """Index of each image's partner, int64 (n,): position XOR `distance` in the batch, so partners form pairs.

        distance: 1, 2 and 3 are the three others of a group of four, 4 is an image of the adjacent group. An image is
        its own partner if the partner is on another process or beyond the end of the batch.
        """
        here = torch.arange(self.first, self.first + len(self.uniform))
        other = (here ^ distance) - self.first
        return torch.where((other >= 0) & (other < len(here)), other, here - self.first)


class AugmentObjects:
    """Random transform of training images and their objects.

    config: settings; those that are None are filled by `resolve_objects`. size: side of the output in pixels. mean,
    std: per channel, of images in [0, 1]. search: region proposals, a function of the normalised images before
    augmentation that returns float32 (n, P, 4); the regions are transformed like boxes. poses: objects have poses in
    space, which turning the image, cropping and resizing change, but which have no mirror image.
    Raises Refusal for invalid settings.
    """

    def __init__(
        self,
        config: AugmentConfig,
        *,
        size: int,
        channels: int,
        mean: Sequence[float],
        std: Sequence[float],
        search: Callable[[Tensor], Tensor] | None = None,
        poses: bool = False,
    ) -> None:
        self.config = self._resolve(config, size, channels, poses)
        self._on: Any = self.config  # resolved: no field is None, although their types are optional
        self.size, self.search = size, search
        self.normalise = Normalise(size=size, mean=mean, std=std)
        c = self._on
        self._colours = bool(c.brightness or c.contrast or c.saturation or c.hue)

    def _resolve(self, config: AugmentConfig, size: int, channels: int, poses: bool) -> AugmentConfig:
        """Fill settings that are None."""
        return resolve_objects(config, size=size, channels=channels, poses=poses)

    def draw(self, rng: np.random.Generator, n: int) -> ObjectDraws:
        """Draw the random numbers of a batch of n images (over all processes)."""
        c = self._on
        uniform = torch.from_numpy(rng.random((n, WIDTH), dtype=np.float32))
        choices = multi_scale_sizes(self.size, c.multi_scale)
        side = choices[int(rng.integers(len(choices)))]
        if not c.mixup:
            turn = torch.from_numpy(rng.random(n, dtype=np.float32)) if c.rotate else None
            return ObjectDraws(uniform, side, turn=turn)
        mix_ratio = torch.from_numpy(rng.beta(c.mixup, c.mixup, n).astype(np.float32))
        mix_ratio = mix_ratio.maximum(1 - mix_ratio)  # the image itself has the larger weight
        return ObjectDraws(uniform, side, mix_ratio.masked_fill(mix_ratio > 1 - MIN_MIX_WEIGHT, 1.0))

    def __call__(
        self, source: Tensor, index: Tensor | None, targets: ObjectBatch, draws: ObjectDraws | None
    ) -> tuple[Tensor, ObjectBatch]:
        """Augment and normalise the selected images and their objects.

        source: uint8 (N, C, S, S), the whole set or a decoded batch, S at least the side of the output. index: of the
        images to transform, int64 (n,); None: all. targets: the objects of these n images, in pixels of S. draws:
        random numbers of these n images; None: no augmentation.
        Returns float32 (n, C, side, side) and the objects, padded to the max number per image; side is `size`, or
        that of the batch in multi-scale training.
        """
        images = source if index is None else source.index_select(0, index)
        home = targets.boxes.device
        # Boxes are small and stay on the CPU, where the loop over the images needs them.
        regions = self.search(self.normalise.scale(images)).cpu() if self.search is not None else None
        boxes, labels, ignore = (x.cpu() for x in (targets.boxes, targets.labels, targets.ignore))
        poses, cameras = (None if x is None else x.cpu() for x in (targets.poses, targets.cameras))
        targets = ObjectBatch(boxes, labels, ignore, targets.masks, regions, poses, cameras)
        if draws is not None and draws.turn is not None and poses is not None:
            angles = between(draws.turn, -self._on.rotate, self._on.rotate).deg2rad()
            images, targets = turned(images, targets, angles)
            index = None
        tiles = self._tiles(images.shape[-1], targets, draws)
        inputs, objects = self._in_chunks(images, tiles, draws), tiles.transform_objects(targets)
        if draws is not None and draws.mix_ratio is not None:
            inputs, objects = mixup(inputs, objects, draws.mix_ratio, self._mixup_partner(draws))
        return inputs, objects.to(home)

    def _in_chunks(self, images: Tensor, tiles: Tiles, draws: ObjectDraws | None) -> Tensor:
        """Compute the normalised float32 images, on a CPU a few at a time so that they stay in its cache."""
        n, side = len(tiles.source), tiles.canvas
        chunk = max(1, CPU_CHUNK // (images.shape[1] * side * side)) if images.device.type == "cpu" else max(1, n)
        done = torch.empty(n, images.shape[1], side, side, device=images.device)
        for start in range(0, n, chunk):
            rows = slice(start, min(start + chunk, n))
            done[rows] = self._change_pixels(tiles.rows(rows).render(images), draws and draws.rows(rows))
        return done

    def _change_pixels(self, images: Tensor, draws: ObjectDraws | None) -> Tensor:
        """Apply colour jitter, normalisation and random erasing to uint8 images."""
        c = self._on
        if draws is None:
            return self.normalise.scale(images)
        if self._colours:
            u = draws.of("colour").to(images.device)
            factors = (between(u[:, i], 1 - x, 1 + x) for i, x in enumerate((c.brightness, c.contrast, c.saturation)))
            images = jitter(images.float(), *factors, hue=between(u[:, 3], -c.hue, c.hue))
        images = self.normalise.scale(images)
        return erase(images, draws.of("erase").to(images.device), c.erase) if c.erase else images

    def _tiles(self, image: int, targets: ObjectBatch, draws: ObjectDraws | None) -> Tiles:
        """Compute the tiles of each canvas. image: side of the source images in pixels."""
        n, side = len(targets), self.size if draws is None else draws.side
        clip = torch.tensor([0.0, 0.0, side, side]).expand(n, 1, 4)
        itself, flipped = torch.arange(n)[:, None], torch.zeros(n, 2, dtype=torch.bool)
        if draws is None:
            return Tiles.of(object_crops.full_canvas(n)[:, None] * side, clip, itself, flipped[:, None], image, side)
        for axis, names in enumerate((("lr", "both"), ("ud", "both"))):
            if self._on.flip in names:
                flipped[:, axis] = bernoulli(draws.of("flip")[:, axis], 0.5)
        boxes = flip_boxes(targets.boxes, flipped[:, None], image) / image
        single = self._rectangles(boxes, targets.valid, draws)[:, None] * side
        if not self._on.mosaic:
            return Tiles.of(single, clip, itself, flipped[:, None], image, side)
        # In a canvas without mosaic the other three tiles are clipped to nothing.
        u = draws.of("mosaic")
        is_mosaic = bernoulli(u[:, 0], self._on.mosaic)[:, None, None]
        four, clips = object_crops.mosaic(u[:, 1:], self._zoom(draws), side)
        single_clips = torch.cat((clip, torch.zeros(n, 3, 4)), 1)
        sources = torch.stack([draws.partner(k) for k in range(4)], 1)
        rectangles, clips = torch.where(is_mosaic, four, single), torch.where(is_mosaic, clips, single_clips)
        return Tiles.of(rectangles, clips, sources, flipped[sources], image, side)

    def _rectangles(self, boxes: Tensor, valid: Tensor, draws: ObjectDraws) -> Tensor:
        """Rectangle of each image on its canvas, (n, 4), in canvas sides. boxes: (n, M, 4), in image sides."""
        c, found = self._on, object_crops.full_canvas(len(boxes))
        if c.zoom_out > 1:
            found = object_crops.zoom_out(draws.of("zoom_out"), c.zoom_out)
        if tuple(c.area) != WHOLE_AREA:
            u = draws.of("crop")
            crop = object_crops.random_crops(u[:, 2:].reshape(len(u), -1, 4), c.area, c.ratio)
            if c.iou_crop:
                on_canvas = boxes * (found[:, 2:] - found[:, :2]).repeat(1, 2)[:, None] + found[:, None, [0, 1, 0, 1]]
                crop = object_crops.choose_crop(u[:, :2], crop, on_canvas, valid, c.iou_crop)
            else:
                crop = crop[:, 0]
            found = object_crops.apply_crop(found, crop)
        if c.scale or c.translate:
            shift = between(draws.of("move")[:, 1:], -c.translate, c.translate)
            found = object_crops.zoom_and_shift(found, self._zoom(draws), shift)
        return found

    def _zoom(self, draws: ObjectDraws) -> Tensor:
        return between(draws.of("move")[:, 0], 1 - self._on.scale, 1 + self._on.scale)

    def _mixup_partner(self, draws: ObjectDraws) -> Tensor:
        """Partner of each image in mixup: of the adjacent group of four, whose mosaics show other images."""
        far, near = draws.partner(4), draws.partner(1)
        return torch.where(far == torch.arange(len(far)), near, far)


def mixup(images: Tensor, objects: ObjectBatch, mix_ratio: Tensor, partner: Tensor) -> tuple[Tensor, ObjectBatch]:
    """Blend each image with its partner and join their objects (Zhang et al. 2019; YOLOX, Ge et al. 2021).

    images: float (n, C, H, W), modified in place. mix_ratio: weight of the image itself, (n,); 1: not mixed. partner:
    index of the other image, int64 (n,).
    """
    mixed = (mix_ratio < 1) & (partner != torch.arange(len(partner)))
    if not mixed.any():
        return images, objects
    rows, others, weights = (x[mixed].to(images.device) for x in (torch.arange(len(partner)), partner, mix_ratio))
    images[rows] = torch.lerp(images[others], images[rows], weights[:, None, None, None])
    return images, _union(objects, partner, mixed)


def _union(objects: ObjectBatch, partner: Tensor, mixed: Tensor) -> ObjectBatch:
    """Append the partner's objects to those of each image that is mixed. mixed: bool (n,)."""
    partner_labels = objects.labels[partner].masked_fill(~mixed[:, None], PADDING)
    both = ObjectBatch(
        torch.cat((objects.boxes, objects.boxes[partner]), 1),
        torch.cat((objects.labels, partner_labels), 1),
        torch.cat((objects.ignore, objects.ignore[partner]), 1),
    )
    packed, order = pack(both, both.labels != PADDING)
    if objects.regions is not None:
        packed.regions = torch.cat((objects.regions, objects.regions[partner] * mixed[:, None, None]), 1)
    if objects.masks is not None:
        slots, here = objects.labels.shape[1], torch.arange(len(partner))
        image = torch.where(order < slots, here[:, None], partner[:, None])
        packed.masks = pick(objects.masks, image, order % slots, packed.labels != PADDING)
    return packed
