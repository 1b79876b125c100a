"""Image files to pixels: one robust way to open, check, turn upright, resize and crop them.

Whatever a file holds (grey, palette, alpha, CMYK, 16 bits, EXIF rotation, frames), it becomes uint8 (C, size, size).
torch is imported late, so that a worker process starts without it.
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
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from PIL import Image

from danlu.data.canvas import FITS, PAD, Fit, Placement
from danlu.refuse import Failure, blame

if TYPE_CHECKING:
    from torch import Tensor

    from danlu.data.dataset import ImageFiles, Problem

Colour = Literal["grey", "rgb"]
# Extensions of images, readable here or not: a file of one that cannot be read is named, never passed over.
IMAGE_SUFFIXES = frozenset(
    suffix
    for names in (
        ".jpg .jpeg .jpe .jfif .png .apng .gif .bmp .dib .ppm .pgm .pbm .pnm .pfm .tif .tiff .webp .mpo",
        ".jp2 .j2k .j2c .jpc .jpf .jpx .avif .avifs .heic .heics .heif .heifs .hif .jxl",
        ".dng .cr2 .cr3 .nef .arw .orf .rw2",
    )
    for suffix in names.split()
)
# Extensions of formats that need a package: what it is called.
PLUGINS: dict[str, tuple[str, str]] = dict.fromkeys(
    (".heic", ".heics", ".heif", ".heifs", ".hif"), ("HEIC", "pillow-heif")
)
PLUGINS |= dict.fromkeys((".avif", ".avifs"), ("AVIF", "pillow-avif-plugin")) | {
    ".jxl": ("JPEG XL", "pillow-jxl-plugin")
}
CHUNK = 256  # images a worker takes at a time
MANY = 500  # fewer images than this are read faster without starting processes
CACHE_VERSION = 1  # raise it when the pixels that `read_image` makes change

# EXIF orientation (tag 0x0112) -> the transposition that turns the stored image upright.
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
Window = tuple[float, float]  # the values of a deep image that become 0 and 255
# What a whole file ends with; a file that ends otherwise is decoded to be sure.
LAST_BYTES = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82", "GIF": b"\x3b"}
# What PIL raises on broken files, plugin by plugin.
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, TypeError, KeyError, IndexError, OverflowError, MemoryError)
UNREADABLE += (struct.error, ZeroDivisionError, Image.DecompressionBombError)


class ImageInfo(NamedTuple):
    """Size and kind of an image file.

    height, width: pixels, upright. named_right: the extension fits the content. levels: of an image of more than 8
    bits per channel, its least and largest value and the values that 0.5 % of the pixels lie below and above.
    """

    height: int
    width: int
    grey: bool
    named_right: bool
    levels: tuple[float, float, float, float] | None = None


# --- one image -------------------------------------------------------------------------------------------------


@cache
def formats() -> tuple[str, ...]:
    """The formats that are read. EPS and WMF are left out: PIL hands them to other programs."""
    Image.init()
    for package in ("pillow_heif", "pillow_avif", "pillow_jxl"):
        with contextlib.suppress(Exception):  # not installed, or built for another PIL
            module = importlib.import_module(package)
            if package == "pillow_heif":
                module.register_heif_opener()
    wanted = ("JPEG", "PNG", "GIF", "BMP", "PPM", "TIFF", "WEBP", "JPEG2000", "AVIF", "HEIF", "JXL")
    return tuple(name for name in wanted if name in Image.OPEN)


@cache
def extensions() -> dict[str, str]:
    """Extension, lower case with its dot -> format, for the formats that are read."""
    return {suffix: name for suffix, name in Image.registered_extensions().items() if name in formats()}


def is_image(path: str | Path) -> bool:
    """Whether a file begins as an image does, whatever it is called."""
    try:
        with _open(path):
            return True
    except UNREADABLE:
        return False


def check_image(path: str | Path, decode: bool = True) -> ImageInfo | str:
    """Size and kind of an image file, or in a few words why it cannot be used.

    decode: read every pixel; otherwise only the header and the last bytes, and every pixel only when those look wrong.
    """
    try:
        if os.path.getsize(path) == 0:
            return "empty file"
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
    """(least, 0.5 % percentile, 99.5 % percentile, largest) of the pixels. Raises ValueError for other than numbers."""
    if not values.size or not np.isfinite(values).all():
        raise ValueError("pixels that are not finite")
    step = max(1, values.size // 100_000)
    low, high = np.percentile(values.ravel()[::step], (0.5, 99.5))
    return float(values.min()), float(low), float(high), float(values.max())


def common_window(levels: Sequence[tuple[float, float, float, float]]) -> Window | None:
    """One window for all deep images of a set, so that equal values stay equal; None where full scale serves.

    Full scale is 0 to 65535 for integers, and 0 to 1 or 0 to 255 for others. A set that uses less than half of it, or
    goes beyond it, is spread from its 0.5 % to its 99.5 % percentile.
    """
    if not levels:
        return None
    least, low, high, largest = (f(values) for f, values in zip((min, min, max, max), zip(*levels)))
    for full in (1.0, 255.0, 65535.0):
        if least >= 0 and largest <= full:
            if high - low >= 0.5 * full:
                return None
            break
    return (low, high) if high > low else (least, largest) if largest > least else (least - 0.5, least + 0.5)


def decode(
    source: str | Path | np.ndarray | Image.Image,
    colour: Colour = "rgb",
    least: int | None = None,
    window: Window | None = None,
) -> Image.Image:
    """An upright 8-bit image ("RGB", or "L" when grey) from a file, a PIL image or an array.

    window: values of a file of more than 8 bits that become 0 and 255; by default its full scale.

    Arrays are uint8 or float in [0, 1], of shape (H, W), (H, W, C) or (C, H, W) with C = 1, 3 or 4. Transparent parts
    turn white; of an animation the first frame is taken. least: a JPEG may be decoded at a smaller scale as long as its
    shorter side keeps this many pixels (scaling the DCT averages, so nothing aliases).
    Raises ValueError or OSError when there is no such image.
    """
    if isinstance(source, np.ndarray):
        return _convert(_from_array(source), colour)
    if isinstance(source, Image.Image):
        return _upright(_convert(source, colour, window), _orientation(source))
    with _open(source) as image:
        if least and image.format in ("JPEG", "MPO"):
            share = least / min(image.size)
            size = math.ceil(share * image.width), math.ceil(share * image.height)
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
    """uint8 (C, size, size), resized by antialiased bilinear interpolation. C is 3 for "rgb" and 1 for "grey".

    fit: "crop" makes the shorter side `size` and takes the central square; "letterbox" and "stretch" keep the whole
    image (`data/canvas.py`). Raises ValueError or OSError when there is no such image.
    """
    if fit != "crop":
        return place_image(source, FITS[fit](image_size(source), size), colour, window)
    image = decode(source, colour, least=size, window=window)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    # Resizing the central square is resizing and then cropping, in one pass over the pixels that stay.
    return _resize(image, (left, top, left + side, top + side), (size, size))


def _resize(image: Image.Image, box: tuple[int, int, int, int], size: tuple[int, int]) -> np.ndarray:
    """uint8 (C, *size): a part of the image by antialiased bilinear interpolation, five times as fast as PIL's."""
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
    """uint8 (C, H, W): the whole image on the canvas of `placement`, grey around it.

    The offset is taken in whole pixels. Raises ValueError or OSError when there is no such image.
    """
    (height, width), (x, y) = placement.original, placement.scale
    image = decode(source, colour, least=math.ceil(max(x, y) * min(height, width)), window=window)
    # A JPEG may come at a half, a quarter or an eighth; its last pixel is then only partly covered by the image.
    reduced = max(1, round(width / image.width))
    part = (0, 0, min(width / reduced, image.width), min(height / reduced, image.height))
    size = max(1, round(width * x)), max(1, round(height * y))
    image = image.resize(size, Image.Resampling.BILINEAR, box=part, reducing_gap=2.0)
    canvas = Image.new(image.mode, (placement.size[1], placement.size[0]), PAD if colour == "grey" else (PAD,) * 3)
    canvas.paste(image, (round(placement.offset[0]), round(placement.offset[1])))
    return _channels_first(canvas)


