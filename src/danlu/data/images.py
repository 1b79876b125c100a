"""Check, decode, resize and crop image files.

Every kind of image (grey, palette, alpha, CMYK, 16 bits, EXIF rotation, animation) becomes uint8 (C, size, size).
torch is imported inside functions, so that worker processes that only check files start without it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import math
import multiprocessing
import os
import struct
import sys
import threading
import warnings
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from danlu.config.values import Channels as Colour
from danlu.data import multichannel
from danlu.data.canvas import FITS, PAD, Fit, Placement
from danlu.refuse import Failure, blame

if TYPE_CHECKING:
    from torch import Tensor

    from danlu.data.dataset import ImageFiles, Problem

# Extensions of images, readable or not: a file that cannot be read is reported and not ignored.
IMAGE_SUFFIXES = frozenset(
    suffix
    for names in (
        ".jpg .jpeg .jpe .jfif .png .apng .gif .bmp .dib .ppm .pgm .pbm .pnm .pfm .tif .tiff .webp .mpo",
        ".jp2 .j2k .j2c .jpc .jpf .jpx .avif .avifs .heic .heics .heif .heifs .hif .jxl",
        ".dng .cr2 .cr3 .nef .arw .orf .rw2",
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
CHUNK = 256  # images per task of a worker process
MIN_IMAGES_FOR_WORKERS = 500  # fewer are read faster without starting processes
CACHE_VERSION = 1  # increase it when the pixels returned by `read_image` change

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
GREY_MODES = {"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
DEEP_MODES = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}  # more than 8 bits per channel
Window = tuple[float, float]  # values of a deep image that are mapped to 0 and 255
# Last bytes of a complete file; a file that ends differently is decoded to check it.
LAST_BYTES = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82", "GIF": b"\x3b"}
# Exceptions of PIL's plugins for damaged files.
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, TypeError, KeyError, IndexError, OverflowError, MemoryError)
UNREADABLE += (struct.error, ZeroDivisionError, Image.DecompressionBombError)


class ImageInfo(NamedTuple):
    """Size and kind of an image file.

    height, width: pixels, after EXIF rotation. grey: whether it has one channel. named_right: whether the extension
    matches the content. levels: min, 0.5 % percentile, 99.5 % percentile and max of the pixels, of an image with more
    than 8 bits per channel. channels: of an image that `data/multichannel.py` reads; None: grey or colour.
    """

    height: int
    width: int
    grey: bool
    named_right: bool
    levels: tuple[float, float, float, float] | None = None
    channels: int | None = None


# --- one image -------------------------------------------------------------------------------------------------


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
    """Whether a file has the header of an image, regardless of its name."""
    try:
        with _open(path):
            return True
    except UNREADABLE:
        return False


def check_image(path: str | Path, decode: bool = True) -> ImageInfo | str:
    """Read the size and kind of an image file; returns the reason as text if it cannot be used.

    decode: decode all pixels; otherwise only read the header and the last bytes, and decode if these look damaged.
    """
    try:
        if os.path.getsize(path) == 0:
            return "empty file"
        if found := multichannel.header(path):
            pixels = multichannel.read_channels(path)
            levels = None if pixels.dtype == np.uint8 else _levels(pixels)
            return ImageInfo(pixels.shape[0], pixels.shape[1], False, True, levels, found.channels)
        with _open(path) as image:
            deep = image.mode in DEEP_MODES
            if decode or deep or not _ends_well(path, image.format or ""):
                image.load()
            height, width = _upright_size(image)
            named = extensions().get(os.path.splitext(path)[1].lower())
            kind = "JPEG" if image.format == "MPO" else image.format
            levels = _levels(np.asarray(image)) if deep else None
            return ImageInfo(height, width, image.mode in GREY_MODES, named == kind, levels)
    except UNREADABLE as error:
        return reason_of(error, path)


def _levels(values: np.ndarray) -> tuple[float, float, float, float]:
    """Compute (min, 0.5 % percentile, 99.5 % percentile, max) of pixels. Raises ValueError if any is not finite."""
    if not values.size or not np.isfinite(values).all():
        raise ValueError("pixels that are not finite")
    step = max(1, values.size // 100_000)
    low, high = np.percentile(values.ravel()[::step], (0.5, 99.5))
    return float(values.min()), float(low), float(high), float(values.max())


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
        return _upright(_convert(source, colour, window), _orientation(source))
    if multichannel.header(source):
        return _convert(_first_channels(_read_channels(source, window)), colour)
    with _open(source) as image:
        if min_side and image.format in ("JPEG", "MPO"):
            scale = min_side / min(image.size)
            size = math.ceil(scale * image.width), math.ceil(scale * image.height)
            image.draft("L" if colour == "grey" and image.mode == "RGB" else None, size)  # type: ignore[arg-type]
        image.load()
        return _upright(_convert(image, colour, window), _orientation(image))


def read_image(
    source: str | Path | np.ndarray | Image.Image,
    size: int,
    colour: Colour = "rgb",
    fit: Fit = "crop",
    window: Window | None = None,
) -> np.ndarray:
    """Read an image as uint8 (C, size, size), with antialiased bilinear resizing.

    C is 3 for "rgb", 1 for "grey", and the number of channels of the file for "all".

    fit: "crop" resizes the shorter side to `size` and crops the centre square; "letterbox" and "stretch" keep the whole
    image (`data/canvas.py`). window: as of `decode`. Raises ValueError or OSError if the image is missing or invalid.
    """
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


def _place_channels(pixels: np.ndarray, placement: Placement) -> np.ndarray:
    (height, width), (x, y) = pixels.shape[:2], placement.scale
    resized = _resize(pixels, (0, 0, width, height), (max(1, round(height * y)), max(1, round(width * x))))
    canvas = np.full((pixels.shape[2], *placement.size), PAD, np.uint8)
    left, top = round(placement.offset[0]), round(placement.offset[1])
    inside = canvas[:, top : top + resized.shape[1], left : left + resized.shape[2]]
    inside[:] = resized[:, : inside.shape[1], : inside.shape[2]]
    return canvas


def image_size(source: str | Path | np.ndarray | Image.Image) -> tuple[int, int]:
    """Read (height, width) after EXIF rotation; of a file only the header is read."""
    if isinstance(source, np.ndarray):
        source = decode(source)
    if isinstance(source, Image.Image):
        return _upright_size(source)
    if found := multichannel.header(source):
        return found.height, found.width
    with _open(source) as image:
        return _upright_size(image)


def _upright_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    return (width, height) if _orientation(image) >= 5 else (height, width)


def _channels_first(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image)
    return pixels[None].copy() if image.mode == "L" else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _open(path: str | Path) -> Image.Image:
    return Image.open(path, formats=formats())


def _ends_well(path: str | Path, kind: str) -> bool:
    if kind not in LAST_BYTES:
        return False
    with open(path, "rb") as file:
        file.seek(-min(64, os.path.getsize(path)), os.SEEK_END)
        return file.read().rstrip(b"\0\r\n").endswith(LAST_BYTES[kind])


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8. For TIFF it is 1, because PIL applies it when loading."""
    if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
        return 1
    try:
        return image.getexif().get(0x0112, 1) or 1
    except UNREADABLE:
        return 1  # broken EXIF does not make an image unusable


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


