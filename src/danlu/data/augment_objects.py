"""Augmentation for detection and segmentation: images, boxes and masks of a batch move together.

As in `augment`, random numbers are drawn for the whole batch of all processes, every setting with columns of its own.
The way of a batch: mirror, zoom out, crop, zoom and shift, or mosaic, all of it one resizing of whole-pixel windows
(`tiles`); then colour, normalisation, erasing, mixup.
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
from danlu.data import placing
from danlu.data.augment import PART, Normalise
from danlu.data.colour import jitter
from danlu.data.geometry import between, coin
from danlu.data.mixing import erase
from danlu.data.presets import WHOLE, resolve_objects, sides
from danlu.data.tiles import Tiles, mirror_boxes, pack, pick
from danlu.objects import PADDING, ObjectBatch

# Every setting's columns in the matrix of uniforms.
_COUNTS = {"flip": 2, "zoom_out": 4, "crop": 2 + 4 * placing.TRIES, "move": 3, "colour": 4, "erase": 5, "mosaic": 3}
COLUMNS = {name: slice(end - _COUNTS[name], end) for name, end in zip(_COUNTS, accumulate(_COUNTS.values()))}
WIDTH = sum(_COUNTS.values())
FAINT = 0.2  # an image that mixup would show fainter than this is left out, for nobody could see its objects


@dataclass(frozen=True)
class Draws:
    """Random numbers of n images of a batch.

    uniform: float32 (n, WIDTH) in [0, 1). side: of all images of the batch. share: float32 (n,) in [0.5, 1], what a
    image keeps of itself in mixup; None: no mixup. first: place of the first image in the whole batch.
    """

    uniform: Tensor
    side: int
    share: Tensor | None = None
    first: int = 0

    def rows(self, rows: slice) -> Draws:
        """The numbers of one process's images."""
        share = None if self.share is None else self.share[rows]
        return Draws(self.uniform[rows], self.side, share, self.first + (rows.start or 0))

    def of(self, name: str) -> Tensor:
        """The columns of one setting."""
        return self.uniform[:, COLUMNS[name]]

    def partner(self, distance: int) -> Tensor:
        """The image beside each, int64 (n,): places in the batch swap in pairs.

        distance: 1, 2 and 3 are the three others of a group of four, 4 is one of the next group. Where that one is not
        here, on another process or beyond the end of the batch, an image is its own partner.
        """
        here = torch.arange(self.first, self.first + len(self.uniform))
        mate = (here ^ distance) - self.first
        return torch.where((mate >= 0) & (mate < len(here)), mate, here - self.first)


