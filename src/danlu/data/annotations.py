"""What an annotation file says of one image: boxes, classes, and the outlines of objects, drawn as masks on demand.

Everything is in continuous pixels of the original image, upright. A pixel belongs to an object when its centre does,
whatever the outline is stored as, so an object's mask is the same on every canvas up to the pixels along its edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from danlu.data.canvas import Placement
from danlu.objects import Objects
from danlu.refuse import Failure

FAR = 1e9  # corners farther away than this are moved to it: their sums would overflow


@dataclass(frozen=True)
class Polygons:
    """The union of polygons. rings: each float64 (K, 2) of x, y."""

    rings: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class RunLengths:
    """Lengths of runs of zeros and ones in turn, column after column (COCO). size: (height, width) of the image."""

    counts: np.ndarray
    size: tuple[int, int]


@dataclass(frozen=True)
class MaskFile:
    """The pixels of an image file whose value is `instance`."""

    path: Path
    instance: int


@dataclass(frozen=True)
class Raster:
    """Pixels of 0 and 1, uint8 (h, w), whose first one lies at column `left` and row `top` of the image."""

    pixels: np.ndarray
    left: int = 0
    top: int = 0


Shape = Polygons | RunLengths | MaskFile | Raster


@dataclass(frozen=True)
class Annotation:
    """M objects of one image.

    boxes: float32 (M, 4) in the pixels of the original image. labels: int64 (M,). ignore: bool (M,).
    size: (height, width) of the image. shapes: outline of each object, or None where only boxes are wanted.
    poses: float32 (M, 3) of centre x, centre y and angle in radians (x towards y), or None.
    """

    boxes: Tensor
    labels: Tensor
    ignore: Tensor
    size: tuple[int, int]
    shapes: tuple[Shape, ...] | None = None
    poses: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def objects(self, placement: Placement) -> Objects:
        """The objects on a canvas, with masks where the annotation has outlines. Raises Failure as `masks` does."""
        masks = self.masks(placement) if self.shapes is not None else None
        return Objects(placement.boxes(self.boxes), self.labels, self.ignore, masks)

    def masks(self, placement: Placement) -> Tensor:
        """uint8 (M, H, W) of 0 and 1 on a canvas. Raises Failure when a mask file can no longer be read."""
        return torch.from_numpy(rasterise(self.shapes or (), placement))


def rasterise(shapes: Sequence[Shape], placement: Placement) -> np.ndarray:
    """Outlines drawn on a canvas of `placement.size`: uint8 (M, H, W) of 0 and 1."""
    masks = np.zeros((len(shapes), *placement.size), np.uint8)
    files: dict[Path, np.ndarray] = {}  # the instances of a file lie side by side: it is read once
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
            mask[:] = _part_of(placement, shape).masks(shape.pixels)
    return masks


def _part_of(placement: Placement, raster: Raster) -> Placement:
    """The placement of the rectangle that a raster covers."""
    (x, y), (dx, dy) = placement.scale, placement.offset
    height, width = raster.pixels.shape
    return Placement((height, width), placement.size, (x, y), (dx + raster.left * x, dy + raster.top * y))


def _fill(ring: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A polygon (K, 2) as uint8 `size`, by the even-odd rule at the centres of the pixels.

    Along each row of centres the polygon's edges are crossed here and there; right of an odd number of crossings a
    centre is inside. An edge counts for the rows y with upper <= y < lower, so a shared corner counts once.
    """
    height, width = size
    ring = ring.clip(-FAR, FAR)
    ends = np.roll(ring, -1, axis=0)
    upper, lower = np.minimum(ring[:, 1], ends[:, 1]), np.maximum(ring[:, 1], ends[:, 1])
    # Row r has its centres at r + 0.5. Clipping first keeps a huge polygon from costing more than the canvas.
    first = np.ceil(upper.clip(0, height) - 0.5).clip(0).astype(np.int64)
    last = np.ceil(lower.clip(0, height) - 0.5).clip(0).astype(np.int64)
    rows_of_edge = last - first
    edge = np.repeat(np.arange(len(ring)), rows_of_edge)
    row = np.arange(len(edge)) - np.repeat(rows_of_edge.cumsum() - rows_of_edge, rows_of_edge) + first[edge]
    share = (row + 0.5 - ring[edge, 1]) / (ends[edge, 1] - ring[edge, 1])
    x = ring[edge, 0] + share * (ends[edge, 0] - ring[edge, 0])
    column = np.ceil(x.clip(-1, width + 1) - 0.5).clip(0, width).astype(np.int64)
    crossings = np.bincount(row * (width + 1) + column, minlength=height * (width + 1)).reshape(height, width + 1)
    return (crossings[:, :width].cumsum(axis=1) % 2).astype(np.uint8)


def decode_runs(runs: RunLengths) -> np.ndarray:
    """uint8 (h, w) of 0 and 1."""
    values = np.arange(len(runs.counts), dtype=np.uint8) % 2
    height, width = runs.size
    return np.repeat(values, runs.counts).reshape(width, height).T


def parse_runs(text: bytes) -> np.ndarray:
    """COCO's compressed run lengths, int64 (K,).

    Each number is written in characters of 6 bits plus 48: five bits of value from the lowest up, and one that says
    that more follow; the highest bit of value is the sign. From the fourth number on, it is the difference from the
    number two places before. Raises ValueError when the text is none of this.
    """
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if len(codes) and (codes.min() < 0 or codes.max() > 63 or codes[-1] & 32):
        raise ValueError("not run lengths in COCO's compressed form")
    last = codes & 32 == 0
    number = np.cumsum(last) - last  # which number a character belongs to
    starts = np.flatnonzero(np.concatenate([[True], last[:-1]])) if len(codes) else np.zeros(0, np.int64)
    place = np.arange(len(codes)) - starts[number] if len(codes) else number
    if len(codes) and place.max() > 6:  # seven characters count to 2^34, beyond any image
        raise ValueError("a run length beyond any image")
    numbers = np.zeros(len(starts), np.int64)
    np.add.at(numbers, number, (codes & 31) << (5 * place))
    negative = (codes[last] & 16) != 0
    numbers -= negative.astype(np.int64) << (5 * (place[last] + 1))
    numbers[1::2] = numbers[1::2].cumsum()
    numbers[2::2] = numbers[2::2].cumsum()
    return numbers


def read_instances(path: Path) -> np.ndarray:
    """An image file of instance numbers, int64 (H, W), 0 where there is none. Raises ValueError or OSError.

    Of a palette image the indices count, and 255 is none, as in Pascal VOC.
    """
    from PIL import Image

    with Image.open(path, formats=("PNG", "TIFF", "BMP", "GIF", "PPM", "WEBP")) as image:
        values = np.asarray(image)
        if image.mode == "P":
            values = np.where(values == 255, 0, values)
    if values.ndim == 3:
        colours = values[..., :3]
        if (colours != colours[..., :1]).any():
            raise ValueError("has colours where instance numbers are wanted")
        values = values[..., 0]
    if values.ndim != 2 or values.dtype.kind not in "biu":
        raise ValueError(f"has pixels of type {values.dtype} where instance numbers are wanted")
    return values.astype(np.int64)


def _instances(path: Path, size: tuple[int, int]) -> np.ndarray:
    try:
        found = read_instances(path)
    except Exception as error:  # PIL's plugins raise anything on broken files
        raise Failure(f"mask file {path} can no longer be read: {error}") from None
    if found.shape != size:
        raise Failure(f"mask file {path} has changed: it is {found.shape[1]} x {found.shape[0]} pixels now")
    return found
