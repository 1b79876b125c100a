"""A folder of images per class, with or without a training, validation and test set inside."""

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
from danlu.data.dataset import TRAIN, UNASSIGNED, Dataset, Problem
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.image_file import IMAGE_SUFFIXES, ImageInfo
from danlu.data.files.survey import File, Survey, as_survey, normal
from danlu.data.image_workers import check_images
from danlu.data.sources.folders.class_layout import ClassLayout, class_layout
from danlu.data.sources.folders.folder_guards import (
    Folder,
    annotated,
    masks_not_classes,
    not_classes,
)
from danlu.data.sources.folders.unread_labels import unread_labels
from danlu.data.sources.labelled_images.labelled import image_files, of_one_depth, too_many_bad
from danlu.data.sources.masks.mask_files import only_masks_beside
from danlu.data.sources.tables.class_lists import names_of_folders
from danlu.data.sources.tables.sheets import sheets_in
from danlu.data.sources.tables.targets import Task
from danlu.data.split_lists import split_lists
from danlu.message import Message, message
from danlu.refuse import Refusal

IMAGES_PER_ROW = 0.5  # of a table that lists the images beside it, at least
FULL_CHECK = 2 * 1024**3  # bytes up to which every image is decoded while checking


@dataclass
class _Listing:
    """Files found below the class folders, before any is opened."""

    paths: list[Path] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)  # of each path
    splits: list[int] = field(default_factory=list)  # of each path
    seen: set[str] = field(default_factory=set)  # every class folder, empty ones too
    bytes: int = 0
    places: list[tuple[int, int] | None] = field(default_factory=list)  # device and inode of each path
    notes: list[str] = field(default_factory=list)


