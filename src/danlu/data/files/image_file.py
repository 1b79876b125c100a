"""Recognise and check image files: formats, extensions, size, kind, and why a file cannot be used."""

from __future__ import annotations

import contextlib
import importlib
import os
import struct
import warnings
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from danlu.data.files import multichannel
from danlu.message import message

# Raw images of cameras, of which PIL would read the small preview.
RAW_SUFFIXES = frozenset((".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2"))
# Extensions of images, readable or not: a file that cannot be read is reported and not ignored.
IMAGE_SUFFIXES = frozenset(
    suffix
    for names in (
        *RAW_SUFFIXES,
        ".jpg .jpeg .jpe .jfif .png .apng .gif .bmp .dib .ppm .pgm .pbm .pnm .pfm .tif .tiff .webp .mpo",
        ".jp2 .j2k .j2c .jpc .jpf .jpx .avif .avifs .heic .heics .heif .heifs .hif .jxl",
    )
    for suffix in names.split()
)
# Extension of a format that needs a package -> names of the format and the package.
PLUGINS: dict[str, tuple[str, str]] = dict.fromkeys(
    (".heic", ".heics", ".heif", ".heifs", ".hif"), ("HEIC", "pillow-heif")
)
PLUGINS |= dict.fromkeys((".avif", ".avifs"), ("AVIF", "pillow-avif-plugin")) | {
    ".jxl": ("JPEG XL", "pillow-jxl-plugin")
}
GREY_MODES = {"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
DEEP_MODES = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}  # more than 8 bits per channel
ANIMATED = {"GIF", "TIFF", "WEBP", "PNG"}  # formats whose files may hold several images, of which the first is read
# Last bytes of a complete file; a file that ends differently is decoded to check it.
LAST_BYTES = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82", "GIF": b"\x3b"}
# Exceptions of PIL's plugins for damaged files.
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, TypeError, KeyError, IndexError, OverflowError, MemoryError)
UNREADABLE += (struct.error, ZeroDivisionError, Image.DecompressionBombError)


class ImageInfo(NamedTuple):
    """Size and kind of an image file.

    height, width: pixels, after EXIF rotation. grey: whether it has one channel. named_right: whether the extension
    matches the content. levels: min, 0.5 % percentile, 99.5 % percentile and max of the pixels, of an image with more
    than 8 bits per channel. channels: of an image that `multichannel.py` reads; None: grey or colour. several: whether
    the file holds further images: pages of a TIFF file, frames of an animation.
    """

    height: int
    width: int
    grey: bool
    named_right: bool
    levels: tuple[float, float, float, float] | None = None
    channels: int | None = None
    several: bool = False


@cache
def formats() -> tuple[str, ...]:
    """List the formats that are read. EPS and WMF are excluded because PIL runs other programs for them."""
    Image.init()
    for package in ("pillow_heif", "pillow_avif", "pillow_jxl"):
        with contextlib.suppress(Exception):  # not installed, or incompatible with this PIL
            module = importlib.import_module(package)
            if package == "pillow_heif":
                module.register_heif_opener()
    wanted = ("JPEG", "PNG", "GIF", "BMP", "PPM", "TIFF", "WEBP", "JPEG2000", "AVIF", "HEIF", "JXL")
    return tuple(name for name in wanted if name in Image.OPEN)


@cache
def extensions() -> dict[str, str]:
    """Map the extensions of readable formats (lower case, with the dot) to PIL's format names."""
    return {suffix: name for suffix, name in Image.registered_extensions().items() if name in formats()}


def is_image(path: str | Path) -> bool:
    """Return whether a file has the header of an image, regardless of its name."""
    try:
        with open_image(path):
            return True
    except UNREADABLE:
        return False


