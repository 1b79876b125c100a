"""Keep decoded images in a memory-mapped file, so that the next training reads them without decoding."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from danlu.data.canvas import AnyFit
from danlu.data.image_workers import CHUNK, decoded_images
from danlu.data.images import Colour, Window, channels_of
from danlu.data.memory import check_disk
from danlu.data.partial_file import partial_file
from danlu.message import message
from danlu.refuse import Failure, blame

if TYPE_CHECKING:
    from torch import Tensor

    from danlu.data.dataset import ImageFiles, Problem

CACHE_VERSION = 1  # increase it when the pixels returned by `read_image` change


def cached_images(
    files: ImageFiles,
    size: int,
    colour: Colour,
    folder: str | Path,
    workers: int | None = None,
    fit: AnyFit = "crop",
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
    channels = channels_of(colour, files.channels, fit)
    shape = (len(files), channels, size, size)
    cached = _read_cache(pixels_file, problems_file, shape)
    if cached is None:
        total = len(files) * channels * size**2
        check_disk(total, folder, "--size", size, f"{len(files):,} images")
        try:
            decoded = decoded_images(files.paths, size, colour, workers, fit, files.window, channels)
            _write_cache(pixels_file, problems_file, shape, decoded)
        except OSError as error:
            raise blame(error, f"--data.cache {folder}") from None
        cached = _read_cache(pixels_file, problems_file, shape)
    if cached is None:
        raise Failure(
            message(
                "data.refuse.data_cache_what_written",
                "--data.cache {folder}: what was written cannot be read back; is the disk damaged?",
                folder=folder,
            )
        )
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
        if pixels.shape != shape or pixels.dtype != np.uint8:
            return None
        if zlib.crc32(json.dumps(kept["problems"]).encode(), _checksum_of(pixels)) != kept["crc32"]:
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
    problems, checksum = [], 0
    # Written rather than mapped, because a full disk would crash a mapped write.
    with partial_file(pixels_file) as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for chunk, bad in decoded:
            file.write(chunk.data)
            checksum = zlib.crc32(chunk.data, checksum)
            problems += [(problem.where, problem.reason) for problem in bad]
        checksum = zlib.crc32(json.dumps(problems).encode(), checksum)
        # The pixels are renamed last, so a cache with pixels is complete.
        with partial_file(problems_file) as other:
            other.write(json.dumps({"problems": problems, "crc32": checksum}).encode())


def _key(paths: Sequence[Path], size: int, colour: Colour, fit: AnyFit, window: Window | None) -> str:
    digest = hashlib.sha256(f"{CACHE_VERSION} {size} {colour} {fit} {window or ''}".rstrip().encode())
    for path in paths:
        try:
            stat = os.stat(path)
            mark = f"{stat.st_mtime_ns} {stat.st_size}"
        except OSError:
            mark = "missing"
        digest.update(f"\n{os.path.abspath(path)}\0{mark}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]
