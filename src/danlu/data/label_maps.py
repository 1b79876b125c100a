"""Label maps: a class for each pixel of an image, read from a mask file or drawn from the outlines of objects.

The classes are 0 ... K - 1; `IGNORE` marks pixels that are excluded from loss and metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from danlu.data.annotations import Annotation, rasterise
from danlu.data.canvas import Placement
from danlu.message import message
from danlu.objects import IGNORE
from danlu.refuse import Failure

BACKGROUND = "background"  # class of the pixels outside all objects
MAX_DRAWN = 32  # outlines rasterised at once
MASK_FORMATS = ("PNG", "TIFF", "BMP", "GIF", "PPM", "WEBP", "JPEG")


@dataclass(frozen=True)
class MaskClasses:
    """Mask file and the meaning of its values.

    values: pixel values that have a class, or colours as R << 16 | G << 8 | B, sorted, int64 (V,). classes: the class
    of each of them, uint8 (V,). Pixels with other values are ignored.
    """

    path: Path
    values: np.ndarray
    classes: np.ndarray
    coloured: bool = False


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Class of each pixel of one image.

    size: (height, width) of the image. source: a mask file, or objects whose pixels have their class + 1 and the others
    class 0. places: new number of each class, where they were renumbered, int64 (K,).
    """

    size: tuple[int, int]
    source: MaskClasses | Annotation
    places: np.ndarray | None = None

    def read(self) -> np.ndarray:
        """Read the label map at the size of the image, uint8 (H, W). Raises Failure if its file is unreadable."""
        return self.on(Placement(self.size, self.size, (1.0, 1.0)))

    def on(self, placement: Placement) -> np.ndarray:
        """Map the label map to a canvas, uint8 (H, W): the class at each pixel centre, `IGNORE` outside the image."""
        if isinstance(self.source, Annotation):
            labels = _drawn(self.source, placement)
        else:
            labels = _from_file(self.source, self.size)
            labels = placement.masks(labels + np.uint8(1)) - np.uint8(1)  # 0 outside becomes 255
        if self.places is None:
            return labels
        table = np.full(256, IGNORE, np.uint8)
        table[: len(self.places)] = self.places
        return table[labels]

    def renumbered(self, places: Tensor) -> LabelMap:
        """Return the label map with other class numbers. places: the new number of each class, int64 (K,)."""
        new = places.numpy()
        return replace(self, places=new if self.places is None else new[self.places])

    def described(self) -> bytes:
        """Bytes that differ for other contents; of a mask file its size and its values."""
        if isinstance(self.source, Annotation):
            return b"".join(x.contiguous().numpy().tobytes() for x in (self.source.boxes, self.source.labels))
        source = self.source
        length = source.path.stat().st_size if source.path.exists() else -1
        return repr((length, source.values.tolist(), source.classes.tolist())).encode()


def read_values(path: Path) -> tuple[np.ndarray, bool]:
    """Read the values of a mask file and whether they are colours: int64 (H, W), R << 16 | G << 8 | B for colours.

    Of a palette image the indices are read. Equal channels are one number. Raises what PIL raises, or ValueError.
    """
    from PIL import Image

    with Image.open(path, formats=MASK_FORMATS) as image:
        values = np.asarray(image)
    if values.ndim == 3 and values.shape[2] in (2, 4):
        values = values[..., :-1]  # without alpha
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.dtype.kind not in "biu":
        raise ValueError(f"has pixels of type {values.dtype} but class numbers are expected")
    if values.ndim == 2:
        return values.astype(np.int64), False
    if (values == values[..., :1]).all():
        return values[..., 0].astype(np.int64), False
    return as_colours(values), True


def as_colours(values: np.ndarray) -> np.ndarray:
    """Colours (..., 3) as single numbers R << 16 | G << 8 | B, int64 (...)."""
    red, green, blue = np.moveaxis(values.astype(np.int64), -1, 0)
    return red << 16 | green << 8 | blue


