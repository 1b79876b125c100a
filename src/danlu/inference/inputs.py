"""The images that a user gives to a trained network: files, folders, arrays and PIL images, each read in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from danlu.data.images import UNREADABLE, extensions, is_image, reason_of
from danlu.refuse import Refusal, refusal

Read = TypeVar("Read")


@dataclass(frozen=True)
class Given(Generic[Read]):
    """One image. source: its file, array or PIL image. read: what was made of it, or None and the reason.

    video: the file that it is a frame of.
    """

    name: str
    source: Any
    read: Read | None
    reason: str = ""
    video: Path | None = None


def images_given(
    inputs: Iterable[Any], read: Callable[[Any], Read], numbers: Iterator[int] | None = None
) -> Iterator[Given[Read]]:
    """Every image of `inputs`, in order; a folder gives its images sorted. Arrays are called by `numbers`, from 0.

    One of a folder that cannot be read has a reason instead; one that was named itself is refused.
    """
    numbers = count() if numbers is None else numbers
    for given in inputs:
        if isinstance(given, list | tuple):
            yield from images_given(given, read, numbers)
        elif hasattr(given, "__array__") or hasattr(given, "__array_interface__"):
            yield from _arrays(given, read, numbers)
        elif not isinstance(given, str | Path):
            got = given if isinstance(given, int | float | None) else f"one of {type(given).__name__}"
            raise refusal("PATH", "a file, a folder, an array or an image", got)
        elif existing(given).is_dir():
            yield from _folder(Path(given), read)
        else:
            yield Given(str(given), Path(given), _read(read, Path(given), f"PATH {given}"))


def existing(given: str | Path) -> Path:
    """The path. Refusal, with what lies near, when there is none."""
    path = Path(given)
    if not path.exists():
        raise refusal("PATH", "an existing file or folder", str(path), near=beside(path))
    return path


def beside(path: Path) -> list[str]:
    return [str(p) for p in path.parent.iterdir()][:1000] if path.parent.is_dir() else []


def output_folder(out: str | Path) -> Path:
    """The folder, made where it is missing. Refusal when it cannot be."""
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refusal(f"--out must be a folder that can be written, got {out}: {error.strerror}") from None
    return folder


def output_name(name: str, taken: set[str], suffix: str = ".png") -> str:
    """A file name after the image's own that no other image has taken."""
    stem, number = Path(name).stem, 1
    file = f"{stem}{suffix}"
    while file in taken:
        number += 1
        file = f"{stem}-{number}{suffix}"
    taken.add(file)
    return file


def _folder(folder: Path, read: Callable[[Path], Read]) -> Iterator[Given[Read]]:
    """Every file called as images are, and whatever else is one; hidden files are no one's images."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not _hidden(p.relative_to(folder)))
    files = [p for p in files if p.suffix.lower() in extensions() or is_image(p)]
    if not files:
        raise refusal("PATH", "a folder with images in it", str(folder))
    for file in files:
        try:
            yield Given(str(file), file, read(file))
        except UNREADABLE as error:
            yield Given(str(file), file, None, reason_of(error))


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _arrays(given: Any, read: Callable[[Any], Read], numbers: Iterator[int]) -> Iterator[Given[Read]]:
    """A PIL image, an array, or an array (N, H, W, C) of several; tensors are taken for arrays."""
    if hasattr(given, "__array__"):
        given = np.asarray(given)
    for one in given if getattr(given, "ndim", 0) == 4 else [given]:
        name = f"array {next(numbers)}"
        yield Given(name, one, _read(read, one, name))


def _read(read: Callable[[Any], Read], source: Any, thing: str) -> Read:
    try:
        return read(source)
    except UNREADABLE as error:
        reason = reason_of(error) if isinstance(source, Path) else str(error)
        raise Refusal(f"{thing} is no image that can be read: {reason}") from None
