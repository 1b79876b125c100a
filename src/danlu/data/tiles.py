"""Parts of images laid on new canvases: every movement of detection's augmentation, for pixels, boxes and masks.

A tile takes a window of an image, in whole pixels, and fills a rectangle of the canvas with it, in whole pixels too.
So each tile is one exact map per axis (x' = gain x + shift, perhaps mirrored), and boxes move by the very map that the
resized pixels follow. A canvas has one tile, or four (mosaic); what no tile covers is grey.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from types import EllipsisType

import torch
import torch.nn.functional as F
from torch import Tensor

from danlu.data.canvas import PAD
from danlu.objects import PADDING, ObjectBatch

SEEN = 0.2  # smallest fraction of its box that an object cut off by an edge must show to be kept
SIDE = 2.0  # pixels; an object narrower than this, by a cut or a reduction, is dropped


@dataclass(frozen=True)
class Tiles:
    """K tiles on each of n canvases, on the processor.

    source: int64 (n, K), the image shown. mirrored: bool (n, K, 2), left-right and up-down, before anything else.
    window: int64 (n, K, 4), x1, y1, x2, y2 in the (mirrored) image. target: int64 (n, K, 4) on the canvas; one
    without area shows nothing. image, canvas: their sides in pixels.
    """

    source: Tensor
    mirrored: Tensor
    window: Tensor
    target: Tensor
    image: int
    canvas: int

    @classmethod
    def of(cls, place: Tensor, clip: Tensor, source: Tensor, mirrored: Tensor, image: int, canvas: int) -> Tiles:
        """Whole pixels nearest to what is wanted.

        place: float (n, K, 4), where the whole image would lie on the canvas, in its pixels. clip: (n, K, 4) whole
        numbers, the rectangle of the canvas that the tile may fill.
        """
        target = _within(place, clip).round()
        gain = (place[..., 2:] - place[..., :2]) / image
        window = ((target - _twice(place[..., :2])) / _twice(gain)).round()
        first = window[..., :2].clamp(0, image - 1)  # a window is never empty
        window = torch.cat((first, window[..., 2:].clamp(max=image).maximum(first + 1)), -1)
        return cls(source, mirrored, window.long(), target.long(), image, canvas)

    def rows(self, rows: slice) -> Tiles:
        """The tiles of some of the canvases."""
        parts = {f.name: getattr(self, f.name)[rows] for f in fields(self)[:4]}
        return replace(self, **parts)

    def lay(self, images: Tensor) -> Tensor:
        """uint8 (N, C, S, S) -> uint8 (n, C, canvas, canvas); pixels that keep their size are copied as they are."""
        laid = images.new_full((len(self.source), images.shape[1], self.canvas, self.canvas), PAD)
        for i, _, source, mirrored, window, target in self._shown():
            laid[i][_part(target)] = _resized(_mirror(images[source], mirrored)[_part(window)], target)
        return laid

    def move(self, objects: ObjectBatch) -> ObjectBatch:
        """Objects of the N images -> those of the n canvases, cut off at the edges of their tiles.

        An object of which less than `SEEN` is left, or less than `SIDE` pixels of a side, becomes padding. With masks,
        the box of an object that was cut off is that of the mask that is left, and one without a pixel is dropped.
        Of a region stays what is seen of it.
        """
        sides = objects.boxes[..., 2:] - objects.boxes[..., :2]
        moved = self.boxes(objects.boxes)  # (n, K, M, 4)
        left = _within(moved, self.target[:, :, None].to(moved.dtype))
        seen = _area(left)
        kept = (seen > 0) & (seen >= SEEN * _area(moved)) & _wide(left, sides[self.source])
        kept &= (objects.labels != PADDING)[self.source]
        labels, ignore = (x[self.source].flatten(1) for x in (objects.labels, objects.ignore))
        found, order = pack(ObjectBatch(left.flatten(1, 2), labels, ignore), kept.flatten(1))
        if objects.masks is not None:
            found.masks = self._masks(objects.masks, order, found.labels != PADDING)
            found = _fit(found, (left != moved).any(-1).flatten(1).gather(1, order))
        found.regions = None if objects.regions is None else self._regions(objects.regions)
        return found

    def boxes(self, boxes: Tensor) -> Tensor:
        """float (N, M, 4) of the images -> (n, K, M, 4) on the canvas, not cut off."""
        boxes = mirror_boxes(boxes[self.source], self.mirrored[:, :, None], self.image)
        window, target = (x[:, :, None].to(boxes.dtype) for x in (self.window, self.target))
        gain = (target[..., 2:] - target[..., :2]) / (window[..., 2:] - window[..., :2])
        return (boxes - _twice(window[..., :2])) * _twice(gain) + _twice(target[..., :2])

    def _regions(self, regions: Tensor) -> Tensor:
        """float (N, P, 4) -> (n, K P, 4), cut off at the edges of their tiles; zeros for those of which too little is
        seen."""
        left = _within(self.boxes(regions), self.target[:, :, None].to(regions.dtype))
        kept = ((left[..., 2:] - left[..., :2]) >= SIDE).all(-1, keepdim=True)
        return (left * kept).flatten(1, 2)

    def _masks(self, masks: Tensor, order: Tensor, kept: Tensor) -> Tensor:
        """uint8 (N, M, S, S) -> (n, m, canvas, canvas): of each kept object, whose tile and number `order` holds."""
        most = masks.shape[1]
        laid = masks.new_zeros(*order.shape, self.canvas, self.canvas)
        tiles, numbers = order // most, order % most
        for i, k, source, mirrored, window, target in self._shown():
            slots = (kept[i] & (tiles[i] == k)).nonzero()[:, 0]
            if len(slots):
                shown = _mirror(masks[source], mirrored)[_part(window)][numbers[i, slots].to(masks.device)]
                x1, y1, x2, y2 = target
                shown = F.interpolate(shown[:, None], (y2 - y1, x2 - x1), mode="nearest-exact")[:, 0]
                laid[i, slots.to(masks.device), y1:y2, x1:x2] = shown
        return laid

    def _shown(self) -> Iterator[tuple[int, int, int, list[bool], list[int], list[int]]]:
        """Each tile that shows something: its canvas, number, image, mirrors, window and target."""
        sides = self.target[..., 2:] - self.target[..., :2]
        places = (sides > 0).all(-1).nonzero()
        tables = (self.source, self.mirrored, self.window, self.target)
        columns = (x[places[:, 0], places[:, 1]].tolist() for x in tables)
        for (i, k), *tile in zip(places.tolist(), *columns):
            yield i, k, *tile


def mirror_boxes(boxes: Tensor, mirrored: Tensor, side: int) -> Tensor:
    """float (..., 4), bool (..., 2) for left-right and up-down -> boxes of the mirrored image."""
    return torch.where(_twice(mirrored), side - boxes[..., [2, 3, 0, 1]], boxes)


def pack(objects: ObjectBatch, kept: Tensor) -> tuple[ObjectBatch, Tensor]:
    """The kept objects, bool (n, M), moved to the front in their order, and as much padding as is needed behind them.

    Returns a batch of m objects, the most that an image keeps but at least one, and their old numbers, int64 (n, m).
    """
    order = kept.byte().sort(dim=1, descending=True, stable=True).indices[:, : max(1, int(kept.sum(1).max()))]
    kept = kept.gather(1, order)
    boxes = objects.boxes.gather(1, order[..., None].expand(-1, -1, 4)) * kept[..., None]
    labels = objects.labels.gather(1, order).masked_fill(~kept, PADDING)
    packed = ObjectBatch(boxes, labels, objects.ignore.gather(1, order) & kept)
    if objects.masks is not None:
        packed.masks = pick(objects.masks, torch.arange(len(order))[:, None], order, kept)
    return packed, order


def pick(masks: Tensor, image: Tensor, number: Tensor, kept: Tensor) -> Tensor:
    """uint8 (N, M, H, W) -> (n, m, H, W): the masks named by image and number, int64 (n, m), zeros where not kept."""
    picked = masks[image.to(masks.device), number.to(masks.device)]
    picked[~kept.to(masks.device)] = 0
    return picked


def _fit(objects: ObjectBatch, cut: Tensor) -> ObjectBatch:
    """The boxes of objects that were cut off shrink to their masks; objects without a mask are dropped."""
    assert objects.masks is not None
    bounds = mask_boxes(objects.masks).to(objects.boxes.device)
    boxes = torch.where(cut[..., None], bounds, objects.boxes)
    real = objects.labels != PADDING
    kept = real & (bounds[..., 2] > 0) & (~cut | ((bounds[..., 2:] - bounds[..., :2]) >= SIDE).all(-1))
    fitted = ObjectBatch(boxes, objects.labels, objects.ignore, objects.masks)
    return fitted if torch.equal(kept, real) else pack(fitted, kept)[0]


def mask_boxes(masks: Tensor) -> Tensor:
    """uint8 (..., H, W) of 0 and 1 -> float32 (..., 4), the smallest box around the ones; zeros for an empty mask."""
    edges = []
    for seen in (masks.amax(-2), masks.amax(-1)):  # the columns, then the rows, that hold a one
        side = seen.shape[-1]
        first, last = seen.argmax(-1), side - seen.flip(-1).argmax(-1)
        edges.append(torch.stack((first, last), -1) * seen.amax(-1, keepdim=True))
    return torch.stack((edges[0], edges[1]), -1).flatten(-2).float()


def _within(boxes: Tensor, bounds: Tensor) -> Tensor:
    """Boxes cut off at the bounds; without area where they do not meet."""
    low, high = _twice(bounds[..., :2]), _twice(bounds[..., 2:])
    return boxes.maximum(low).minimum(high)


def _wide(boxes: Tensor, before: Tensor) -> Tensor:
    """Whether both sides are at least `SIDE` pixels, or as wide as they were `before`, (..., 2)."""
    return ((boxes[..., 2:] - boxes[..., :2]) >= (0.99 * before).clamp(max=SIDE)).all(-1)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


def _twice(pairs: Tensor) -> Tensor:
    """x, y -> x, y, x, y."""
    return torch.cat((pairs, pairs), -1)


def _part(box: list[int]) -> tuple[EllipsisType, slice, slice]:
    x1, y1, x2, y2 = box
    return (..., slice(y1, y2), slice(x1, x2))


def _mirror(image: Tensor, mirrored: list[bool]) -> Tensor:
    axes = [axis for axis, on in zip((-1, -2), mirrored) if on]
    return image.flip(axes) if axes else image


def _resized(window: Tensor, target: list[int]) -> Tensor:
    """uint8 (C, h, w) at the size of the target, antialiased. On a processor the kernel for uint8 is the fast one."""
    x1, y1, x2, y2 = target
    if window.shape[1:] == (y2 - y1, x2 - x1):
        return window
    exact = window if window.device.type == "cpu" else window.float()
    resized = F.interpolate(exact[None], (y2 - y1, x2 - x1), mode="bilinear", antialias=True)[0]
    return resized if resized.dtype == torch.uint8 else resized.round_().clamp_(0, 255).to(torch.uint8)