def grey_as_colours(values: np.ndarray) -> np.ndarray:
    """Numbers of grey pixels as those of the same colours, for a mask without colours among coloured ones."""
    return as_colours(np.repeat(values[..., None], 3, -1))


def classes_of(values: np.ndarray, source: MaskClasses) -> np.ndarray:
    """Classes of the values of a mask, uint8, `IGNORE` for values without one."""
    place = np.searchsorted(source.values, values).clip(max=max(len(source.values) - 1, 0))
    return np.where(source.values[place] == values, source.classes[place], IGNORE).astype(np.uint8)


def _drawn(objects: Annotation, placement: Placement) -> np.ndarray:
    """Draw the pixels of objects on a canvas, large objects first; uint8 (H, W)."""
    inside = placement.masks(np.ones(placement.original, np.uint8))
    labels = np.where(inside, 0, IGNORE).astype(np.uint8)
    shapes = objects.shapes or ()
    area = (objects.boxes[:, 2:] - objects.boxes[:, :2]).prod(1)
    order = sorted(range(len(shapes)), key=lambda i: (not bool(objects.ignore[i]), -float(area[i])))
    for start in range(0, len(order), MAX_DRAWN):
        some = order[start : start + MAX_DRAWN]
        for i, mask in zip(some, rasterise([shapes[i] for i in some], placement)):
            labels[mask > 0] = IGNORE if objects.ignore[i] else int(objects.labels[i]) + 1
    return labels


def _from_file(source: MaskClasses, size: tuple[int, int]) -> np.ndarray:
    try:
        values, coloured = read_values(source.path)
    except Exception as error:  # PIL's plugins raise anything on broken files
        raise Failure(
            message(
                "data.failure.mask_unreadable",
                "mask file {path} can no longer be read: {error}",
                path=source.path,
                error=str(error),
            )
        ) from None
    if values.shape != size:
        height, width = values.shape
        text = "mask file {path} has changed: it is {width} x {height} pixels now"
        raise Failure(message("data.failure.mask_changed", text, path=source.path, width=width, height=height))
    return classes_of(grey_as_colours(values) if source.coloured and not coloured else values, source)


MAX_KEPT = 512 << 20  # bytes; label maps of larger datasets are read for each batch


class MapSet:
    """Targets of semantic segmentation, with the interface of a target tensor: length, device, `index_select`.

    maps, placements: of each of N samples. Label maps on the canvas are kept if all of them are smaller than
    `MAX_KEPT`.
    """

    def __init__(self, maps: Sequence[LabelMap], placements: Sequence[Placement]) -> None:
        self.maps, self.placements = maps, placements
        self._kept: dict[int, Tensor] = {}
        height, width = placements[0].size if placements else (0, 0)
        self._keeps = len(maps) * height * width <= MAX_KEPT
        self._device = torch.device("cpu")

    def __len__(self) -> int:
        return len(self.maps)

    @property
    def device(self) -> torch.device:
        """Device of the maps that `index_select` returns."""
        return self._device

    def to(self, device: torch.device | str) -> MapSet:
        """Return maps on `device` from now on."""
        self._device = torch.device(device)
        return self

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """Select the label maps of some samples, uint8 (n, S, S). dim: 0. index: int64 (n,)."""
        return torch.stack([self._map(i) for i in index.tolist()]).to(self._device)

    def pixel_counts(self, index: Tensor, classes: int) -> Tensor:
        """Pixels of each class, and of ignored pixels last, on the canvas; int64 (K + 1,)."""
        counts = torch.zeros(256, dtype=torch.int64)
        for i in index.tolist():
            counts += torch.bincount(self._map(i).flatten(), minlength=256)
        return torch.cat((counts[:classes], counts[IGNORE:]))

    def _map(self, i: int) -> Tensor:
        if i in self._kept:
            return self._kept[i]
        found = torch.from_numpy(np.ascontiguousarray(self.maps[i].on(self.placements[i])))
        if self._keeps:
            self._kept[i] = found
        return found