def look(survey: Survey) -> Evidence | None:
    """Recognise subfolders of images, unless another explanation than one class per folder is more likely."""
    if survey.is_file or not survey.images:
        return None
    layout = class_layout(survey)
    if not layout.classes and layout.refuse is None:
        why = annotated(survey) or unread_labels(survey) or only_masks_beside(survey)
        seen = message(
            "data.seen.images", "{count} {count:image|images} without class folders", count=len(survey.images)
        )
        tables = [len(survey.lines(file)) for file in survey.of(".csv", ".tsv")]
        # A table of about as many rows as there are images is theirs; beside a few images it stands for itself.
        fit = Fit.LAYOUT if len(survey.images) >= IMAGES_PER_ROW * max(tables, default=0) else Fit.POSSIBLE
        return None if why is None else Evidence(fit, seen, why)
    folders = [folder for folder, _ in layout.classes]
    alone = layout.refuse or len({folder[-1] for folder in folders}) < 2
    if alone and any(one.found and one.kind in ("unclear", "unread", "runs") for one in sheets_in(survey)):
        return None  # a table that its own reader refuses
    names = list(dict.fromkeys(folder[-1] for folder in folders))
    seen = message("data.seen.folder", "{count} folders of images ({names})", count=len(folders), names=names[:6])
    why = (
        (masks_not_classes(survey) or annotated(survey) or unread_labels(survey) or layout.refuse)
        if layout.refuse
        else None
    )
    return Evidence(Fit.LAYOUT, seen, why or not_classes(survey, folders, bool(layout.listed)))


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and the sorted classes of all splits. Every file is checked; bad ones are problems.

    Raises Refusal if more than 5 % of the files are bad or a class becomes empty, unless config.on_bad is "skip".
    """
    survey = as_survey(path)
    path = survey.root
    layout = class_layout(survey)
    listing = _list(survey, layout)
    found = of_one_depth(check_images(listing.paths, decode=listing.bytes < FULL_CHECK, workers=config.workers))
    for i, other in _of_two_classes(listing).items():
        where = _relative(listing.paths[other], path)
        text = "the same file as {file}, so that it has the classes {first!r} and {second!r}"
        names = {"first": listing.classes[i], "second": listing.classes[other]}
        found[i] = message("data.problem.two_classes", text, file=where, **names)
    problems, strays = [], 0
    for file, info in zip(listing.paths, found, strict=True):
        if isinstance(info, str):
            problems.append(Problem(_relative(file, path), info))
            # A text file beside the images is a problem, but does not count as a broken image.
            strays += file.suffix.lower() not in IMAGE_SUFFIXES
    _stop_if_many_bad(path, problems, len(problems) - strays, len(found) - strays, config)
    good = [i for i, info in enumerate(found) if isinstance(info, ImageInfo)]
    classes, dropped = _classes(path, listing, good, config)
    problems += [
        Problem(_relative(listing.paths[i], path), _unusable_class(listing.classes[i]))
        for i in good
        if listing.classes[i] not in classes
    ]
    good = [i for i in good if listing.classes[i] in classes]
    index = {name: k for k, name in enumerate(classes)}
    infos = [info for i in good if isinstance(info := found[i], ImageInfo)]
    paths = tuple(listing.paths[i] for i in good)
    splits = torch.tensor([listing.splits[i] for i in good], dtype=torch.int8)
    notes = listing.notes + dropped + _remarks(path, listing, good, paths, infos)
    names, file = names_of_folders(survey, classes)
    if names:
        text = "class folders get the names in {file} ({folder} is {name})"
        notes.append(message("data.folders_named", text, file=file, folder=classes[0], name=repr(names[classes[0]])))
    if len(splits.unique()) == 1:
        lists = split_lists(survey, paths)
        splits = torch.tensor([lists.splits.get(file, UNASSIGNED) for file in paths], dtype=torch.int8)
        notes += lists.notes
        problems += lists.problems
    return Dataset(
        path=str(path),
        format="folder",
        task="classify",
        inputs=image_files(paths, infos, config, notes),
        targets=torch.tensor([index[listing.classes[i]] for i in good], dtype=torch.int64),
        classes=tuple(names.get(name, name) for name in classes),
        given=splits if len(splits.unique()) > 1 else None,
        name_of=lambda i: _relative(paths[i], path),
        problems=problems,
        notes=notes,
        unlabelled=layout.unlabelled,
    )


def _list(survey: Survey, layout: ClassLayout) -> _Listing:
    listing = _Listing(notes=list(layout.notes))
    kids: dict[Folder, list[Folder]] = {}
    for folder in survey.folders:
        kids.setdefault(folder[:-1], []).append(folder)
    for folder, split in layout.classes:
        # Names that differ only in their Unicode form (é as one character or as e and an accent) are one class.
        name = unicodedata.normalize("NFC", folder[-1])
        listing.seen.add(name)
        for file in _below(survey, folder, kids):
            listing.paths.append(file.path)
            listing.classes.append(name)
            listing.splits.append(split)
            listing.places.append(None)
            with contextlib.suppress(OSError):  # broken links are reported by the check
                stat = file.path.stat()
                listing.bytes += stat.st_size
                listing.places[-1] = (stat.st_dev, stat.st_ino) if stat.st_ino else None
    for file, (name, split) in layout.listed.items():
        listing.paths.append(file.path)
        listing.classes.append(unicodedata.normalize("NFC", name))
        listing.splits.append(split)
        listing.places.append(None)
    listing.notes += [
        message(
            "data.note.link_back_into_dataset", "{link} is a link back into the dataset and is not followed", link=link
        )
        for link in survey.links
    ]
    return listing


def _of_two_classes(listing: _Listing) -> dict[int, int]:
    """Paths of a file that is linked into two classes, by their numbers: path -> one of the other class."""
    first: dict[tuple[int, int], int] = {}
    found: dict[int, int] = {}
    for i, place in enumerate(listing.places):
        if place is None:
            continue
        other = first.setdefault(place, i)
        if listing.classes[other] != listing.classes[i]:
            found[i] = other
            found.setdefault(other, i)
    return found


def _below(survey: Survey, folder: Folder, kids: dict[Folder, list[Folder]]) -> Iterator[File]:
    """Iterate over the files of a class folder, at any depth. kids: folder -> the folders in it."""
    waiting = [folder]
    while waiting:
        one = waiting.pop()
        yield from survey.by_folder.get(one, ())
        waiting += kids.get(one, ())


def _stop_if_many_bad(path: Path, problems: list[Problem], bad: int, total: int, config: DataConfig) -> None:
    if config.on_bad == "skip" or not too_many_bad(bad, total):
        return
    broken = [p for p in problems if Path(p.where).suffix.lower() in IMAGE_SUFFIXES]
    first = ", ".join(f"{p.where} ({p.reason})" for p in broken[:3])
    more = message("data.more.more", " and {broken} more", broken=len(broken) - 3) if len(broken) > 3 else ""
    raise Refusal(
        message(
            "data.refuse.images_cannot_used_fix",
            "{path}: {bad} of {total} images ({fraction:.0%}) cannot be used: {first}{more}; fix or "
            "remove them, or use --on-bad skip",
            path=path,
            bad=bad,
            total=total,
            fraction=bad / total,
            first=first,
            more=more,
        )
    )


def _unusable_class(name: str) -> Message:
    return message("data.problem.unusable_class", "class {name!r} has no usable training image", name=name)


def _classes(path: Path, listing: _Listing, good: list[int], config: DataConfig) -> tuple[tuple[str, ...], list[str]]:
    """List the classes with a training image, sorted, and notes about the others.

    Raises Refusal if a class has none, unless on_bad is "skip".
    """
    trained = {listing.classes[i] for i in good if listing.splits[i] == TRAIN}
    empty = sorted(listing.seen - trained)
    if empty and config.on_bad != "skip":
        names = [repr(name) for name in empty[:5]]
        alike = [name for name in sorted(trained) if normal(name) in set(map(normal, empty))]
        text = " (the training set has {alike}: spell them alike)"
        spelt = message("data.spelt", text, alike=[*map(repr, alike[:5])]) if alike else ""
        raise Refusal(
            message(
                "data.refuse.usable_training_image_add",
                "{path}: {count:class|classes} {names} {count:has|have} no usable training image{spelt}; "
                "add some, remove the folder, or use --on-bad skip",
                path=path,
                count=len(empty),
                names=names,
                spelt=spelt,
            )
        )
    classes = tuple(sorted(trained))
    return classes, [_unused(name) for name in empty]


def _remarks(
    path: Path, listing: _Listing, good: list[int], paths: tuple[Path, ...], infos: list[ImageInfo]
) -> list[str]:
    """Create notes about classes with one image and files with a wrong extension."""
    count = Counter(listing.classes[i] for i in good)
    notes: list[str] = [
        message("data.note.class_single_image", "class {name!r} has a single image", name=name)
        for name, n in sorted(count.items())
        if n == 1
    ]
    odd = [file for file, info in zip(paths, infos, strict=True) if not info.named_right]
    if odd:
        notes.append(
            message(
                "data.note.other_extension",
                "images with an extension of another format: {count} (first: {file})",
                count=len(odd),
                file=_relative(odd[0], path),
            )
        )
    return notes


def _relative(file: Path, root: Path) -> str:
    return os.path.relpath(file, root)


def _unused(name: str) -> Message:
    return message("data.note.class_unused", "class {name!r} is not used: it has no usable training image", name=name)
