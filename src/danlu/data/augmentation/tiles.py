"""Canvases composed of resized windows of images, for the geometric augmentation of pixels, boxes and masks.

A tile resizes a window of an image to a rectangle of the canvas; both have integer pixel coordinates. Each tile is
therefore one exact map per axis (x' = gain x + shift, with an optional flip) that pixels and boxes share. A canvas has
one tile, or four (mosaic); pixels outside the tiles are grey.
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
from danlu.pose.cameras import resized_camera

MIN_VISIBLE_FRACTION = 0.2  # of the area of its box; a clipped object with less is dropped
MIN_OBJECT_SIDE = 2.0  # pixels; an object that clipping or reduction makes narrower is dropped


@dataclass(frozen=True)
class Tiles:
    """K tiles on each of n canvases, as tensors on the CPU.

    source: index of the image, int64 (n, K). flipped: left-right and up-down flip, applied first, bool (n, K, 2).
    window: x1, y1, x2, y2 in the (flipped) image, int64 (n, K, 4). target: rectangle on the canvas, int64 (n, K, 4); a
    tile with an empty one is not drawn. image, canvas: their sides in pixels.
    """

    source: Tensor
    flipped: Tensor
    window: Tensor
    target: Tensor
    image: int
    canvas: int

    @classmethod
    def of(cls, rectangle: Tensor, clip: Tensor, source: Tensor, flipped: Tensor, image: int, canvas: int) -> Tiles:
        """Round rectangles of images on the canvas to tiles with integer coordinates.

        rectangle: of the whole image on the canvas, float (n, K, 4), in pixels of the canvas. clip: the rectangle of
        the canvas that the tile may fill, integers (n, K, 4).
        """
        target = _clip(rectangle, clip).round()
        gain = (rectangle[..., 2:] - rectangle[..., :2]) / image
        window = ((target - _twice(rectangle[..., :2])) / _twice(gain)).round()
        first = window[..., :2].clamp(0, image - 1)  # a window is never empty
        window = torch.cat((first, window[..., 2:].clamp(max=image).maximum(first + 1)), -1)
        return cls(source, flipped, window.long(), target.long(), image, canvas)

    def rows(self, rows: slice) -> Tiles:
        """Select the tiles of some of the canvases."""
        parts = {f.name: getattr(self, f.name)[rows] for f in fields(self)[:4]}
        return replace(self, **parts)

    def render(self, images: Tensor) -> Tensor:
        """Draw the canvases, uint8 (n, C, canvas, canvas), from images, uint8 (N, C, S, S).

        A tile with a gain of 1 copies its pixels without resampling.
        """
        canvases = images.new_full((len(self.source), images.shape[1], self.canvas, self.canvas), PAD)
        for i, _, source, flipped, window, target in self._drawn():
            canvases[i][_pixels(target)] = _resized(_flip(images[source], flipped)[_pixels(window)], target)
        return canvases

    def render_labels(self, maps: Tensor, outside: int) -> Tensor:
        """Draw label maps, uint8 (N, S, S), on the canvases, uint8 (n, canvas, canvas), to the nearest pixel.

        outside: value of the pixels outside the tiles.
        """
        canvases = maps.new_full((len(self.source), self.canvas, self.canvas), outside)
        for i, _, source, flipped, window, target in self._drawn():
            shown = _flip(maps[source], flipped)[_pixels(window)]
            x1, y1, x2, y2 = target
            shown = F.interpolate(shown[None, None], (y2 - y1, x2 - x1), mode="nearest-exact")[0, 0]
            canvases[i][_pixels(target)] = shown
        return canvases

    def transform_objects(self, objects: ObjectBatch) -> ObjectBatch:
        """Map the objects of the N images to the n canvases, clipped at the edges of their tiles.

        An object with less than `MIN_VISIBLE_FRACTION` of its area or `MIN_OBJECT_SIDE` pixels of a side left becomes
        padding. With masks, the box of a clipped object is recomputed from its mask, and an object with an empty mask
        is dropped. Region proposals are clipped.
        """
        sides = objects.boxes[..., 2:] - objects.boxes[..., :2]
        moved = self.boxes(objects.boxes)  # (n, K, M, 4)
        clipped = _clip(moved, self.target[:, :, None].to(moved.dtype))
        visible = _area(clipped)
        kept = (visible > 0) & (visible >= MIN_VISIBLE_FRACTION * _area(moved))
        kept &= _wide_enough(clipped, sides[self.source])
        kept &= (objects.labels != PADDING)[self.source]
        labels, ignore = (x[self.source].flatten(1) for x in (objects.labels, objects.ignore))
        poses = None if objects.poses is None else objects.poses[self.source].flatten(1, 2)
        found, order = pack(ObjectBatch(clipped.flatten(1, 2), labels, ignore, poses=poses), kept.flatten(1))
        found.cameras = None if objects.cameras is None else self._cameras(objects.cameras)
        if objects.masks is not None:
            found.masks = self._masks(objects.masks, order, found.labels != PADDING)
            found = _fit_boxes_to_masks(found, (clipped != moved).any(-1).flatten(1).gather(1, order))
        found.regions = None if objects.regions is None else self._regions(objects.regions)
        return found

    def boxes(self, boxes: Tensor) -> Tensor:
        """Map boxes of the images, float (N, M, 4), to the canvases, (n, K, M, 4), without clipping."""
        boxes = flip_boxes(boxes[self.source], self.flipped[:, :, None], self.image)
        window, target = (x[:, :, None].to(boxes.dtype) for x in (self.window, self.target))
        gain = (target[..., 2:] - target[..., :2]) / (window[..., 2:] - window[..., :2])
        return (boxes - _twice(window[..., :2])) * _twice(gain) + _twice(target[..., :2])

    def _cameras(self, cameras: Tensor) -> Tensor:
        """Map the intrinsics (N, 3, 3) of images to those of canvases with one tile that is not flipped, (n, 3, 3)."""
        window, target = (x[:, 0].to(cameras.dtype) for x in (self.window, self.target))
        gain = (target[:, 2:] - target[:, :2]) / (window[:, 2:] - window[:, :2])
        return resized_camera(cameras[self.source[:, 0]], gain, target[:, :2] - gain * window[:, :2])

    def _regions(self, regions: Tensor) -> Tensor:
        """Map regions (N, P, 4) to (n, K P, 4), clipped to their tiles; zeros for those that become too small."""
        clipped = _clip(self.boxes(regions), self.target[:, :, None].to(regions.dtype))
        kept = ((clipped[..., 2:] - clipped[..., :2]) >= MIN_OBJECT_SIDE).all(-1, keepdim=True)
        return (clipped * kept).flatten(1, 2)

    def _masks(self, masks: Tensor, order: Tensor, kept: Tensor) -> Tensor:
        """Map masks, uint8 (N, M, S, S), to the canvases, (n, m, canvas, canvas).

        order: tile * M + index of each object, int64 (n, m). kept: False for padding, bool (n, m).
        """
        slots_per_tile = masks.shape[1]
        moved = masks.new_zeros(*order.shape, self.canvas, self.canvas)
        tiles, numbers = order // slots_per_tile, order % slots_per_tile
        for i, k, source, flipped, window, target in self._drawn():
            slots = (kept[i] & (tiles[i] == k)).nonzero()[:, 0]
            if len(slots):
                shown = _flip(masks[source], flipped)[_pixels(window)][numbers[i, slots].to(masks.device)]
                x1, y1, x2, y2 = target
                shown = F.interpolate(shown[:, None], (y2 - y1, x2 - x1), mode="nearest-exact")[:, 0]
                moved[i, slots.to(masks.device), y1:y2, x1:x2] = shown
        return moved

    def _drawn(self) -> Iterator[tuple[int, int, int, list[bool], list[int], list[int]]]:
        """Iterate over the tiles that are not empty: canvas, tile, source, flips, window and target."""
        sides = self.target[..., 2:] - self.target[..., :2]
        numbers = (sides > 0).all(-1).nonzero()
        tables = (self.source, self.flipped, self.window, self.target)
        columns = (x[numbers[:, 0], numbers[:, 1]].tolist() for x in tables)
        for (i, k), *tile in zip(numbers.tolist(), *columns):
            yield i, k, *tile


def flip_boxes(boxes: Tensor, flipped: Tensor, side: int) -> Tensor:
    """Map boxes, float (..., 4), to the flipped image. flipped: left-right and up-down, bool (..., 2)."""
    return torch.where(_twice(flipped), side - boxes[..., [2, 3, 0, 1]], boxes)


def pack(objects: ObjectBatch, kept: Tensor) -> tuple[ObjectBatch, Tensor]:
    """Drop objects and move the others to the front, followed by padding. kept: bool (n, M).

    Returns a batch of m objects per image, where m is the max number of kept ones and at least 1, and their previous
    indices, int64 (n, m).
    """
    order = kept.byte().sort(dim=1, descending=True, stable=True).indices[:, : max(1, int(kept.sum(1).max()))]
    kept = kept.gather(1, order)
    boxes = objects.boxes.gather(1, order[..., None].expand(-1, -1, 4)) * kept[..., None]
    labels = objects.labels.gather(1, order).masked_fill(~kept, PADDING)
    packed = ObjectBatch(boxes, labels, objects.ignore.gather(1, order) & kept, cameras=objects.cameras)
    if objects.poses is not None:
        chosen = objects.poses.gather(1, order[..., None, None].expand(-1, -1, 3, 4))
        packed.poses = chosen * kept[..., None, None]
    if objects.masks is not None:
        packed.masks = pick(objects.masks, torch.arange(len(order))[:, None], order, kept)
    return packed, order


def pick(masks: Tensor, image: Tensor, number: Tensor, kept: Tensor) -> Tensor:
    """Gather masks, uint8 (N, M, H, W), to (n, m, H, W) by image and number, int64 (n, m); zeros where not kept."""
    picked = masks[image.to(masks.device), number.to(masks.device)]
    picked[~kept.to(masks.device)] = 0
    return picked


def _fit_boxes_to_masks(objects: ObjectBatch, clipped: Tensor) -> ObjectBatch:
    """Shrink the boxes of clipped objects to their masks and drop objects with an empty mask."""
    assert objects.masks is not None
    bounds = mask_boxes(objects.masks).to(objects.boxes.device)
    boxes = torch.where(clipped[..., None], bounds, objects.boxes)
    real = objects.labels != PADDING
    kept = real & (bounds[..., 2] > 0) & (~clipped | ((bounds[..., 2:] - bounds[..., :2]) >= MIN_OBJECT_SIDE).all(-1))
    fitted = replace(objects, boxes=boxes)
    return fitted if torch.equal(kept, real) else pack(fitted, kept)[0]


def mask_boxes(masks: Tensor) -> Tensor:
    """Compute bounding boxes, float32 (..., 4), of masks, uint8 (..., H, W) of 0 and 1; zeros for an empty mask."""
    edges = []
    for occupied in (masks.amax(-2), masks.amax(-1)):  # columns, then rows, that contain a 1
        side = occupied.shape[-1]
        first, last = occupied.argmax(-1), side - occupied.flip(-1).argmax(-1)
        edges.append(torch.stack((first, last), -1) * occupied.amax(-1, keepdim=True))
    return torch.stack((edges[0], edges[1]), -1).flatten(-2).float()


def _clip(boxes: Tensor, bounds: Tensor) -> Tensor:
    """Clip boxes to bounds; the result is empty if they do not intersect."""
    low, high = _twice(bounds[..., :2]), _twice(bounds[..., 2:])
    return boxes.maximum(low).minimum(high)


def _wide_enough(boxes: Tensor, before: Tensor) -> Tensor:
    """Return whether both sides are at least `MIN_OBJECT_SIDE` pixels, or not smaller than `before`, (..., 2)."""
    return ((boxes[..., 2:] - boxes[..., :2]) >= (0.99 * before).clamp(max=MIN_OBJECT_SIDE)).all(-1)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


def _twice(pairs: Tensor) -> Tensor:
    """Repeat x, y as x, y, x, y."""
    return torch.cat((pairs, pairs), -1)


def _pixels(box: list[int]) -> tuple[EllipsisType, slice, slice]:
    x1, y1, x2, y2 = box
    return (..., slice(y1, y2), slice(x1, x2))


def _flip(image: Tensor, flipped: list[bool]) -> Tensor:
    axes = [axis for axis, on in zip((-1, -2), flipped) if on]
    return image.flip(axes) if axes else image


def _resized(window: Tensor, target: list[int]) -> Tensor:
    """Resize uint8 (C, h, w) to the size of the target, antialiased. On a CPU the kernel for uint8 is faster."""
    x1, y1, x2, y2 = target
    if window.shape[1:] == (y2 - y1, x2 - x1):
        return window
    exact = window if window.device.type == "cpu" else window.float()
    resized = F.interpolate(exact[None], (y2 - y1, x2 - x1), mode="bilinear", antialias=True)[0]
    return resized if resized.dtype == torch.uint8 else resized.round_().clamp_(0, 255).to(torch.uint8)
