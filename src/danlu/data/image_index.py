"""Find image files by the names in annotation files, which may be paths of another machine.

A name is matched by the longest suffix of its path that a file has: first exactly, then ignoring case, Unicode form and
extension. Several equally good matches are reported as ambiguous.
"""

from __future__ import annotations

import filecmp
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from danlu.data.dataset import UNASSIGNED
from danlu.data.files.links import FOLLOW, Fence, Unread
from danlu.data.files.survey import File, Survey, normal
from danlu.data.split_names import WORD, split_of_path
from danlu.message import message

# Words in the names of folders that hold drawings or small copies of the images beside them.
DERIVED_WORDS = (
    "visualization",
    "visualizations",
    "visualisation",
    "viz",
    "thumbnails",
    "thumbs",
    "previews",
    "preview",
)
MASK_FOLDER_WORDS = ("mask", "masks", "segmentationclass", "segmentationobject", "gt", "groundtruth")
OUTSIDE = "outside the data folder"  # begins the reason why an image that exists is not read
NOT_FOLLOWED = message("data.problem.outside", f"{OUTSIDE}; {{follow}}", follow=FOLLOW)
AMBIGUOUS = "ambiguous"  # begins the reason why a name that several images bear is not found


@dataclass
class ImageIndex:
    """The images of a survey by name.

    follow_links: names may be paths out of the root. links: links out of the root that were not followed. inexact:
    names that matched a file only with another case, form or extension. derived: folder of drawings or small copies ->
    number of images passed over in it for the original of that name. copies: images that have a copy in another folder.
    """

    images: Sequence[File]
    root: Path
    follow_links: bool = False
    links: Sequence[Unread] = ()
    inexact: dict[str, str] = field(default_factory=dict)
    derived: dict[str, int] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._names: dict[str, list[File]] = defaultdict(list)
        self._stems: dict[str, list[File]] = defaultdict(list)
        for file in self.images:
            self._names[normal(file.name)].append(file)
            self._stems[normal(file.stem)].append(file)

    @property
    def stems(self) -> Set[str]:
        """Normalised names of the images without their endings."""
        return self._stems.keys()

    @classmethod
    def of(cls, survey: Survey) -> ImageIndex:
        """Return the index of the images of a survey."""
        return cls(survey.images, survey.root, survey.follow_links, survey.links_out)

    def find(self, name: str, near: tuple[str, ...] = (), split: int = UNASSIGNED) -> File | str:  # noqa: PLR0911
        """Find the image with the given name (with any extension, or none); returns the reason if there is none.

        Args:
            name: as an annotation file gives it, a bare name or a path of any system.
            near: folder of the annotation file; of several matches those that share most of its folders are meant.
            split: that of the annotation; of matches that are equally near those in a folder of this split are meant.
        """
        parts = name_parts(name)
        if not parts:
            return message("data.problem.no_file_name", "no file name")
        if self.follow_links and (outside := self._outside(name, near)):
            return outside
        chosen = self._longest(self._names.get(normal(parts[-1]), []), parts, near, split)
        exact = [file for file in chosen if file.name == parts[-1]]
        if len({file.folder for file in chosen}) == 1 and len(exact) == 1:
            chosen = exact  # a.jpg beside a.JPG
        if not chosen:
            stem = parts[-1]
            chosen = self._longest(self._of_stem(stem, parts), parts, near, split)
            if not chosen and "." in stem:
                chosen = self._longest(self._of_stem(stem.rpartition(".")[0], parts), parts, near, split)
        if not chosen and parts[-1].isdecimal():
            chosen = self._longest(self._padded.get(int(parts[-1]), []), parts, near, split)
        if not chosen and "%" in name and (decoded := unquote(name)) != name:
            return self.find(decoded, near, split)
        if not chosen:
            return self._missing(name, near)
        if len(chosen) == 1 and self._of_another_split(chosen[0], parts, split):
            return message(
                "data.problem.image_of_another_split",
                "missing image ({file} is of another split)",
                file=chosen[0].relative,
            )
        if len(chosen) > 1:
            chosen = self._one_of_copies(self._without_masks(self._originals(chosen)))
        if len(chosen) > 1:
            text = f"{AMBIGUOUS}: {{first}} and {{second}} both have this name"
            return message("data.problem.ambiguous", text, first=chosen[0].relative, second=chosen[1].relative)
        if chosen[0].name != parts[-1] and chosen[0].stem != parts[-1]:
            self.inexact[name] = chosen[0].relative
        return chosen[0]

    def nearness(self, file: File, name: str, near: tuple[str, ...]) -> tuple[int, int, int]:
        """Numbers of folders that a file shares with those in a name, and with `near`: larger fits better."""
        folders, close = tuple(map(normal, file.folder)), tuple(map(normal, near))
        wanted = tuple(map(normal, name_parts(name)[:-1]))
        return _shared_end(folders, wanted), _shared_end(folders, close), _shared_start(folders, close)

    def _missing(self, name: str, near: tuple[str, ...]) -> str:
        if self._outside(name, near) is not None:
            return NOT_FOLLOWED
        if (link := next(iter(self.links), None)) is None:
            return message("data.problem.missing_image", "missing image")
        text = "missing image ({where} is {reason})"
        return message("data.problem.missing_image_link", text, where=link.where, reason=link.reason)

    def _outside(self, name: str, near: tuple[str, ...]) -> File | None:
        """The file out of the root that an absolute path, or one with "..", leads to."""
        if not (os.path.isabs(name) or ".." in name) or "\0" in name:
            return None
        path = self.root.joinpath(*near, name)
        try:
            if not path.is_file() or self._fence.holds(path):
                return None
        except OSError:  # a name too long for a file
            return None
        return File(path, Path(os.path.relpath(path, self.root)).parts)

    @cached_property
    def _padded(self) -> dict[int, list[File]]:
        """Images by the number in names such as 00042.png: tables write such numbers without their zeros."""
        found: dict[int, list[File]] = defaultdict(list)
        for stem, files in self._stems.items():
            if stem.isdecimal() and stem.startswith("0"):
                found[int(stem)] += files
        return found

    @cached_property
    def _fence(self) -> Fence:
        return Fence.around(self.root)

    def _originals(self, files: list[File]) -> list[File]:
        """The files without those in folders of drawings or small copies."""
        kept = [file for file in files if not any(map(is_derived, file.folder))]
        for file in files if len(kept) == 1 else ():
            if file is not kept[0]:
                self.derived["/".join(file.folder)] = self.derived.get("/".join(file.folder), 0) + 1
        return kept or files

    def _of_stem(self, stem: str, parts: tuple[str, ...]) -> list[File]:
        """Images with this stem and any ending; masks of a missing image count only if their folder is named."""
        found = self._stems.get(normal(stem), [])
        return [file for file in found if all(folder in parts for folder in file.folder if _is_of_masks(folder))]

    def _without_masks(self, files: list[File]) -> list[File]:
        """Drop the files in mask folders, unless all of them are."""
        kept = [file for file in files if not any(map(_is_of_masks, file.folder))]
        return kept or files

    def _one_of_copies(self, files: list[File]) -> list[File]:
        """One of several equal files, preferably of a split; all if they differ or are of several splits."""
        files = sorted(files, key=lambda file: split_of_path(file.folder) == UNASSIGNED)
        first, *others = files
        splits = {split_of_path(file.folder) for file in files} - {UNASSIGNED}
        if not others or len(splits) > 1 or not all(filecmp.cmp(first.path, one.path, shallow=False) for one in others):
            return files
        self.copies[first.relative] = others[0].relative
        return [first]

    def _of_another_split(self, file: File, parts: tuple[str, ...], split: int) -> bool:
        """Return whether an image lies in the folder of another split than its annotation, unnamed by the annotation.

        False where the split of the annotation has no images.
        """
        own = split_of_path(file.folder)
        if own in (UNASSIGNED, split) or split == UNASSIGNED or split_of_path(parts[:-1]) == own:
            return False
        return split in self._splits_with_images

    @cached_property
    def _splits_with_images(self) -> set[int]:
        return {split_of_path(folder) for folder in {file.folder for file in self.images}}

    def notes(self) -> list[str]:
        """Notes on names that matched only inexactly, and on images passed over as copies."""
        notes: list[str] = [
            message(
                "data.note.drawings_or_copies",
                "{count} {count:image|images} of {folder}/ {count:is|are} not read: drawings or copies of others",
                count=n,
                folder=folder,
            )
            for folder, n in self.derived.items()
        ]
        if self.copies:
            (file, copy), count = next(iter(self.copies.items())), len(self.copies)
            text = "{count} {count:image has a copy|images have copies} in another folder (first: {file} and {copy})"
            notes.append(message("data.note.copies_elsewhere", text, count=count, file=file, copy=copy))
        if not self.inexact:
            return notes
        name, file = next(iter(self.inexact.items()))
        return [
            *notes,
            f"{len(self.inexact)} images were found under a name with another case, Unicode form, extension or zeros "
            f"(first: {name} is {file})",
        ]

    def _longest(self, files: Iterable[File], parts: tuple[str, ...], near: tuple[str, ...], split: int) -> list[File]:
        """Files that share the longest path suffix with `parts`; among equals, those nearest to `near`."""
        wanted, close = tuple(map(normal, parts[:-1])), tuple(map(normal, near))
        best: list[File] = []
        score = (-1, -1, -1, -1)
        for file in files:
            folders = tuple(map(normal, file.folder))
            of_split = split != UNASSIGNED and split_of_path(file.folder) == split
            # Folders that the name gives come first, then those of the annotation file: its own, and its subfolders.
            own = (_shared_end(folders, wanted), _shared_end(folders, close), of_split, _shared_start(folders, close))
            if own > score:
                best, score = [file], own
            elif own == score:
                best.append(file)
        return best


def is_derived(folder: str) -> bool:
    """Return whether a folder has a usual name for drawings or small copies: "AnnotationsVisualization", "thumbs"."""
    return any(word.lower() in DERIVED_WORDS for word in WORD.findall(folder))


def _is_of_masks(folder: str) -> bool:
    return any(word.lower() in MASK_FOLDER_WORDS for word in (folder, *WORD.findall(folder)))


def name_parts(name: str) -> tuple[str, ...]:
    """Split a path of any operating system, or a URL, into its parts: "C:\\\\data\\\\a.jpg" -> ("data", "a.jpg")."""
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
