"""Check labelled images and their objects, and assemble them to a Dataset.

Faulty ones are skipped, clipped or kept, and named by file and object. Images without objects are kept.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from danlu.config import DataConfig
from danlu.data.annotations import Annotation
from danlu.data.dataset import TEST, TRAIN, VAL, Dataset, Problem
from danlu.data.files.image_file import ImageInfo
from danlu.data.image_workers import check_images
from danlu.data.sources.labelled_images.annotated_sizes import ROUNDING, compared, refuse_resized
from danlu.data.sources.labelled_images.box_forms import BoxForm, refuse_other_forms, refuse_pixels
from danlu.data.sources.labelled_images.labelled import (
    Labelled,
    Thing,
    image_files,
    of_one_depth,
    relative,
    too_many_bad,
    where_of,
)
from danlu.data.sources.labelled_images.outlines import outlined
from danlu.data.sources.labelled_images.repeated_boxes import MIN_IOU, nearly_repeated, repeated
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
    if not classes:
        raise Refusal(
            message(
                "data.refuse.define_least_class_objects",
                "{path} must define at least one class of objects, got none in the annotations of {images} "
                "{images:image|images}; "
                "labels of whole images are read from a csv of image and label",
                path=path,
                images=len(found),
            )
        )
    if config.on_bad != "skip":
        refuse_resized(path, found, infos)
    found, infos = compared(found, infos, root, problems)
    if not found:
        raise Refusal(
            message(
                "data.refuse.all_annotations_ignore_exif",
                "{path}: the annotations swap the width and the height of all images, as where a tool ignores the EXIF "
                "rotation: save the images without it, or correct the sizes",
                path=path,
            )
        )
    sizes = [(info.height, info.width) for info in infos]
    refuse_pixels(path, found)
    if config.on_bad != "skip":
        refuse_other_forms(path, found, sizes, box_form)
    things, boxes, owner = _audit(path, found, sizes, config, problems, notes)
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


# --- objects -----------------------------------------------------------------------------------------------------


def _audit(
    path: Path,
    found: list[Labelled],
    sizes: Sequence[tuple[int, int]],
    config: DataConfig,
    problems: list[Problem],
    notes: list[str],
) -> tuple[list[Thing], np.ndarray, np.ndarray]:
    """Check objects; returns usable ones, their boxes float32 (T, 4) clipped to the image, image indices (T,)."""
    things = [thing for one in found for thing in one.things]
    owner = np.repeat(np.arange(len(found)), [len(one.things) for one in found])
    height, width = np.asarray(sizes, np.float64)[owner].reshape(-1, 2).T
    edges = np.stack([width, height, width, height], axis=1)
    boxes = np.array([thing.box for thing in things], np.float64).reshape(-1, 4)
    scale = np.where(np.array([one.fractions for one in found])[owner][:, None], edges, 1.0)
    with np.errstate(all="ignore"):
        boxes = (boxes * scale).astype(np.float32)
        x1, y1, x2, y2 = boxes.T
        clipped = np.minimum(boxes.clip(0), edges.astype(np.float32))
        beyond = np.maximum(-boxes, boxes - edges).max(axis=1, initial=0)
        faults = {
            "": np.array([bool(thing.fault) for thing in things], bool),  # reported by the reader
            "not finite": ~np.isfinite(boxes).all(axis=1),
            "reversed": (x2 < x1) | (y2 < y1),
            "empty": (x2 == x1) | (y2 == y1),
            "outside the image": ((clipped[:, 2:] - clipped[:, :2]) <= 0).any(axis=1),
        }
    bad = np.zeros(len(things), bool)
    counts: Counter[str] = Counter()
    for fault, rows in faults.items():
        for i in np.flatnonzero(rows & ~bad):
            reason = things[i].fault or message(
                "data.problem.box_fault", "box {box} is {fault}", box=_box(boxes[i]), fault=fault
            )
            kind = fault or things[i].fault.partition(":")[0]
            problems.append(Problem(where_of(found[owner[i]], things[i]), reason, fault=kind))
            counts[kind] += 1
        bad |= rows
    for i in np.flatnonzero((beyond > ROUNDING) & ~bad):
        size = f"{edges[i, 0]:.0f} x {edges[i, 1]:.0f}"
        reason = message(
            "data.problem.box_reaches_beyond_image",
            "box {box} reaches beyond the image of {size}",
            box=_box(boxes[i]),
            size=size,
        )
        problems.append(Problem(where_of(found[owner[i]], things[i]), reason, "clipped", "clipped"))
    for i in repeated(things, boxes, owner, ~bad):
        reason = message("data.problem.box_there_second_time", "box {box} is there a second time", box=_box(boxes[i]))
        problems.append(Problem(where_of(found[owner[i]], things[i]), reason, "kept", "repeated"))
    notes += _nearly_repeated(things, boxes, owner, ~bad, found, problems)
    notes += _counted(counts, bad, beyond)
    if config.on_bad != "skip" and too_many_bad(int(bad.sum()), len(things)):
        first = ", ".join(f"{p.where}: {p.reason}" for p in problems if p.done == "skipped")
        first = first if len(first) < 300 else f"{first[:300]} ..."
        raise Refusal(
            message(
                "data.refuse.objects_cannot_used_use",
                "{path}: {bad} of {things} objects cannot be used ({first}); or use --on-bad skip",
                path=path,
                bad=bad.sum(),
                things=len(things),
                first=first,
            )
        )
    good = np.flatnonzero(~bad)
    return [things[i] for i in good], clipped[good], owner[good]


def _nearly_repeated(
    things: list[Thing],
    boxes: np.ndarray,
    owner: np.ndarray,
    good: np.ndarray,
    found: Sequence[Labelled],
    problems: list[Problem],
) -> list[str]:
    """Add a problem for each box that is nearly that of an earlier object of its class; returns a note on them."""
    near = nearly_repeated(things, boxes, owner, good)
    for i, first, iou in near:
        text = "box {box} is nearly that of {other} (IoU {iou:.2f}): the same object twice?"
        reason = message("data.problem.box_nearly_again", text, box=_box(boxes[i]), other=things[first].name, iou=iou)
        problems.append(Problem(where_of(found[owner[i]], things[i]), reason, "kept", "nearly repeated"))
    if not near:
        return []
    text = (
        "{count} {count:box|boxes} in {images} images {count:is|are} nearly those of another object of their "
        "class (IoU above {least:g})"
    )
    images = len({int(owner[i]) for i, *_ in near})
    return [message("data.note.boxes_nearly_repeated", text, count=len(near), images=images, least=MIN_IOU)]


def _counted(counts: Counter[str], bad: np.ndarray, beyond: np.ndarray) -> list[str]:
    notes = []
    if bad.any():
        kinds = ", ".join(f"{n} {fault}" for fault, n in counts.items() if n)
        notes.append(
            message(
                "data.note.objects_left_out",
                "{count} of {total} objects are left out: {kinds}",
                count=int(bad.sum()),
                total=len(bad),
                kinds=kinds,
            )
        )
    far, near = int(((beyond > ROUNDING) & ~bad).sum()), int(((beyond > 0) & (beyond <= ROUNDING) & ~bad).sum())
    if far:
        notes.append(
            message(
                "data.note.boxes_reach_beyond_image",
                "{count} {count:box reaches|boxes reach} beyond {count:its|their} image and {count:is|are} "
                "clipped to it",
                count=far,
            )
        )
    if near:
        notes.append(
            message(
                "data.note.boxes_reach_up_px",
                "{count} {count:box reaches|boxes reach} up to {limit:g} px beyond {count:its|their} image and "
                "{count:is|are} clipped to it",
                count=near,
                limit=ROUNDING,
            )
        )
    return notes


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


def _box(box: np.ndarray) -> str:
    return "(" + ", ".join(f"{float(value):g}" for value in box) + ")"