def reason_of(error: Exception, path: str | Path | None = None) -> str:  # noqa: PLR0911
    """Describe an exception of PIL in a few words. path: if its format needs a package, the package is named."""
    suffix = os.path.splitext(path)[1].lower() if path is not None else ""
    if suffix in PLUGINS and suffix not in extensions() and not isinstance(error, FileNotFoundError | PermissionError):
        kind, package = PLUGINS[suffix]
        return f"{kind} image, which needs the package {package}"
    if isinstance(error, multichannel.ChannelsError):
        return str(error)
    text = str(error).lower()
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "not readable: permission denied"
    if isinstance(error, Image.DecompressionBombError):
        return "too many pixels (possible decompression bomb)"
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image"
    if "truncated" in text or isinstance(error, EOFError):
        return "truncated"
    return f"damaged: {error}" if text else f"damaged: {type(error).__name__}"


# --- many images -----------------------------------------------------------------------------------------------


def channels_of(colour: Colour, stored: int | None) -> int:
    """Channels of images that are read in this colour. stored: of the files, for "all"."""
    return {"grey": 1, "rgb": 3}.get(colour) or stored or 3


def check_images(paths: Sequence[Path], decode: bool = True, workers: int | None = None) -> list[ImageInfo | str]:
    """Apply `check_image` to each path, in order. workers: number of processes; None: one per CPU core."""
    workers = _workers(len(paths), workers)
    chunks = _in_order(partial(_check_chunk, decode=decode), paths, workers)
    return _of_one_depth([found for chunk in chunks for found in chunk])


