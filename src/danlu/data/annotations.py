"""Annotations of one image: boxes, classes, and outlines of objects, which are rasterised to masks on demand.

Coordinates are continuous pixels of the original image after its EXIF rotation. A pixel belongs to an object if its
centre does, for every kind of outline. An object's mask is therefore the same on every canvas, except along its edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from danlu.data.canvas import Placement
from danlu.message import message
from danlu.objects import Objects
from danlu.pose.rigid import RigidPoses
from danlu.refuse import Failure

MAX_MASK_PIXELS = 150_000_000  # of one mask file, which is read as 8 bytes per pixel
MAX_COORDINATE = 1e9  # pixels; coordinates are clipped to it, because sums of larger ones would overflow


@dataclass(frozen=True)
class Polygons:
    """Union of polygons. rings: x and y of the corners of each polygon, float64 (K, 2)."""

    rings: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class RunLengths:
    """Run-length encoded mask (COCO): alternating lengths of zeros and ones in column-major order.

    counts: integers (K,), the first of zeros. size: (height, width) of the image.
    """

    counts: np.ndarray
    size: tuple[int, int]


@dataclass(frozen=True)
class MaskFile:
    """Pixels with the value `instance` in an image file."""

    path: Path
    instance: int


@dataclass(frozen=True)
class Raster:
    """Mask of a rectangle of the image. pixels: 0 and 1, uint8 (h, w). left, top: its first column and row."""

    pixels: np.ndarray
    left: int = 0
    top: int = 0


Shape = Polygons | RunLengths | MaskFile | Raster


@dataclass(frozen=True)
class Annotation:
    """M objects of one image.

    boxes: x1, y1, x2, y2 in pixels of the original image, float32 (M, 4). labels: class indices, int64 (M,). ignore:
    objects excluded from loss and metrics, such as crowds, bool (M,). size: (height, width) of the image. shapes:
    outline of each object, or None without masks. poses: centre x, centre y and angle in radians (from x to y),
    float32 (M, 3), or None. rigid: poses in space and the camera, or None.
    """

    boxes: Tensor
    labels: Tensor
    ignore: Tensor
    size: tuple[int, int]
    shapes: tuple[Shape, ...] | None = None
    poses: Tensor | None = None
    rigid: RigidPoses | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def objects(self, placement: Placement) -> Objects:
        """Map the objects to a canvas, with masks if the annotation has outlines. Raises Failure as `masks` does."""
        masks = self.masks(placement) if self.shapes is not None else None
        return Objects(placement.boxes(self.boxes), self.labels, self.ignore, masks)

    def masks(self, placement: Placement) -> Tensor:
        """Rasterise the objects on a canvas: 0 and 1, uint8 (M, H, W). Raises Failure if a mask file is unreadable."""
        return torch.from_numpy(rasterise(self.shapes or (), placement))


def rasterise(shapes: Sequence[Shape], placement: Placement) -> np.ndarray:
    """Draw outlines on a canvas of `placement.size`: 0 and 1, uint8 (M, H, W)."""
    masks = np.zeros((len(shapes), *placement.size), np.uint8)
    files: dict[Path, np.ndarray] = {}  # instances of the same file: it is read once
    for mask, shape in zip(masks, shapes):
        if isinstance(shape, Polygons):
            for ring in shape.rings:
                np.bitwise_or(mask, _fill(ring * placement.scale + placement.offset, placement.size), out=mask)
        elif isinstance(shape, RunLengths):
            mask[:] = placement.masks(decode_runs(shape))
        elif isinstance(shape, MaskFile):
            if shape.path not in files:
                files[shape.path] = placement.masks(_instances(shape.path, placement.original))
            mask[:] = files[shape.path] == shape.instance
        else:
            mask[:] = _raster_placement(placement, shape).masks(shape.pixels)
    return masks


def _raster_placement(placement: Placement, raster: Raster) -> Placement:
    """Compute the placement of the rectangle that a raster covers."""
    (x, y), (dx, dy) = placement.scale, placement.offset
    height, width = raster.pixels.shape
    return Placement((height, width), placement.size, (x, y), (dx + raster.left * x, dy + raster.top * y))


def _fill(ring: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Fill a polygon (K, 2) on a canvas of `size`, uint8, by the even-odd rule at the pixel centres.

    A centre is inside if the number of polygon edges crossed to its left, along its row, is odd. An edge crosses the
    rows y with upper <= y < lower, so a shared corner counts once.
    """
    height, width = size
    ring = ring.clip(-MAX_COORDINATE, MAX_COORDINATE)
    ends = np.roll(ring, -1, axis=0)
    upper, lower = np.minimum(ring[:, 1], ends[:, 1]), np.maximum(ring[:, 1], ends[:, 1])
    # The centres of row r are at r + 0.5. Clipping first limits the cost of a huge polygon to that of the canvas.
    first = np.ceil(upper.clip(0, height) - 0.5).clip(0).astype(np.int64)
    last = np.ceil(lower.clip(0, height) - 0.5).clip(0).astype(np.int64)
    rows_of_edge = last - first
    edge = np.repeat(np.arange(len(ring)), rows_of_edge)
    row = np.arange(len(edge)) - np.repeat(rows_of_edge.cumsum() - rows_of_edge, rows_of_edge) + first[edge]
    fraction = (row + 0.5 - ring[edge, 1]) / (ends[edge, 1] - ring[edge, 1])
    x = ring[edge, 0] + fraction * (ends[edge, 0] - ring[edge, 0])
    column = np.ceil(x.clip(-1, width + 1) - 0.5).clip(0, width).astype(np.int64)
    crossings = np.bincount(row * (width + 1) + column, minlength=height * (width + 1)).reshape(height, width + 1)
    return (crossings[:, :width].cumsum(axis=1) % 2).astype(np.uint8)


