"""Check and load many images in worker processes, in order."""

from __future__ import annotations

import math
import multiprocessing
import os
import sys
import threading
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from danlu.data.canvas import AnyFit
from danlu.data.files.image_file import UNREADABLE, ImageInfo, check_image, formats, reason_of
from danlu.data.images import Colour, Window, channels_of, read_image
from danlu.data.memory import check_memory
from danlu.message import message, translated
from danlu.progress.stages import stage
from danlu.refuse import Failure

if TYPE_CHECKING:
    from torch import Tensor

    from danlu.data.dataset import Problem

CHUNK = 256  # images per task of a worker process
MIN_IMAGES_FOR_WORKERS = 500  # fewer are read faster without starting processes


def check_images(paths: Sequence[Path], decode: bool = True, workers: int | None = None) -> list[ImageInfo | str]:
    """Apply `check_image` to each path, in order. workers: number of processes; None: one per CPU core."""
    workers = _workers(len(paths), workers)
    found: list[ImageInfo | str] = []
    with stage(translated("stage.checking", "checking images"), len(paths)) as checking:
        for chunk in _in_order(partial(_check_chunk, decode=decode), paths, workers):
            found += chunk
            checking.advance(len(chunk))
    return _of_one_depth(found)


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
    fit: AnyFit = "crop",
    window: Window | None = None,
    channels: int | None = None,
) -> tuple[Tensor, list[Problem]]:
    """Load images as one uint8 tensor (N, C, size, size); also returns problems of unreadable ones, whose rows are 0.

    size, colour, fit, window: as of `read_image`. channels: C, if colour is "all". workers: number of processes that
    decode; 0: this process; None: one per CPU core. Raises Failure if a worker dies.
    """
    import torch

    channels = channels_of(colour, channels, fit)
    check_memory(len(paths) * channels * size**2, "--size", size, f"{len(paths):,} images")
    pixels = torch.zeros(len(paths), channels, size, size, dtype=torch.uint8)
    problems, start = [], 0
    for chunk, bad in decoded_images(paths, size, colour, workers, fit, window, channels):
        pixels[start : start + len(chunk)] = torch.from_numpy(chunk)
        problems += bad
        start += len(chunk)
    return pixels, problems


def decoded_images(
    paths: Sequence[Path],
    size: int,
    colour: Colour,
    workers: int | None,
    fit: AnyFit,
    window: Window | None,
    channels: int,
) -> Iterator[tuple[np.ndarray, list[Problem]]]:
    """Iterate over chunks of decoded images and their problems, in order."""
    from danlu.data.dataset import Problem

    work = partial(_decode_chunk, size=size, colour=colour, fit=fit, window=window, channels=channels)
    start = 0
    with stage(translated("stage.decoding", "decoding images"), len(paths)) as decoding:
        for chunk, bad in _in_order(work, paths, _workers(len(paths), workers)):
            yield chunk, [Problem(str(paths[start + i]), reason) for i, reason in bad]
            start += len(chunk)
            decoding.advance(len(chunk))


def _check_chunk(paths: Sequence[Path], decode: bool) -> list[ImageInfo | str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL's warnings about EXIF and palettes
        return [check_image(path, decode) for path in paths]


def _decode_chunk(
    paths: Sequence[Path], size: int, colour: Colour, fit: AnyFit, window: Window | None, channels: int
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
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)


def _start_worker() -> None:
    """Prepare a worker process: it computes with one thread, and ends with its parent.

    A forked process has none of the OpenMP threads of its parent but waits for them in its first parallel operation.
    """
    if torch := sys.modules.get("torch"):  # else it was not used before the fork, and is not imported for this
        torch.set_num_threads(1)
    _end_with_parent()


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
            raise Failure(
                message(
                    "data.refuse.process_reads_images_died",
                    "a process that reads images died (out of memory?); use --data.workers 0",
                )
            ) from None
        finally:
            for future in waiting:
                future.cancel()
