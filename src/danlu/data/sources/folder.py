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
from danlu.data.image_file import IMAGE_SUFFIXES, ImageInfo
from danlu.data.image_workers import check_images
from danlu.data.sources.class_lists import names_of_folders
from danlu.data.sources.folder_guards import (
    Folder,
    annotated,
    copies_of_images,
    image_counts,
    masks_not_classes,
    not_classes,
    repeated,
)
from danlu.data.sources.labelled import image_files, of_one_depth, too_many_bad
from danlu.data.sources.mask_files import IMAGE_WORDS
from danlu.data.sources.sheets import sheets_in
from danlu.data.sources.targets import Task
from danlu.data.sources.unread_labels import advice_on_labels, unread_labels
from danlu.data.split_lists import split_lists
from danlu.data.split_names import split_of
from danlu.data.survey import File, Survey, as_survey, normal
from danlu.message import Message, message
from danlu.refuse import Refusal

NO_LABEL = {"unknown", "unlabelled", "unlabeled", "none", "all", "no_label", *IMAGE_WORDS}  # folders of no class
NO_CLASS = {*IMAGE_WORDS, "data"}  # names of a folder of all images
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


@dataclass
class _Layout:
    """Layout of the class folders.

    classes: (class folder, split). notes: about files that are not read. refuse: reason to refuse the whole folder.
    """

    classes: list[tuple[Folder, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refuse: Message | None = None
    unlabelled: tuple[int, ...] = ()  # splits of images without class folders


def look(survey: Survey) -> Evidence | None:
    """Recognise subfolders of images, unless another explanation than one class per folder is more likely."""
    if survey.is_file or not survey.images:
        return None
    layout = class_layout(survey)
    if not layout.classes and layout.refuse is None:
        why = annotated(survey) or unread_labels(survey)
        seen = message("data.seen.images", "{count} images without class folders", count=len(survey.images))
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
    return Evidence(Fit.LAYOUT, seen, why or not_classes(survey, folders))


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
        both = f"{listing.classes[i]!r} and {listing.classes[other]!r}"
        found[i] = f"the same file as {where}, so that it has the classes {both}"
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
        Problem(_relative(listing.paths[i], path), f"class {listing.classes[i]!r} has no usable training image")
        for i in good if listing.classes[i] not in classes
    ]  # fmt: skip
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


def _list(survey: Survey, layout: _Layout) -> _Listing:
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
    listing.notes += [f"{link} is a link back into the dataset and is not followed" for link in survey.links]
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


# --- layout of the classes ---------------------------------------------------------------------------------------


def class_layout(survey: Survey) -> _Layout:
    """The class folders: below a training set's folder where there is one, else at the top."""
    own, below = image_counts(survey)
    children: dict[Folder, list[Folder]] = {}
    for folder in survey.folders:
        children.setdefault(folder[:-1], []).append(folder)
    layout = _Layout()
    for folder in copies_of_images(survey):
        layout.notes.append(
            f"the {below[folder]} images of {'/'.join(folder)}/ are not read: small copies or drawings of others"
        )
        children[folder[:-1]].remove(folder)
        count = below[folder]
        for depth in range(len(folder) + 1):
            below[folder[:depth]] -= count
    top = _inside_wrappers((), own, below, children)
    kids = children.get(top, [])
    if top:
        layout.notes.append(f"read from {'/'.join(top)}/, the only folder of images")
    splits = {kid: split_of(kid[-1]) for kid in kids}
    containers = [kid for kid in kids if splits[kid] != UNASSIGNED and not own[kid] and below[kid]]
    for kid, whole in repeated(survey, {one: splits[one] for one in containers}).items():
        layout.notes.append(
            f"the {below[kid]} images of {'/'.join(kid)}/ are not read: copies of those in {'/'.join(whole)}/"
        )
        containers.remove(kid)
        kids = [one for one in kids if one != kid]
    if loose := sum(own[top[:depth]] for depth in range(len(top) + 1)):
        layout.notes.append(f"{loose} images outside the class folders are not read")
    if not containers:
        layout.classes = [(kid, TRAIN) for kid in kids]
        with_images = [kid for kid in kids if below[kid]]
        named = {splits[kid] for kid in with_images if own[kid]} - {UNASSIGNED}
        no_class = len(with_images) == 1 and normal(with_images[0][-1]) in NO_CLASS
        if with_images and (no_class or all(splits[kid] != UNASSIGNED for kid in with_images) or {TRAIN} < named):
            layout.refuse = message(
                "data.refuse.no_class_folders",
                "{folders} contain images, but neither class folders nor a file with labels in a known format; "
                "{advice}", folders=[f"{kid[-1]}/" for kid in with_images], advice=advice_on_labels(survey),
            )  # fmt: skip
        if not with_images:
            layout.classes = []
        return layout
    training = [_inside_wrappers(kid, own, below, children) for kid in containers if splits[kid] == TRAIN]
    trained = {folder[-1] for inner in training for folder in children.get(inner, ())}
    if not training and (unnamed := _like_splits(kids, containers, children)):
        layout.refuse = message(
            "data.refuse.split_without_name",
            "{unnamed}/ has the class folders of {named}/, but its name is not that of a split; rename it to train",
            unnamed=unnamed[-1], named=containers[0][-1],
        )  # fmt: skip
        return layout
    for kid in kids:
        if splits[kid] == UNASSIGNED:
            layout.notes.append(f"{'/'.join(kid)}/ is not read: its name is neither train, val nor test")
        elif kid in containers:
            inner = _inside_wrappers(kid, own, below, children)
            found = [(folder, splits[kid]) for folder in children.get(inner, ())]
            if len(found) == 1 and splits[kid] != TRAIN and _no_label(found[0][0][-1], trained):
                layout.unlabelled += (splits[kid],)
                layout.notes.append(
                    f"the {below[kid]} images of {'/'.join(kid)}/ lie in {found[0][0][-1]}/, which is no class of the "
                    "training set: used for prediction, not read"
                )
                continue
            layout.classes += found
            if own[inner]:
                layout.notes.append(f"{own[inner]} images of {'/'.join(inner)}/ outside the class folders are not read")
        elif below[kid]:
            layout.unlabelled += (splits[kid],)
            layout.notes.append(
                f"the {below[kid]} images of {'/'.join(kid)}/ have no class folder: used for prediction, not read"
            )
    return layout


def _like_splits(kids: list[Folder], containers: list[Folder], children: dict[Folder, list[Folder]]) -> Folder | None:
    """The first other folder that has a class folder of a split, as entrainement/ beside test/."""
    inner = {folder[-1] for one in containers for folder in children.get(one, ())}
    others = (kid for kid in kids if kid not in containers)
    return next((kid for kid in others if inner & {folder[-1] for folder in children.get(kid, ())}), None)


def _no_label(name: str, trained: set[str]) -> bool:
    """Return whether the only folder of a validation or test set is not a class, as in test/unknown/1.jpg."""
    return name not in trained and (normal(name) in NO_LABEL or split_of(name) != UNASSIGNED)


def _inside_wrappers(
    folder: Folder, own: Counter[Folder], below: Counter[Folder], children: dict[Folder, list[Folder]]
) -> Folder:
    """Descend into folders of which exactly one contains folders of images, such as set/set/ with set/set/cat/1.jpg."""
    while True:
        kids = [kid for kid in children.get(folder, ()) if below[kid]]
        alone = len(kids) == 1 and not own[kids[0]]
        if not alone or (own[folder] and sum(below[one] > 0 for one in children.get(kids[0], ())) < 2):
            return folder
        folder = kids[0]


# --- files ---------------------------------------------------------------------------------------------------------


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


def _classes(path: Path, listing: _Listing, good: list[int], config: DataConfig) -> tuple[tuple[str, ...], list[str]]:
    """List the classes with a training image, sorted, and notes about the others.

    Raises Refusal if a class has none, unless on_bad is "skip".
    """
    trained = {listing.classes[i] for i in good if listing.splits[i] == TRAIN}
    empty = sorted(listing.seen - trained)
    if empty and config.on_bad != "skip":
        names = ", ".join(repr(name) for name in empty[:5])
        which = f"class {names} has" if len(empty) == 1 else f"classes {names} have"
        alike = [name for name in sorted(trained) if normal(name) in set(map(normal, empty))]
        spelt = f" (the training set has {', '.join(map(repr, alike[:5]))}: spell them alike)" if alike else ""
        raise Refusal(
            message(
                "data.refuse.usable_training_image_add",
                "{path}: {which} no usable training image{spelt}; add some, remove the folder, or use --on-bad skip",
                path=path,
                which=which,
                spelt=spelt,
            )
        )
    classes = tuple(sorted(trained))
    return classes, [f"class {name!r} is not used: it has no usable training image" for name in empty]


def _remarks(
    path: Path, listing: _Listing, good: list[int], paths: tuple[Path, ...], infos: list[ImageInfo]
) -> list[str]:
    """Create notes about classes with one image and files with a wrong extension."""
    count = Counter(listing.classes[i] for i in good)
    notes = [f"class {name!r} has a single image" for name, n in sorted(count.items()) if n == 1]
    odd = [file for file, info in zip(paths, infos, strict=True) if not info.named_right]
    if odd:
        notes.append(
            f"{len(odd)} image{'s' * (len(odd) > 1)} with an extension of another format "
            f"(first: {_relative(odd[0], path)})"
        )
    return notes


def _relative(file: Path, root: Path) -> str:
    return os.path.relpath(file, root)
