"""Image files found by the names that annotations give them, whatever machine those were written on.

A name is matched by its longest ending that some file has: first as written, then ignoring case, Unicode form and
extension. Several files that match equally well are an ambiguity, never a choice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from danlu.data.survey import File, Survey, normal


@dataclass
class ImageIndex:
    """The images of a survey by name. inexact: names that matched a file only with another case, form or extension."""

    images: Sequence[File]
    root: Path
    inexact: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._names: dict[str, list[File]] = defaultdict(list)
        self._stems: dict[str, list[File]] = defaultdict(list)
        for file in self.images:
            self._names[normal(file.name)].append(file)
            self._stems[normal(file.stem)].append(file)

    @classmethod
    def of(cls, survey: Survey) -> ImageIndex:
        return cls(survey.images, survey.root)

    def find(self, name: str, near: tuple[str, ...] = (), any_suffix: bool = True) -> File | str:
        """The image called `name`, or in a few words why there is none.

        near: folder of the annotation file; of several matches those that share most of its folders are meant.
        any_suffix: also match another extension, or none.
        """
        parts = name_parts(name)
        if not parts:
            return "no file name"
        candidates = self._names.get(normal(parts[-1]), [])
        exact = [file for file in candidates if file.name == parts[-1]]
        chosen = self._longest(exact or candidates, parts, near)
        if not chosen and any_suffix:
            stem = parts[-1]
            chosen = self._longest(self._stems.get(normal(stem), []), parts, near, stems=True)
            if not chosen and "." in stem:
                chosen = self._longest(self._stems.get(normal(stem.rpartition(".")[0]), []), parts, near, stems=True)
        if not chosen:
            return "missing image"
        if len(chosen) > 1:
            return f"ambiguous: {chosen[0].relative} and {chosen[1].relative} are both called so"
        if chosen[0].name != parts[-1] and chosen[0].stem != parts[-1]:
            self.inexact[name] = chosen[0].relative
        return chosen[0]

    def notes(self) -> list[str]:
        """A note on names that matched only inexactly."""
        if not self.inexact:
            return []
        name, file = next(iter(self.inexact.items()))
        return [
            f"{len(self.inexact)} images are found by name with another case, accent form or extension "
            f"(first: {name} is {file})"
        ]

    def _longest(
        self, files: Iterable[File], parts: tuple[str, ...], near: tuple[str, ...], stems: bool = False
    ) -> list[File]:
        """The files whose path ends like `parts` for longest; of equals, those with most folders of `near`."""
        wanted = tuple(map(normal, parts[:-1]))
        best: list[File] = []
        score = (-1, -1, -1)
        for file in files:
            folders = tuple(map(normal, file.folder))
            close = tuple(map(normal, near))
            # Folders that the name gives come first, then those of the annotation file: its own, and its subfolders.
            own = (_shared_end(folders, wanted), _shared_end(folders, close), _shared_start(folders, close))
            if own > score:
                best, score = [file], own
            elif own == score:
                best.append(file)
        if stems and len(best) > 1:  # x.jpg and x.png side by side
            return best
        return best


def name_parts(name: str) -> tuple[str, ...]:
    """A path of any system, or an address, as folders and a name: "C:\\\\data\\\\a.jpg" -> ("data", "a.jpg")."""
    plain = name.strip().replace("\\", "/")
    if "://" in plain or "?d=" in plain:
        plain = unquote(plain.rpartition("?d=")[2] if "?d=" in plain else plain.partition("://")[2])
        plain = plain.split("?")[0]
    parts = [part for part in plain.split("/") if part not in ("", ".", "..")]
    return tuple(part for part in parts if not (len(part) == 2 and part[1] == ":"))


def _shared_end(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    count = 0
    for a, b in zip(reversed(first), reversed(second)):
        if a != b:
            break
        count += 1
    return count


def _shared_start(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    count = 0
    for a, b in zip(first, second):
        if a != b:
            break
        count += 1
    return count
