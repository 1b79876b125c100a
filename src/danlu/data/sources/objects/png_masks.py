"""Masks of one object that an annotation file holds as a PNG file."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from danlu.data.annotations import Raster
from danlu.data.files.image_file import UNREADABLE

MAX_PIXELS = 1 << 28  # of the rectangle around the masks of one object
Box = tuple[float, float, float, float]


def png_mask(data: bytes, left: int, top: int) -> tuple[Box, Raster]:
    """Box and mask of the non-zero pixels, or opaque ones, of a PNG file at a place. Raises ValueError."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            mask = np.asarray(image.getchannel("A") if "A" in image.getbands() else image.convert("L")) > 0
    except UNREADABLE:
        raise ValueError("a bitmap that is no PNG image") from None
    return _box_and_raster(mask, left, top)


def joined(masks: list[Raster]) -> tuple[Box, Raster]:
    """Box and mask of several masks of one object. Raises ValueError."""
    left, top = min(mask.left for mask in masks), min(mask.top for mask in masks)
    height = max(mask.top + mask.pixels.shape[0] for mask in masks) - top
    width = max(mask.left + mask.pixels.shape[1] for mask in masks) - left
    if height * width > MAX_PIXELS:
        raise ValueError("masks of one object that are too far apart")
    pixels = np.zeros((height, width), bool)
    for mask in masks:
        rows, columns = mask.pixels.shape
        y, x = mask.top - top, mask.left - left
        pixels[y : y + rows, x : x + columns] |= mask.pixels > 0
    return _box_and_raster(pixels, left, top)


def _box_and_raster(mask: np.ndarray, left: int, top: int) -> tuple[Box, Raster]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise ValueError("a bitmap without a pixel")
    y1, y2, x1, x2 = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    raster = Raster(mask[y1:y2, x1:x2].astype(np.uint8), left + x1, top + y1)
    return (left + x1, top + y1, left + x2, top + y2), raster