class AugmentObjects:
    """The way of training images with objects.

    config: its None are filled by `resolve_objects`. size: side of the output in pixels. mean, std: one number per
    channel, of images in [0, 1]. search: normalised images -> regions in them, float32 (n, P, 4), which move with
    the objects: searched are the images as they are. Raises Refusal for settings that cannot be.
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
    ) -> None:
        self.config = resolve_objects(config, size=size, channels=channels)
        self._on: Any = self.config  # resolved: what the type calls optional is there
        self.size, self.search = size, search
        self.normalise = Normalise(size=size, mean=mean, std=std)
        c = self._on
        self._colours = bool(c.brightness or c.contrast or c.saturation or c.hue)

    def draw(self, rng: np.random.Generator, n: int) -> Draws:
        """Random numbers for a batch of n images, over all processes."""
        c = self._on
        uniform = torch.from_numpy(rng.random((n, WIDTH), dtype=np.float32))
        choices = sides(self.size, c.multi_scale)
        side = choices[int(rng.integers(len(choices)))]
        if not c.mixup:
            return Draws(uniform, side)
        share = torch.from_numpy(rng.beta(c.mixup, c.mixup, n).astype(np.float32))
        share = share.maximum(1 - share)  # the image itself is always the stronger of the two
        return Draws(uniform, side, share.masked_fill(share > 1 - FAINT, 1.0))

    def __call__(
        self, source: Tensor, index: Tensor | None, targets: ObjectBatch, draws: Draws | None
    ) -> tuple[Tensor, ObjectBatch]:
        """source: uint8 (N, C, S, S), the whole set or a decoded batch, S as large as the output or larger. index:
        int64 (n,) of the images wanted, None for all. targets: the objects of these n images, in pixels of S.
        draws: numbers of these n images; None: no augmentation.
        Returns float32 (n, C, side, side) and its objects, padded to the most objects of any image; side is `size`,
        or the batch's own with multi-scale."""
        images = source if index is None else source.index_select(0, index)
        home = targets.boxes.device
        # Places are few numbers: they stay on the processor, as the loop over images needs them there.
        regions = self.search(self.normalise.scale(images)).cpu() if self.search is not None else None
        boxes, labels, ignore = (x.cpu() for x in (targets.boxes, targets.labels, targets.ignore))
        targets = ObjectBatch(boxes, labels, ignore, targets.masks, regions)
        tiles = self._tiles(images.shape[-1], targets, draws)
        shown, objects = self._in_parts(images, tiles, draws), tiles.move(targets)
        if draws is not None and draws.share is not None:
            shown, objects = mixup(shown, objects, draws.share, self._mates(draws))
        return shown, objects.to(home)

    def _in_parts(self, images: Tensor, tiles: Tiles, draws: Draws | None) -> Tensor:
        """Normalised float32, on a processor a few images at a time: what lies in its cache is not fetched again."""
        n, side = len(tiles.source), tiles.canvas
        few = max(1, PART // (images.shape[1] * side * side)) if images.device.type == "cpu" else max(1, n)
        done = torch.empty(n, images.shape[1], side, side, device=images.device)
        for start in range(0, n, few):
            part = slice(start, min(start + few, n))
            done[part] = self._coloured(tiles.rows(part).lay(images), draws and draws.rows(part))
        return done

    def _coloured(self, images: Tensor, draws: Draws | None) -> Tensor:
        """uint8 -> colours changed, normalised, erased."""
        c = self._on
        if draws is None:
            return self.normalise.scale(images)
        if self._colours:
            u = draws.of("colour").to(images.device)
            factors = (between(u[:, i], 1 - x, 1 + x) for i, x in enumerate((c.brightness, c.contrast, c.saturation)))
            images = jitter(images.float(), *factors, hue=between(u[:, 3], -c.hue, c.hue))
        images = self.normalise.scale(images)
        return erase(images, draws.of("erase").to(images.device), c.erase) if c.erase else images

    def _tiles(self, image: int, targets: ObjectBatch, draws: Draws | None) -> Tiles:
        """Which part of which image lies where. image: side of the source's images in pixels."""
        n, side = len(targets), self.size if draws is None else draws.side
        clip = torch.tensor([0.0, 0.0, side, side]).expand(n, 1, 4)
        itself, mirrored = torch.arange(n)[:, None], torch.zeros(n, 2, dtype=torch.bool)
        if draws is None:
            return Tiles.of(placing.filled(n)[:, None] * side, clip, itself, mirrored[:, None], image, side)
        for axis, names in enumerate((("lr", "both"), ("ud", "both"))):
            if self._on.flip in names:
                mirrored[:, axis] = coin(draws.of("flip")[:, axis], 0.5)
        place = self._place(mirror_boxes(targets.boxes, mirrored[:, None], image) / image, targets.valid, draws)
        place = place[:, None] * side
        if not self._on.mosaic:
            return Tiles.of(place, clip, itself, mirrored[:, None], image, side)
        # An image that is no mosaic is one whose other three tiles may fill nothing.
        u = draws.of("mosaic")
        four = coin(u[:, 0], self._on.mosaic)[:, None, None]
        places, clips = placing.mosaic(u[:, 1:], self._zoom(draws), side)
        alone = torch.cat((clip, torch.zeros(n, 3, 4)), 1)
        sources = torch.stack([draws.partner(k) for k in range(4)], 1)
        return Tiles.of(
            torch.where(four, places, place), torch.where(four, clips, alone), sources, mirrored[sources], image, side
        )

    def _place(self, boxes: Tensor, valid: Tensor, draws: Draws) -> Tensor:
        """Where each image lies, in sides of the canvas, (n, 4). boxes: (n, M, 4), in sides of the image."""
        c, place = self._on, placing.filled(len(boxes))
        if c.zoom_out > 1:
            place = placing.zoom_out(draws.of("zoom_out"), c.zoom_out)
        if tuple(c.area) != WHOLE:
            u = draws.of("crop")
            crop = placing.candidates(u[:, 2:].reshape(len(u), -1, 4), c.area, c.ratio)
            if c.iou_crop:
                on_canvas = boxes * (place[:, 2:] - place[:, :2]).repeat(1, 2)[:, None] + place[:, None, [0, 1, 0, 1]]
                crop = placing.chosen(u[:, :2], crop, on_canvas, valid, c.iou_crop)
            else:
                crop = crop[:, 0]
            place = placing.cropped(place, crop)
        if c.scale or c.translate:
            shift = between(draws.of("move")[:, 1:], -c.translate, c.translate)
            place = placing.moved(place, self._zoom(draws), shift)
        return place

    def _zoom(self, draws: Draws) -> Tensor:
        return between(draws.of("move")[:, 0], 1 - self._on.scale, 1 + self._on.scale)

    def _mates(self, draws: Draws) -> Tensor:
        """With whom each image is mixed: one of another group of four, whose mosaics show other images."""
        far, near = draws.partner(4), draws.partner(1)
        return torch.where(far == torch.arange(len(far)), near, far)


def mixup(images: Tensor, objects: ObjectBatch, share: Tensor, partner: Tensor) -> tuple[Tensor, ObjectBatch]:
    """Blend each image with its partner; it has the objects of both (Zhang et al. 2019; YOLOX, Ge et al. 2021).

    images: float (n, C, H, W), changed in place. share: (n,), what an image keeps of itself; at 1 it stays as it is.
    """
    mixed = (share < 1) & (partner != torch.arange(len(partner)))
    if not mixed.any():
        return images, objects
    rows, mates, weights = (x[mixed].to(images.device) for x in (torch.arange(len(partner)), partner, share))
    images[rows] = torch.lerp(images[mates], images[rows], weights[:, None, None, None])
    return images, _union(objects, partner, mixed)


def _union(objects: ObjectBatch, partner: Tensor, mixed: Tensor) -> ObjectBatch:
    """Each image's objects and, where it is `mixed`, bool (n,), after them its partner's."""
    theirs = objects.labels[partner].masked_fill(~mixed[:, None], PADDING)
    both = ObjectBatch(
        torch.cat((objects.boxes, objects.boxes[partner]), 1),
        torch.cat((objects.labels, theirs), 1),
        torch.cat((objects.ignore, objects.ignore[partner]), 1),
    )
    packed, order = pack(both, both.labels != PADDING)
    if objects.regions is not None:
        packed.regions = torch.cat((objects.regions, objects.regions[partner] * mixed[:, None, None]), 1)
    if objects.masks is not None:
        most, here = objects.labels.shape[1], torch.arange(len(partner))
        owner = torch.where(order < most, here[:, None], partner[:, None])
        packed.masks = pick(objects.masks, owner, order % most, packed.labels != PADDING)
    return packed