def _of_one_depth(found: list[ImageInfo | str]) -> list[ImageInfo | str]:
    """Images with another number of channels than most have a reason instead of their info."""
    counts = Counter(one.channels for one in found if not isinstance(one, str))
    if len(counts) <= 1:
        return found
    usual = counts.most_common(1)[0][0]
    others = f"{usual} channels" if usual else "1 or 3 channels"
    return [
        one if isinstance(one, str) or one.channels == usual else f"{one.channels or 3} channels, but others {others}"
        for one in found
    ]


def load_images(
    paths: Sequence[Path],
    size: int,
    colour: Colour,
    workers: int | None = None,
    fit: Fit = "crop",
    window: Window | None = None,
    channels: int | None = None,
) -> tuple[Tensor, list[Problem]]:
    """Load images as one uint8 tensor (N, C, size, size); also returns problems of unreadable ones, whose rows are 0.

    size, colour, fit, window: as of `read_image`. channels: C, if colour is "all". workers: number of processes that
    decode; 0: this process; None: one per CPU core. Raises Failure if a worker dies.
    """
    import torch

    channels = channels_of(colour, channels)
    pixels = torch.zeros(len(paths), channels, size, size, dtype=torch.uint8)
    problems, start = [], 0
    for chunk, bad in _decoded(paths, size, colour, workers, fit, window, channels):
        pixels[start : start + len(chunk)] = torch.from_numpy(chunk)
        problems += bad
        start += len(chunk)
    return pixels, problems


def cached_images(
    files: ImageFiles,
    size: int,
    colour: Colour,
    folder: str | Path,
    workers: int | None = None,
    fit: Fit = "crop",
) -> tuple[Tensor, list[Problem]]:
    """Load images as `load_images` does, from a memory-mapped cache in `folder`, which is created if needed.

    The cache's name is a hash of the files (path, modification time, size) and of the arguments, so changed files get
    a new cache. A damaged cache, of another size or checksum than was written, is made again.
    Raises Refusal if the folder is not writable, Failure if the disk is full.
    """
    import torch

    from danlu.data.dataset import Problem

    folder = Path(folder)
    pixels_file = folder / f"{_key(files.paths, size, colour, fit, files.window)}.npy"
    problems_file = pixels_file.with_suffix(".json")
    channels = channels_of(colour, files.channels)
    shape = (len(files), channels, size, size)
    cached = _read_cache(pixels_file, problems_file, shape)
    if cached is None:
        try:
            decoded = _decoded(files.paths, size, colour, workers, fit, files.window, channels)
            _write_cache(pixels_file, problems_file, shape, decoded)
        except OSError as error:
            raise blame(error, f"--data.cache {folder}") from None
        cached = _read_cache(pixels_file, problems_file, shape)
    if cached is None:
        raise Failure(f"--data.cache {folder}: what was written cannot be read back; is the disk damaged?")
    pixels, pairs = cached
    return torch.from_numpy(pixels), [Problem(*pair) for pair in pairs]


def _read_cache(
    pixels_file: Path, problems_file: Path, shape: tuple[int, ...]
) -> tuple[np.ndarray, list[tuple[str, str]]] | None:
    """Pixels, and pairs of place and reason of problems; None for a cache that is not there or damaged."""
    try:
        kept = json.loads(problems_file.read_text(encoding="utf-8"))
        # Copy-on-write: writing to the tensor does not change the file.
        pixels = np.load(pixels_file, mmap_mode="c", allow_pickle=False)
        pairs = [(str(where), str(reason)) for where, reason in kept["problems"]]
        if pixels.shape != shape or pixels.dtype != np.uint8 or _checksum_of(pixels) != kept["crc32"]:
            return None
    except (OSError, ValueError, TypeError, KeyError, EOFError, RecursionError):
        return None
    return pixels, pairs


def _checksum_of(pixels: np.ndarray) -> int:
    """CRC-32 of the pixels, read in pieces."""
    checksum = 0
    for start in range(0, len(pixels), CHUNK):
        checksum = zlib.crc32(np.ascontiguousarray(pixels[start : start + CHUNK]).data, checksum)
    return checksum


