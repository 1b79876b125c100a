"""Decode, resize and crop image files.

Every kind of image (grey, palette, alpha, CMYK, 16 bits, EXIF rotation, animation) becomes uint8 (C, size, size).
torch is imported inside functions, so that worker processes that only check files start without it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from danlu.config.values import Channels as Colour
from danlu.data.canvas import FITS, PAD, AnyFit, Placement
from danlu.data.files import multichannel
from danlu.data.files.image_file import DEEP_MODES, open_image, orientation, upright_size
from danlu.patch_grid import PatchGrid

# EXIF orientation (tag 0x0112) -> transposition of the stored image that applies it.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
Window = tuple[float, float]  # values of a deep image that are mapped to 0 and 255


def common_window(levels: Sequence[tuple[float, float, float, float]]) -> Window | None:
    """Choose one window for all deep images of a dataset, so that equal values stay equal; None for the full scale.

    levels: of each image, as in `ImageInfo`. The full scale is 0 to 65535 for integers, and 0 to 1 or 0 to 255 for
    floats. The window of a dataset that uses less than half of it, or exceeds it, is its 0.5 % to 99.5 % percentile.
    """
    if not levels:
        return None
    lowest, low, high, highest = (f(values) for f, values in zip((min, min, max, max), zip(*levels)))
    for full in (1.0, 255.0, 65535.0):
        if lowest >= 0 and highest <= full:
            if high - low >= 0.5 * full:
                return None
            break
    if high > low:
        return low, high
    return (lowest, highest) if highest > lowest else (lowest - 0.5, lowest + 0.5)


def decode(
    source: str | Path | np.ndarray | Image.Image,
    colour: Colour = "rgb",
    min_side: int | None = None,
    window: Window | None = None,
) -> Image.Image:
    """Decode a file, PIL image or array as an 8-bit image, "RGB" or "L" for "grey", and apply its EXIF rotation.

    source: arrays are uint8 or float in [0, 1], of shape (H, W), (H, W, C) or (C, H, W) with C = 1, 3 or 4.
    Transparent pixels become white; of an animation the first frame is used. min_side: a JPEG may be decoded at a
    reduced scale while its shorter side has at least this many pixels (DCT scaling averages, so it does not alias).
    window: values of a file with more than 8 bits that are mapped to 0 and 255; by default its full scale.
    Raises ValueError or OSError if the image is missing or invalid.
    """
    if isinstance(source, np.ndarray):
        return _convert(_from_array(source), colour)
    if isinstance(source, Image.Image):
        return _upright(_convert(source, colour, window), orientation(source))
    if multichannel.header(source):
        return _convert(_first_channels(_read_channels(source, window)), colour)
    with open_image(source) as image:
        if min_side and image.format in ("JPEG", "MPO"):
            scale = min_side / min(image.size)
            size = math.ceil(scale * image.width), math.ceil(scale * image.height)
            image.draft("L" if colour == "grey" and image.mode == "RGB" else None, size)  # type: ignore[arg-type]
        image.load()
        return _upright(_convert(image, colour, window), orientation(image))


def read_image(
    source: str | Path | np.ndarray | Image.Image,
    size: int,
    colour: Colour = "rgb",
    fit: AnyFit = "crop",
    window: Window | None = None,
) -> np.ndarray:
    """Read an image as uint8 (C, size, size), with antialiased bilinear resizing.

    C is 3 for "rgb", 1 for "grey", and the number of channels of the file for "all".

    fit: "crop" resizes the shorter side to `size` and crops the centre square; "letterbox" and "stretch" keep the whole
    image (`data/canvas.py`). With a `PatchGrid` the image keeps its aspect in the top left corner, and one more channel
    is 255 on the image and 0 beside it. window: as of `decode`. Raises ValueError or OSError if the image is missing or
    invalid.
    """
    if isinstance(fit, PatchGrid):
        return _on_grid(source, fit, size, colour, window)
    if fit != "crop":
        return place_image(source, FITS[fit](image_size(source), size), colour, window)
    if colour == "all":
        image: Image.Image | np.ndarray = _read_channels(source, window)
        height, width = image.shape[:2]
    else:
        image = decode(source, colour, min_side=size, window=window)
        width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    # Cropping before resizing is equivalent and resizes fewer pixels.
    return _resize(image, (left, top, left + side, top + side), (size, size))


def image_size(source: str | Path | np.ndarray | Image.Image) -> tuple[int, int]:
    """Read (height, width) after EXIF rotation; of a file only the header is read."""
    if isinstance(source, np.ndarray):
        source = decode(source)
    if isinstance(source, Image.Image):
        return upright_size(source)
    if found := multichannel.header(source):
        return found.height, found.width
    with open_image(source) as image:
        return upright_size(image)


def place_image(
    source: str | Path | np.ndarray | Image.Image,
    placement: Placement,
    colour: Colour = "rgb",
    window: Window | None = None,
) -> np.ndarray:
    """Read a whole image onto the canvas of `placement` with a grey border, uint8 (C, H, W).

    The offset is rounded to integers. Raises ValueError or OSError if the image is missing or invalid.
    """
    (height, width), (x, y) = placement.original, placement.scale
    if colour == "all":
        return _place_channels(_read_channels(source, window), placement)
    image = decode(source, colour, min_side=math.ceil(max(x, y) * min(height, width)), window=window)
    # A JPEG may be decoded at 1/2, 1/4 or 1/8; the image then covers its last pixel only partly.
    reduced = max(1, round(width / image.width))
    part = (0, 0, min(width / reduced, image.width), min(height / reduced, image.height))
    size = max(1, round(width * x)), max(1, round(height * y))
    image = image.resize(size, Image.Resampling.BILINEAR, box=part, reducing_gap=2.0)
    canvas = Image.new(image.mode, (placement.size[1], placement.size[0]), PAD if colour == "grey" else (PAD,) * 3)
    canvas.paste(image, (round(placement.offset[0]), round(placement.offset[1])))
    return _channels_first(canvas)


def _on_grid(source: Any, grid: PatchGrid, canvas: int, colour: Colour, window: Window | None) -> np.ndarray:
    """The image at its own size and a channel that marks it, uint8 (C + 1, canvas, canvas)."""
    height, width = image_size(source)
    rows, columns = grid.size(height, width, canvas)
    placement = Placement((height, width), (canvas, canvas), (columns / width, rows / height))
    mark = np.zeros((1, canvas, canvas), np.uint8)
    mark[:, :rows, :columns] = 255
    return np.concatenate([place_image(source, placement, colour, window), mark])


def channels_of(colour: Colour, stored: int | None, fit: AnyFit = "crop") -> int:
    """Channels of images that are read in this colour. stored: of the files, for "all". fit: as of `read_image`."""
    return ({"grey": 1, "rgb": 3}.get(colour) or stored or 3) + isinstance(fit, PatchGrid)


def _read_channels(source: Any, window: Window | None) -> np.ndarray:
    """All channels of a file or array as uint8 (H, W, C)."""
    if isinstance(source, np.ndarray):
        values = source if source.ndim == 3 else source[..., None]
    elif multichannel.header(source):
        values = multichannel.read_channels(source)
    else:
        values = np.asarray(decode(source, window=window))
    if values.dtype == np.uint8:
        return values
    return _to_bytes(values) if window is None else _windowed(values, window)


def _first_channels(pixels: np.ndarray) -> Image.Image:
    """Image of the channels of (H, W, C) that are shown."""
    shown = pixels[..., : multichannel.shown_channels(pixels.shape[2])]
    return Image.fromarray(np.ascontiguousarray(shown[..., 0] if shown.shape[2] == 1 else shown))


def _resize(image: Image.Image | np.ndarray, box: tuple[int, int, int, int], size: tuple[int, int]) -> np.ndarray:
    """Resize a box of the image to uint8 (C, *size), antialiased bilinear; five times as fast as PIL."""
    import torch
    from torch.nn.functional import interpolate

    left, top, right, bottom = box
    pixels = torch.from_numpy(np.array(image)[top:bottom, left:right])
    pixels = pixels.permute(2, 0, 1) if pixels.ndim == 3 else pixels[None]
    return interpolate(pixels[None], size, mode="bilinear", antialias=True)[0].contiguous().numpy()


def _place_channels(pixels: np.ndarray, placement: Placement) -> np.ndarray:
    (height, width), (x, y) = pixels.shape[:2], placement.scale
    resized = _resize(pixels, (0, 0, width, height), (max(1, round(height * y)), max(1, round(width * x))))
    canvas = np.full((pixels.shape[2], *placement.size), PAD, np.uint8)
    left, top = round(placement.offset[0]), round(placement.offset[1])
    inside = canvas[:, top : top + resized.shape[1], left : left + resized.shape[2]]
    inside[:] = resized[:, : inside.shape[1], : inside.shape[2]]
    return canvas


def _channels_first(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image)
    return pixels[None].copy() if image.mode == "L" else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _convert(image: Image.Image, colour: Colour, window: Window | None = None) -> Image.Image:
    """Convert any mode to "L" or "RGB", with transparent pixels over white."""
    if image.mode in DEEP_MODES:
        values = np.asarray(image)
        image = Image.fromarray(_to_bytes(values) if window is None else _windowed(values, window))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    elif image.mode == "P":
        image = image.convert("RGB")
    mode = "L" if colour == "grey" else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _windowed(values: np.ndarray, window: Window) -> np.ndarray:
    """Map values linearly from the window to [0, 255], uint8, with clipping."""
    if values.size and not np.isfinite(values).all():
        raise ValueError("pixels that are not finite")
    low, high = window
    return np.round((values.astype(np.float64) - low).clip(0, high - low) * (255 / (high - low))).astype(np.uint8)


def _to_bytes(values: np.ndarray) -> np.ndarray:
    """Scale integers of 16 bits, or floats in [0, 1] or [0, 255], to uint8."""
    if values.size and not np.isfinite(values).all():
        raise ValueError("pixels that are not finite")
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    is_integer = values.dtype.kind in "iu"
    if low < 0 or high > (65535 if is_integer else 255):
        raise ValueError(f"pixel values from {low:g} to {high:g} fit neither 8 nor 16 bits")
    scale = 1 / 257 if is_integer else 255.0 if high <= 1 else 1.0
    return np.round(values * scale).astype(np.uint8)


def _from_array(array: np.ndarray) -> Image.Image:
    """Convert an array (H, W), (H, W, C) or (C, H, W) to a PIL image."""
    shape = array.shape
    if array.dtype != np.uint8:
        array = _to_bytes(array)
    if array.ndim == 3 and shape[-1] not in (1, 3, 4) and shape[0] in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (3, 4))) or array.size == 0:
        raise ValueError(f"shape {shape} instead of (H, W), (H, W, C) or (C, H, W)")
    return Image.fromarray(np.ascontiguousarray(array))