def decode_runs(runs: RunLengths) -> np.ndarray:
    """Decode run lengths to a mask of 0 and 1, uint8 (h, w)."""
    values = np.arange(len(runs.counts), dtype=np.uint8) % 2
    height, width = runs.size
    return np.repeat(values, runs.counts).reshape(width, height).T


def parse_runs(text: bytes) -> np.ndarray:
    """Parse COCO's compressed run lengths to int64 (K,).

    Each number is a sequence of characters with the codes 48 to 111, 6 bits each: five bits of the value, lowest
    first, and a continuation bit; the highest bit of the value is the sign. From the fourth number on, numbers are
    differences from the number two before. Raises ValueError for text in another form.
    """
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if len(codes) and (codes.min() < 0 or codes.max() > 63 or codes[-1] & 32):
        raise ValueError("not run lengths in COCO's compressed form")
    last = codes & 32 == 0
    number = np.cumsum(last) - last  # index of the number that a character belongs to
    starts = np.flatnonzero(np.concatenate([[True], last[:-1]])) if len(codes) else np.zeros(0, np.int64)
    place = np.arange(len(codes)) - starts[number] if len(codes) else number
    if len(codes) and place.max() > 6:  # seven characters reach 2^34, more pixels than any image has
        raise ValueError("a run length larger than any image")
    numbers = np.zeros(len(starts), np.int64)
    np.add.at(numbers, number, (codes & 31) << (5 * place))
    negative = (codes[last] & 16) != 0
    numbers -= negative.astype(np.int64) << (5 * (place[last] + 1))
    numbers[1::2] = numbers[1::2].cumsum()
    numbers[2::2] = numbers[2::2].cumsum()
    return numbers


def read_instances(path: Path) -> np.ndarray:
    """Read an image file of instance numbers, int64 (H, W); 0 is background.

    Of a palette image the indices are read, and 255 is background, as in Pascal VOC.
    Raises OSError for an unreadable image, ValueError for one with colours, non-integer pixels or too many pixels.
    """
    from PIL import Image

    with Image.open(path, formats=("PNG", "TIFF", "BMP", "GIF", "PPM", "WEBP")) as image:
        if image.width * image.height > MAX_MASK_PIXELS:
            raise ValueError(f"too many pixels for a mask ({image.width} x {image.height})")
        values = np.asarray(image)
        if image.mode == "P":
            values = np.where(values == 255, 0, values)
    if values.ndim == 3:
        colours = values[..., :3]
        if (colours != colours[..., :1]).any():
            raise ValueError("has colours, but instance numbers are expected")
        values = values[..., 0]
    if values.ndim != 2 or values.dtype.kind not in "biu":
        raise ValueError(f"has pixels of type {values.dtype} but instance numbers are expected")
    return values.astype(np.int64)


def _instances(path: Path, size: tuple[int, int]) -> np.ndarray:
    try:
        found = read_instances(path)
    except Exception as error:  # PIL's plugins raise anything on broken files
        raise Failure(
            message(
                "data.refuse.mask_file_can_longer",
                "mask file {path} can no longer be read: {error}",
                path=path,
                error=str(error),
            )
        ) from None
    if found.shape != size:
        raise Failure(
            message(
                "data.refuse.mask_file_changed_pixels",
                "mask file {path} has changed: it is {shape} x {shape2} pixels now",
                path=path,
                shape=found.shape[1],
                shape2=found.shape[0],
            )
        )
    return found
