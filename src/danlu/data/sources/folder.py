"""A folder of images per class, with or without train, val and test inside."""

from __future__ import annotations

import contextlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from danlu.config import DataConfig
from danlu.data.dataset import TEST, TRAIN, VAL, Dataset, ImageFiles, Problem
from danlu.data.images import ImageInfo, check_images, extensions
from danlu.data.sources.targets import Task, need_two
from danlu.refuse import Refusal

SPLIT_NAMES = {"train": TRAIN, "training": TRAIN, "val": VAL, "valid": VAL, "validation": VAL, "test": TEST}
SPLIT_NAMES |= {"testing": TEST}
JUNK = {"thumbs.db", "desktop.ini", "__macosx"}  # left by file managers, besides hidden files
BAD_SHARE = 0.05  # more bad files than this share stop the run unless --on-bad skip
FULL_CHECK = 2 * 1024**3  # bytes up to which every image is decoded while checking


@dataclass
class _Listing:
    """What the walk through the folder met, before any file is opened."""

    paths: list[Path] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)  # of each path
    splits: list[int] = field(default_factory=list)  # of each path
    seen: set[str] = field(default_factory=set)  # every class folder, empty ones too
    bytes: int = 0
    notes: list[str] = field(default_factory=list)


def looks_like(path: Path) -> bool:
    """A subfolder holds a file named like an image."""
    if not path.is_dir():
        return False
    return any(
        os.path.splitext(file.name)[1].lower() in extensions()
        for folder in _folders(path)
        for file in _walk(folder, path, [])
    )


def open(path: Path, config: DataConfig, task: Task | None = None) -> Dataset:
    """`ImageFiles` and the sorted classes of all splits. Every file is looked at; each bad one is named once.

    Raises Refusal when more than 5 % are bad or a class is left empty, unless config.on_bad is "skip".
    """
    listing = _list(path)
    found = check_images(listing.paths, decode=listing.bytes < FULL_CHECK, workers=config.workers)
    problems, strays = [], 0
    for file, info in zip(listing.paths, found, strict=True):
        if isinstance(info, str):
            problems.append(Problem(_relative(file, path), info))
            # A text file beside the images is named, but it is no broken image.
            strays += file.suffix.lower() not in extensions()
    _stop_if_many_bad(path, problems, len(problems) - strays, len(found) - strays, config)
    good = [i for i, info in enumerate(found) if isinstance(info, ImageInfo)]
    classes, dropped = _classes(path, listing, good, config)
    good = [i for i in good if listing.classes[i] in classes]
    index = {name: k for k, name in enumerate(classes)}
    infos = [info for i in good if isinstance(info := found[i], ImageInfo)]
    paths = tuple(listing.paths[i] for i in good)
    splits = torch.tensor([listing.splits[i] for i in good], dtype=torch.int8)
    return Dataset(
        path=str(path),
        format="folder",
        task="classify",
        inputs=ImageFiles(paths, tuple((f.height, f.width) for f in infos), all(f.grey for f in infos)),
        targets=torch.tensor([index[listing.classes[i]] for i in good], dtype=torch.int64),
        classes=classes,
        given=splits if len(splits.unique()) > 1 else None,
        name_of=lambda i: _relative(paths[i], path),
        problems=problems,
        notes=listing.notes + dropped + _remarks(path, listing, good, paths, infos),
    )


def _list(root: Path) -> _Listing:
    listing = _Listing()
    folders = list(_folders(root))
    inside = {folder: SPLIT_NAMES.get(folder.name.lower()) for folder in folders}
    if TRAIN in inside.values():
        for folder, split in inside.items():
            if split is None:
                listing.notes.append(f"{folder.name}/ is not read: it is neither train, val nor test")
            else:
                _list_split(root, folder, split, listing)
    else:
        _list_split(root, root, TRAIN, listing)
    return listing