def _write_cache(
    pixels_file: Path, problems_file: Path, shape: tuple[int, ...], decoded: Iterator[tuple[np.ndarray, list[Problem]]]
) -> None:
    pixels_file.parent.mkdir(parents=True, exist_ok=True)
    temporary = [file.with_name(f"{file.name}.{os.getpid()}.tmp") for file in (pixels_file, problems_file)]
    problems, checksum = [], 0
    try:
        # Written rather than mapped, because a full disk would crash a mapped write.
        with temporary[0].open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            for chunk, bad in decoded:
                file.write(chunk.data)
                checksum = zlib.crc32(chunk.data, checksum)
                problems += [(problem.where, problem.reason) for problem in bad]
        temporary[1].write_text(json.dumps({"problems": problems, "crc32": checksum}), encoding="utf-8")
        # The pixels are renamed last, so a cache with pixels is complete.
        temporary[1].replace(problems_file)
        temporary[0].replace(pixels_file)
    finally:
        for file in temporary:
            file.unlink(missing_ok=True)


def _key(paths: Sequence[Path], size: int, colour: Colour, fit: Fit, window: Window | None) -> str:
    digest = hashlib.sha256(f"{CACHE_VERSION} {size} {colour} {fit} {window or ''}".rstrip().encode())
    for path in paths:
        try:
            stat = os.stat(path)
            mark = f"{stat.st_mtime_ns} {stat.st_size}"
        except OSError:
            mark = "missing"
        digest.update(f"\n{os.path.abspath(path)}\0{mark}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def _decoded(
    paths: Sequence[Path],
    size: int,
    colour: Colour,
    workers: int | None,
    fit: Fit,
    window: Window | None,
    channels: int,
) -> Iterator[tuple[np.ndarray, list[Problem]]]:
    """Iterate over chunks of decoded images and their problems, in order."""
    from danlu.data.dataset import Problem

    work = partial(_decode_chunk, size=size, colour=colour, fit=fit, window=window, channels=channels)
    start = 0
    for chunk, bad in _in_order(work, paths, _workers(len(paths), workers)):
        yield chunk, [Problem(str(paths[start + i]), reason) for i, reason in bad]
        start += len(chunk)


def _check_chunk(paths: Sequence[Path], decode: bool) -> list[ImageInfo | str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL's warnings about EXIF and palettes
        return [check_image(path, decode) for path in paths]


def _decode_chunk(
    paths: Sequence[Path], size: int, colour: Colour, fit: Fit, window: Window | None, channels: int
) -> tuple[np.ndarray, list[tuple[int, str]]]:
    pixels = np.zeros((len(paths), channels, size, size), np.uint8)
    bad = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i, path in enumerate(paths):
            try:
                pixels[i] = read_image(path, size, colour, fit, window)
            except UNREADABLE as error:
                bad.append((i, reason_of(error, path)))
    return pixels, bad


def _workers(count: int, wanted: int | None) -> int:
    if count < MIN_IMAGES_FOR_WORKERS:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(cores if wanted is None else wanted, math.ceil(count / CHUNK))  # no more than there are tasks
    return 0 if workers == 1 and wanted is None else workers


def _end_with_parent() -> None:
    """End this worker process when its parent dies, even by SIGKILL, which leaves no time to end the workers."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _pool(workers: int) -> ProcessPoolExecutor:
    # Forked workers start fast and need no `if __name__ == "__main__"` in the caller's script.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)


def _in_order(work: Callable[[Sequence[Path]], Any], paths: Sequence[Path], workers: int) -> Iterator[Any]:
    """Map `work` over chunks of `paths`, with results in order and a limited number of pending chunks."""
    chunks = (paths[i : i + CHUNK] for i in range(0, len(paths), CHUNK))
    if not workers:
        yield from map(work, chunks)
        return
    waiting: deque[Future] = deque()
    formats()  # load the plugins once, before the fork
    with warnings.catch_warnings(), _pool(workers) as pool:
        warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
        try:
            for chunk in chunks:
                waiting.append(pool.submit(work, chunk))
                if len(waiting) > 4 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise Failure("a process that reads images died (out of memory?); use --data.workers 0") from None
        finally:
            for future in waiting:
                future.cancel()
