"""Check labelled images and their objects, and assemble them to a Dataset.

Faulty ones are skipped, clipped or kept, and named by file and object. Images without objects are kept.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from danlu.config import DataConfig
from danlu.data.annotations import Annotation
from danlu.data.dataset import TEST, TRAIN, VAL, Dataset, Problem
from danlu.data.files.image_file import ImageInfo
from danlu.data.image_workers import check_images
from danlu.data.sources.labelled_images.annotated_sizes import compared, refuse_resized
from danlu.data.sources.labelled_images.box_forms import BoxForm, refuse_other_forms, refuse_pixels
from danlu.data.sources.labelled_images.labelled import (
    Labelled,
    Thing,
    image_files,
    of_one_depth,
    relative,
    too_many_bad,
)
from danlu.data.sources.labelled_images.object_checks import usable_objects
from danlu.data.sources.labelled_images.outlines import outlined
from danlu.message import message
from danlu.refuse import Refusal
from danlu.task_spec import TASKS, ObjectTask

FULL_CHECK = 2 * 1024**3  # bytes; up to this total size every image is decoded when checking


def assemble(
    path: Path,
    form: str,
    found: Sequence[Labelled],
    classes: Sequence[str],
    config: DataConfig,
    task: ObjectTask,
    problems: Iterable[Problem] = (),
    notes: Iterable[str] = (),
    box_form: BoxForm = "corners",
) -> Dataset:
    """Assemble the checked Dataset. Raises Refusal if there are no images or classes, or too many are bad.

    box_form: of the numbers in the file, from which the corners were computed.
    task: "segment" keeps the outlines; an object without a usable one is then ignored in training.
    """
    problems, notes = list(problems), list(notes)
    root = path if path.is_dir() else path.parent
    found = _one_part_each(found, root, problems, notes)
    found, infos = _usable_images(path, root, found, config, problems)
    _need_classes(path, classes, len(found))
    if config.on_bad != "skip":
        refuse_resized(path, found, infos)
    found, infos = compared(found, infos, root, problems)
    _need_images(path, found)
    sizes = [(info.height, info.width) for info in infos]
    refuse_pixels(path, found)
    if config.on_bad != "skip":
        refuse_other_forms(path, found, sizes, box_form)
    things, boxes, owner = usable_objects(path, found, sizes, config, problems, notes)
    if TASKS[task].masks:
        things = outlined(path, found, sizes, things, boxes, owner, problems)
    targets = _annotations(things, boxes, owner, sizes, with_shapes=TASKS[task].masks)
    splits = torch.tensor([one.split for one in found], dtype=torch.int8)
    given = splits if bool((splits == TRAIN).any()) and len(splits.unique()) > 1 else None
    paths = tuple(one.image for one in found)
    notes += _remarks(targets, classes, given)
    return Dataset(
        path=str(path),
        format=form,
        task=task,
        inputs=image_files(paths, infos, config, notes),
        targets=targets,
        classes=tuple(classes),
        given=given,
        name_of=lambda i: relative(paths[i], root),
        problems=problems,
        notes=notes,
    )


def _need_classes(path: Path, classes: Sequence[str], images: int) -> None:
    """Raise Refusal for annotations without a class."""
    if not classes:
        raise Refusal(
            message(
                "data.refuse.define_least_class_objects",
                "{path} must define at least one class of objects, got none in the annotations of {images} "
                "{images:image|images}; "
                "labels of whole images are read from a csv of image and label",
                path=path,
                images=images,
            )
        )


def _need_images(path: Path, found: Sequence[Labelled]) -> None:
    """Raise Refusal where no image has the size that its annotations say."""
    if not found:
        raise Refusal(
            message(
                "data.refuse.all_annotations_ignore_exif",
                "{path}: the annotations swap the width and the height of all images, as where a tool ignores the EXIF "
                "rotation: save the images without it, or correct the sizes",
                path=path,
            )
        )


def _annotations(
    things: Sequence[Thing],
    boxes: np.ndarray,
    owner: np.ndarray,
    sizes: Sequence[tuple[int, int]],
    with_shapes: bool,
) -> list[Annotation]:
    """The annotations of each image. boxes: float32 (T, 4); owner: number of the image of each object, (T,)."""
    counts = np.bincount(owner, minlength=len(sizes)).tolist()
    labels = torch.tensor([thing.label for thing in things], dtype=torch.int64).split(counts)
    ignore = torch.tensor([thing.ignore for thing in things], dtype=torch.bool).split(counts)
    found, start = [], 0
    for i, (its_boxes, count) in enumerate(zip(torch.from_numpy(boxes).split(counts), counts)):
        its_things = things[start : start + count]
        shapes = tuple(thing.shape for thing in its_things if thing.shape) if with_shapes else None
        found.append(Annotation(its_boxes, labels[i], ignore[i], sizes[i], shapes))
        start += count
    return found


# --- images ----------------------------------------------------------------------------------------------------


def _one_part_each(found: Sequence[Labelled], root: Path, problems: list[Problem], notes: list[str]) -> list[Labelled]:
    """Keep each image in one split: the test set first, then validation, unless no training images would be left."""
    parts: dict[Path, set[int]] = {}
    for one in found:
        parts.setdefault(one.image, set()).add(one.split)
    shared = {image for image, splits in parts.items() if len(splits) > 1}
    choose = max
    if shared and not any(TRAIN in splits and len(splits) == 1 for splits in parts.values()):
        choose = min
    kept, seen = [], set()
    for one in found:
        if one.image in shared and one.split != choose(parts[one.image]):
            continue
        if one.image in seen:
            problems.append(
                Problem(
                    f"{one.where} {relative(one.image, root)}",
                    message("data.problem.listed_twice", "is listed twice"),
                    "kept",
                )
            )
        seen.add(one.image)
        kept.append(one)
    if shared:
        which = message("data.note.in_test", "the test or validation set")
        if choose is min:
            which = message("data.note.in_train", "the training set")
        notes.append(
            message(
                "data.note.images_in_two_splits",
                "{count} {count:image is|images are} in two splits (first: {name}); kept in {which} only",
                count=len(shared),
                name=min(shared).name,
                which=which,
            )
        )
    return kept


def _usable_images(
    path: Path, root: Path, found: list[Labelled], config: DataConfig, problems: list[Problem]
) -> tuple[list[Labelled], list[ImageInfo]]:
    """Select the readable images. Raises Refusal if there are none, or too many bad ones."""
    files = [one.image for one in found]
    infos = of_one_depth(check_images(files, decode=_bytes(files) < FULL_CHECK, workers=config.workers))
    bad = [
        Problem(
            f"{relative(one.image, root)} (of {one.where})",
            message("data.problem.missing_image", "missing image") if info == "no such file" else info,
        )
        for one, info in zip(found, infos)
        if isinstance(info, str)
    ]
    problems += bad
    pairs = [(one, info) for one, info in zip(found, infos) if isinstance(info, ImageInfo)]
    if not pairs or (config.on_bad != "skip" and too_many_bad(len(bad), len(found))):
        first = ", ".join(f"{p.where}: {p.reason}" for p in bad[:3]) or "it lists none"
        do = message("data.do.fix_remove_them_use", "; fix or remove them, or use --on-bad skip") if pairs else ""
        raise Refusal(
            message(
                "data.refuse.images_cannot_used",
                "{path}: {bad} of {found} images cannot be used ({first}){do}",
                path=path,
                bad=len(bad),
                found=len(found),
                first=first,
                do=do,
            )
        )
    return [one for one, _ in pairs], [info for _, info in pairs]


def _bytes(files: Sequence[Path]) -> int:
    total = 0
    for file in files:
        try:
            total += file.stat().st_size
        except (OSError, ValueError):  # missing or invalid name, reported by the check
            continue
    return total


# --- notes -------------------------------------------------------------------------------------------------------


def _remarks(targets: Sequence[Annotation], classes: Sequence[str], given: torch.Tensor | None) -> list[str]:
    notes = similar_names(classes)
    empty = sum(not len(one) for one in targets)
    if empty:
        notes.append(
            message(
                "data.note.images_without_objects",
                "{count} of {total} images are without objects and kept",
                count=empty,
                total=len(targets),
            )
        )
    ignored = sum(int(one.ignore.sum()) for one in targets)
    if ignored:
        notes.append(
            message(
                "data.note.objects_crowd_difficult_without",
                "{ignored} objects (crowd, difficult or without outline) are neither learnt nor counted",
                ignored=ignored,
            )
        )
    trained = [one for i, one in enumerate(targets) if given is None or int(given[i]) not in (VAL, TEST)]
    seen = torch.bincount(torch.cat([one.labels for one in trained]), minlength=len(classes))
    absent = [name for name, n in zip(classes, seen.tolist()) if not n]
    if absent:
        first = ", ".join(repr(name) for name in absent[:5]) + (" ..." if len(absent) > 5 else "")
        notes.append(
            message(
                "data.note.classes_without_objects",
                "{count} of {total} classes have no object to train on: {first}",
                count=len(absent),
                total=len(classes),
                first=first,
            )
        )
    return notes


def similar_names(classes: Sequence[str]) -> list[str]:
    """Create notes about classes whose names differ only in case, spaces or Unicode form."""
    groups: dict[str, list[str]] = {}
    for name in classes:
        groups.setdefault(" ".join(unicodedata.normalize("NFKC", name).casefold().split()), []).append(name)
    pairs = [" and ".join(map(repr, names)) for names in groups.values() if len(names) > 1]
    return [f"classes {', '.join(pairs)} differ only in spelling and are kept apart"] if pairs else []