def _list_split(root: Path, folder: Path, split: int, listing: _Listing) -> None:
    for class_folder in _folders(folder):
        # One name may be stored in two ways (é as one letter, or as e and an accent): it is one class.
        name = unicodedata.normalize("NFC", class_folder.name)
        listing.seen.add(name)
        for file in _walk(class_folder, root, listing.notes):
            listing.paths.append(Path(file.path))
            listing.classes.append(name)
            listing.splits.append(split)
            with contextlib.suppress(OSError):  # a link to nowhere; the check names it
                listing.bytes += file.stat().st_size


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    """What a folder holds, sorted, without hidden files and what file managers leave."""
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise Refusal(f"folder {folder} must be readable, got: {error.strerror}") from None
    kept = (e for e in entries if not e.name.startswith(".") and e.name.lower() not in JUNK)
    return sorted(kept, key=lambda e: e.name)


def _folders(folder: Path) -> Iterator[Path]:
    """Subfolders; a link back to the folder or to one above it is a loop and left out."""
    above = os.path.join(os.path.realpath(folder), "")
    for entry in _entries(folder):
        if entry.is_dir() and not above.startswith(os.path.join(os.path.realpath(entry.path), "")):
            yield Path(entry.path)


def _walk(folder: Path, root: Path, notes: list[str]) -> Iterator[os.DirEntry[str]]:
    """Every file under a class folder, at any depth.

    A link to a folder is followed when it leads out of the dataset; one that leads back into it would loop, or give
    another class's images a second label, and is skipped with a note.
    """
    home = os.path.join(os.path.realpath(root), "")
    visited = {os.path.realpath(folder)}
    waiting = [str(folder)]
    while waiting:
        for entry in _entries(waiting.pop()):
            if not entry.is_dir():
                yield entry
                continue
            if entry.is_symlink():
                target = os.path.join(os.path.realpath(entry.path), "")
                if target.startswith(home) or home.startswith(target):
                    notes.append(
                        f"{_relative(Path(entry.path), root)} is a link back into the dataset and is not followed"
                    )
                    continue
            real = os.path.realpath(entry.path)
            if real not in visited:
                visited.add(real)
                waiting.append(entry.path)


def _stop_if_many_bad(path: Path, problems: list[Problem], bad: int, total: int, config: DataConfig) -> None:
    if config.on_bad == "skip" or bad <= BAD_SHARE * total:
        return
    broken = [p for p in problems if Path(p.where).suffix.lower() in extensions()]
    first = ", ".join(f"{p.where} ({p.reason})" for p in broken[:3])
    more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
    raise Refusal(
        f"{path}: {bad} of {total} images ({bad / total:.0%}) cannot be used: {first}{more}; "
        "mend or remove them, or use --on-bad skip"
    )


def _classes(path: Path, listing: _Listing, good: list[int], config: DataConfig) -> tuple[tuple[str, ...], list[str]]:
    """Sorted classes that have a training image, and notes on those dropped; Refusal unless on_bad is "skip"."""
    trained = {listing.classes[i] for i in good if listing.splits[i] == TRAIN}
    empty = sorted(listing.seen - trained)
    if empty and config.on_bad != "skip":
        names = ", ".join(repr(name) for name in empty[:5])
        which = f"class {names} has" if len(empty) == 1 else f"classes {names} have"
        raise Refusal(f"{path}: {which} no usable training image; add some, remove the folder, or use --on-bad skip")
    classes = tuple(sorted(trained))
    need_two(classes, path)
    return classes, [f"class {name!r} is left out: it has no usable training image" for name in empty]


def _remarks(
    path: Path, listing: _Listing, good: list[int], paths: tuple[Path, ...], infos: list[ImageInfo]
) -> list[str]:
    """Notes on what was read all the same."""
    count = Counter(listing.classes[i] for i in good)
    notes = [f"class {name!r} has a single image" for name, n in sorted(count.items()) if n == 1]
    odd = [file for file, info in zip(paths, infos, strict=True) if not info.named_right]
    if odd:
        notes.append(
            f"{len(odd)} image{'s' * (len(odd) > 1)} read by content, the extension says otherwise "
            f"(first: {_relative(odd[0], path)})"
        )
    return notes


def _relative(file: Path, root: Path) -> str:
    return os.path.relpath(file, root)