def image_size(source: str | Path | np.ndarray | Image.Image) -> tuple[int, int]:
    """(height, width) as `decode` would give it, of a file by its header alone."""
    if isinstance(source, np.ndarray):
        source = decode(source)
    if isinstance(source, Image.Image):
        return _upright_size(source)
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
    """EXIF orientation, 1 to 8. PIL turns TIFF files upright by itself when it loads them."""
    if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
        return 1
    try:
        return image.getexif().get(0x0112, 1) or 1
    except UNREADABLE:
        return 1  # broken EXIF does not make an image unusable


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _convert(image: Image.Image, colour: Colour, window: Window | None = None) -> Image.Image:
    """Any mode to "L" or "RGB", alpha laid over white."""
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
    """uint8: window[0] and below become 0, window[1] and above 255."""
    if values.size and not np.isfinite(values).all():
        raise ValueError("pixels that are not finite")
    low, high = window
    return np.round((values.astype(np.float64) - low).clip(0, high - low) * (255 / (high - low))).astype(np.uint8)


def _to_bytes(values: np.ndarray) -> np.ndarray:
    """Whole numbers of 16 bits, or floats in [0, 1] or [0, 255], to uint8 in [0, 255]."""
    if values.size and not np.isfinite(values).all():
        raise ValueError("pixels that are not finite")
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    whole = values.dtype.kind in "iu"
    if low < 0 or high > (65535 if whole else 255):
        raise ValueError(f"pixel values from {low:g} to {high:g} fit neither 8 nor 16 bits")
    scale = 1 / 257 if whole else 255.0 if high <= 1 else 1.0
    return np.round(values * scale).astype(np.uint8)