def check_image(path: str | Path, decode: bool = True) -> ImageInfo | str:
    """Read the size and kind of an image file; returns the reason as text if it cannot be used.

    decode: decode all pixels; otherwise only read the header and the last bytes, and decode if these look damaged.
    """
    try:
        if os.path.getsize(path) == 0:
            return message("data.problem.empty_file", "empty file")
        if os.path.splitext(path)[1].lower() in RAW_SUFFIXES:
            return message("data.problem.raw_image", "a raw image of a camera, which is to be saved as jpg or png")
        if found := multichannel.header(path):
            pixels = multichannel.read_channels(path)
            levels = None if pixels.dtype == np.uint8 else _levels(pixels)
            return ImageInfo(pixels.shape[0], pixels.shape[1], False, True, levels, found.channels)
        with open_image(path) as image:
            deep = image.mode in DEEP_MODES
            size = upright_size(image) if image.format == "JPEG" else None
            if decode or deep or not _ends_well(path, image.format or ""):
                if size is not None:  # damage shows at 1/8 of the size as well, in a third of the time
                    image.draft(image.mode, (1, 1))
                image.load()
            height, width = size or upright_size(image)
            named = extensions().get(os.path.splitext(path)[1].lower())
            kind = "JPEG" if image.format == "MPO" else image.format
            levels = _levels(np.asarray(image)) if deep else None
            grey = image.mode in GREY_MODES
            several = image.format in ANIMATED and bool(getattr(image, "is_animated", False))
            return ImageInfo(height, width, grey, named == kind, levels, several=several)
    except UNREADABLE as error:
        return reason_of(error, path)


def _levels(values: np.ndarray) -> tuple[float, float, float, float]:
    """Compute (min, 0.5 % percentile, 99.5 % percentile, max) of pixels. Raises ValueError if any is not finite."""
    if not values.size or not np.isfinite(values).all():
        raise ValueError("pixels that are not finite")
    step = max(1, values.size // 100_000)
    low, high = np.percentile(values.ravel()[::step], (0.5, 99.5))
    return float(values.min()), float(low), float(high), float(values.max())


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height in pixels of an image once it is turned as its EXIF orientation says."""
    width, height = image.size
    return (width, height) if orientation(image) >= 5 else (height, width)


def open_image(path: str | Path) -> Image.Image:
    """Open an image without decoding it, and without PIL's warning about half of the pixels that it refuses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path, formats=formats())


def _ends_well(path: str | Path, kind: str) -> bool:
    if kind not in LAST_BYTES:
        return False
    with open(path, "rb") as file:
        file.seek(-min(64, os.path.getsize(path)), os.SEEK_END)
        return file.read().rstrip(b"\0\r\n").endswith(LAST_BYTES[kind])


def orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8. For TIFF it is 1, because PIL applies it when loading."""
    if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
        return 1
    try:
        return image.getexif().get(0x0112, 1) or 1
    except UNREADABLE:
        return 1  # broken EXIF does not make an image unusable


def reason_of(error: Exception, path: str | Path | None = None) -> str:  # noqa: PLR0911
    """Describe an exception of PIL in a few words. path: if its format needs a package, the package is named."""
    suffix = os.path.splitext(path)[1].lower() if path is not None else ""
    if suffix in PLUGINS and suffix not in extensions() and not isinstance(error, FileNotFoundError | PermissionError):
        kind, package = PLUGINS[suffix]
        return message(
            "data.problem.needs_package", "{kind} image, which needs the package {package}", kind=kind, package=package
        )
    if isinstance(error, multichannel.ChannelsError):
        return str(error)
    text = str(error).lower()
    if isinstance(error, FileNotFoundError):
        return message("data.problem.no_such_file", "no such file")
    if isinstance(error, PermissionError):
        return message("data.problem.permission", "not readable: permission denied")
    if isinstance(error, Image.DecompressionBombError):
        return message("data.problem.bomb", "too many pixels (possible decompression bomb)")
    if isinstance(error, Image.UnidentifiedImageError):
        return message("data.problem.not_an_image", "not an image")
    if "truncated" in text or isinstance(error, EOFError):
        return message("data.problem.truncated", "truncated")
    return message("data.problem.damaged", "damaged: {error}", error=str(error) if text else type(error).__name__)
