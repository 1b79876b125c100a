"""Input images for a trained network: files, folders, arrays and PIL images, read one after the other."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from danlu.data.files.image_file import IMAGE_SUFFIXES, UNREADABLE, is_image, reason_of
from danlu.data.files.links import check_ordinary
from danlu.message import message
from danlu.refuse import Refusal, refusal, system_reason

Content = TypeVar("Content")
MAX_SIBLINGS = 1000  # files compared with a misspelt name


@dataclass(frozen=True)
class InputImage(Generic[Content]):
    """One image as it was read.

    name: path of the file, "array N", or "VIDEO frame N". source: file, array or PIL image. content: the result of the
    reader, None if it failed for the reason `error`. video: file that a frame belongs to.
    """

    name: str
    source: Any
    content: Content | None
    error: str = ""
    video: Path | None = None


def read_images(
    inputs: Sequence[Any], read: Callable[[Any], Content], numbers: Iterator[int] | None = None, among: bool = False
) -> Iterator[InputImage[Content]]:
    """Read every image of `inputs`, in order; folders give their images sorted by path.

    numbers: counter that names arrays, from 0 by default. among: `inputs` are some of several. An unreadable file in a
    folder or among several inputs gives an image with an `error`; one that was named alone raises Refusal.
    """
    numbers = count() if numbers is None else numbers
    among = among or len(inputs) > 1
    for one in inputs:
        if isinstance(one, list | tuple):
            yield from read_images(one, read, numbers, among)
        elif hasattr(one, "__array__") or hasattr(one, "__array_interface__"):
            yield from _read_arrays(one, read, numbers)
        elif not isinstance(one, str | Path):
            got = one
            if not isinstance(one, int | float | None):
                got = message("inference.got.object_of_type", "one of {name}", name=type(one).__name__)
            raise refusal(
                "PATH",
                message("inference.wanted.file_folder_array_image", "a file, a folder, an array or an image"),
                got,
            )
        elif existing_path(one).is_dir():
            yield from _read_folder(Path(one), read)
        elif among:
            yield _read_one(Path(one), read)
        else:
            yield InputImage(str(one), Path(one), _read(read, Path(one), f"PATH {one}"))


def matching(inputs: Iterable[Any]) -> list[Any]:
    """`inputs` with the files that match a pattern ("*.jpg") in its place, where the shell has not done so."""
    given: list[Any] = []
    for one in inputs:
        found = (
            sorted(glob.glob(one)) if isinstance(one, str) and glob.has_magic(one) and not Path(one).exists() else []
        )
        given += found or [one]
    return given


def existing_path(path: str | Path) -> Path:
    """`path` as a Path. Refusal with the nearest names when it does not exist."""
    name, path = str(path), Path(path)  # Path("") is the current folder
    if not name or not path.exists():
        raise refusal(
            "PATH",
            message("inference.wanted.existing_file_folder", "an existing file or folder"),
            name,
            near=siblings(path),
        )
    check_ordinary(path, "PATH")
    return path


def siblings(path: Path) -> list[str]:
    """Paths in the same folder as `path`, at most MAX_SIBLINGS."""
    return [str(p) for p in path.parent.iterdir()][:MAX_SIBLINGS] if path.parent.is_dir() else []


def output_folder(out: str | Path) -> Path:
    """Create the folder if it is missing. Raises Refusal if it cannot be created."""
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refusal(
            message(
                "inference.refuse.out_folder_can_written",
                "--out must be a folder that can be written, got {out}: {strerror}",
                out=out,
                strerror=system_reason(error),
            )
        ) from None
    return folder


def output_name(name: str, taken: set[str], suffix: str = ".png") -> str:
    """File name for the output of image `name`, numbered where `taken` has it already; adds it to `taken`."""
    stem, number = Path(name).stem, 1
    file = f"{stem}{suffix}"
    while file in taken:
        number += 1
        file = f"{stem}-{number}{suffix}"
    taken.add(file)
    return file


def _read_folder(folder: Path, read: Callable[[Path], Content]) -> Iterator[InputImage[Content]]:
    """All files with an image extension or image content; hidden files are skipped."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not _hidden(p.relative_to(folder)))
    files = [p for p in files if p.suffix.lower() in IMAGE_SUFFIXES or is_image(p)]
    if not files:
        raise refusal("PATH", message("inference.wanted.folder_images", "a folder with images"), str(folder))
    for file in files:
        yield _read_one(file, read)


def _read_one(file: Path, read: Callable[[Path], Content]) -> InputImage[Content]:
    """One file of several."""
    try:
        return InputImage(str(file), file, read(file))
    except UNREADABLE as error:
        return InputImage(str(file), file, None, reason_of(error, file))


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _read_arrays(one: Any, read: Callable[[Any], Content], numbers: Iterator[int]) -> Iterator[InputImage[Content]]:
    """A PIL image, an array (H, W) or (H, W, C), or a batch (N, H, W, C); tensors are converted to arrays."""
    if hasattr(one, "__array__"):
        one = np.asarray(one)
    for image in one if getattr(one, "ndim", 0) == 4 else [one]:
        name = f"array {next(numbers)}"
        yield InputImage(name, image, _read(read, image, name))


def _read(read: Callable[[Any], Content], source: Any, thing: str) -> Content:
    try:
        return read(source)
    except UNREADABLE as error:
        reason = reason_of(error, source) if isinstance(source, Path) else str(error)
        raise Refusal(
            message(
                "inference.refuse.cannot_read_image",
                "{thing} cannot be read as an image: {reason}",
                thing=thing,
                reason=reason,
            )
        ) from None