def _from_array(array: np.ndarray) -> Image.Image:
    """(H, W), (H, W, C) or (C, H, W) to a PIL image."""
    shape = array.shape
    if array.dtype != np.uint8:
        array = _to_bytes(array)
    if array.ndim == 3 and shape[-1] not in (1, 3, 4) and shape[0] in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (3, 4))) or array.size == 0:
        raise ValueError(f"an array of shape {shape} is no image: (H, W), (H, W, C) or (C, H, W) is wanted")
    return Image.fromarray(np.ascontiguousarray(array))


def reason_of(error: Exception, path: str | Path | None = None) -> str:  # noqa: PLR0911
    """PIL's complaint in a few plain words. path: its extension tells which package could read it."""
    suffix = os.path.splitext(path)[1].lower() if path is not None else ""
    if suffix in PLUGINS and suffix not in extensions() and not isinstance(error, FileNotFoundError | PermissionError):
        kind, package = PLUGINS[suffix]
        return f"{kind} image, which needs the package {package}"
    text = str(error).lower()
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "not readable: permission denied"
    if isinstance(error, Image.DecompressionBombError):
        return "too many pixels, as of a decompression bomb"
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image"
    if "truncated" in text or isinstance(error, EOFError):
        return "truncated"
    return f"damaged: {error}" if text else f"damaged: {type(error).__name__}"


# --- many images -----------------------------------------------------------------------------------------------


def check_images(paths: Sequence[Path], decode: bool = True, workers: int | None = None) -> list[ImageInfo | str]:
    """`check_image` of each path, in order. workers: processes; by default as many as there are processors."""
    workers = _workers(len(paths), workers)
    return [found for chunk in _in_order(partial(_check_chunk, decode=decode), paths, workers) for found in chunk]


def load_images(
    paths: Sequence[Path],
    size: int,
    colour: Colour,
    workers: int | None = None,
    fit: Fit = "crop",
    window: Window | None = None,
) -> tuple[Tensor, list[Problem]]:
    """All images as one uint8 tensor (N, C, size, size), and those that could not be read: their rows stay zero.

    workers: processes that decode; 0 decodes in this one. Raises Failure when a worker dies.
    """
    import torch

    pixels = torch.zeros(len(paths), 1 if colour == "grey" else 3, size, size, dtype=torch.uint8)
    problems, start = [], 0
    for chunk, bad in _decoded(paths, size, colour, workers, fit, window):
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
    """`load_images`, kept in `folder` and mapped from there, so that later runs neither decode nor hold it in memory.

    The name is a hash of the files (path, time, length) and of the size and colour: a changed file makes a new cache.
    Raises Refusal when the folder cannot be written, Failure when the disk is full.
    """
    import torch

    from danlu.data.dataset import Problem

    folder = Path(folder)
    pixels_file = folder / f"{_key(files.paths, size, colour, fit, files.window)}.npy"
    problems_file = pixels_file.with_suffix(".json")
    if not pixels_file.exists():
        try:
            shape = (len(files), 1 if colour == "grey" else 3, size, size)
            _write_cache(
                pixels_file, problems_file, shape, _decoded(files.paths, size, colour, workers, fit, files.window)
            )
        except OSError as error:
            raise blame(error, f"--data.cache {folder}") from None
    # Copy-on-write: the tensor may be written to, the file stays as it is.
    pixels = np.load(pixels_file, mmap_mode="c", allow_pickle=False)
    problems = [Problem(*pair) for pair in json.loads(problems_file.read_text(encoding="utf-8"))]
    return torch.from_numpy(pixels), problems


def _write_cache(
    pixels_file: Path, problems_file: Path, shape: tuple[int, ...], decoded: Iterator[tuple[np.ndarray, list[Problem]]]
) -> None:
    pixels_file.parent.mkdir(parents=True, exist_ok=True)
    temporary = [file.with_name(f"{file.name}.{os.getpid()}.tmp") for file in (pixels_file, problems_file)]
    problems = []
    try:
        # Written, not mapped: a full disk is then an error and no crash.
        with temporary[0].open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            for chunk, bad in decoded:
                file.write(chunk.data)
                problems += [(problem.where, problem.reason) for problem in bad]
        temporary[1].write_text(json.dumps(problems), encoding="utf-8")
        # The pixels come last: where they are, everything is.
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
    paths: Sequence[Path], size: int, colour: Colour, workers: int | None, fit: Fit, window: Window | None
) -> Iterator[tuple[np.ndarray, list[Problem]]]:
    """Chunks of decoded images in order, each with its problems."""
    from danlu.data.dataset import Problem

    work = partial(_decode_chunk, size=size, colour=colour, fit=fit, window=window)
    start = 0
    for chunk, bad in _in_order(work, paths, _workers(len(paths), workers)):
        yield chunk, [Problem(str(paths[start + i]), reason) for i, reason in bad]
        start += len(chunk)


def _check_chunk(paths: Sequence[Path], decode: bool) -> list[ImageInfo | str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL's remarks on odd EXIF and palettes
        return [check_image(path, decode) for path in paths]


def _decode_chunk(
    paths: Sequence[Path], size: int, colour: Colour, fit: Fit, window: Window | None
) -> tuple[np.ndarray, list[tuple[int, str]]]:
    pixels = np.zeros((len(paths), 1 if colour == "grey" else 3, size, size), np.uint8)
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
    if count < MANY:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = cores if wanted is None else wanted
    return 0 if workers == 1 and wanted is None else workers


def _in_order(work: Callable[[Sequence[Path]], Any], paths: Sequence[Path], workers: int) -> Iterator[Any]:
    """`work` on chunks of `paths`, results in order; only a few chunks are under way, so memory stays small."""
    chunks = (paths[i : i + CHUNK] for i in range(0, len(paths), CHUNK))
    if not workers:
        yield from map(work, chunks)
        return
    # Forked workers start at once and need no guarded main script; they touch PIL and numpy only, never torch.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    waiting: deque[Future] = deque()
    formats()  # the plugins are loaded before the fork, once
    with warnings.catch_warnings(), ProcessPoolExecutor(workers, mp_context=context) as pool:
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
