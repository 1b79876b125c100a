"""A folder of images and a folder of masks: each mask's pixels hold 0 or the number of the instance (Penn-Fudan).

An object's box is the box of its pixels. There is one class, unless a SegmentationClass folder gives that of each
pixel.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from danlu.config import DataConfig
from danlu.data.annotations import MaskFile, Raster, Shape, read_instances
from danlu.data.dataset import Dataset, Problem
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.image_file import UNREADABLE
from danlu.data.files.survey import File, Survey, as_survey, normal
from danlu.data.files.text_files import read_lines
from danlu.data.image_index import is_derived
from danlu.data.sources.labelled_images.audit import assemble
from danlu.data.sources.labelled_images.labelled import Labelled, Thing, too_many_bad
from danlu.data.sources.labelled_images.reading import stop_if_many_bad
from danlu.data.sources.masks.mask_files import (
    LOSSY,
    MAX_VALUES,
    MaskPair,
    beside_pairs,
    is_mask_folder,
    kind_of_masks,
    mask_pairs,
    other_masks,
)
from danlu.data.sources.tables.targets import Task
from danlu.data.split_names import split_of_path
from danlu.message import message
from danlu.refuse import Refusal, refusal
from danlu.task_spec import TASKS, object_task

CLASS = "object"
CLASS_FOLDER = "segmentationclass"
NO_CLASS = ("__ignore__",)  # the first line of labelme's class_names.txt, which has no number


# Kind of masks that are not read as instance numbers -> the reason, and what to do.
REFUSED = {
    "classes": message(
        "data.refuse.semantic",
        "the masks hold a class per pixel (semantic segmentation): use --task semantic; where their values number "
        "objects, use --format instance-masks",
    ),
    "several objects": message(
        "data.refuse.binary",
        "one value of the masks covers several separate regions: use --format binary-masks where each region is an "
        "object, --format instance-masks where each mask is one object, or --task semantic for a class per pixel",
    ),
    "unclear": message(
        "data.refuse.unclear_masks",
        "the values of the masks may number objects or name classes: use --format instance-masks where they number "
        "objects, or --task semantic where they are classes",
    ),
    "colours": message(
        "data.refuse.coloured_masks",
        "the masks hold colours, as of a class per pixel (semantic segmentation): use --task semantic",
    ),
    "lossy": LOSSY,
    "inverted": message(
        "data.refuse.inverted_masks",
        "the value of the objects covers the corners of most masks, as a background does: use --task semantic for a "
        "class per pixel, --format instance-masks where the objects reach the corners, or write 0 for the background",
    ),
    "empty": message(
        "data.refuse.empty_masks", "the masks looked at hold no object: their pixels are all of one value"
    ),
    "unreadable": message("data.refuse.unreadable_masks", "no mask could be read as an image of integers"),
}


def look(survey: Survey) -> Evidence | None:
    """Recognise folders of images and of masks in which most masks have the name of an image."""
    pairs = _pairs(survey)
    if not pairs or survey.is_file:
        return None
    masks = [pair.mask for pair in pairs]
    if all(normal(mask.folder[-1]) == CLASS_FOLDER for mask in masks):
        return None  # classes by the name of their folder, without objects: `label_masks` reads them
    folder, images = "/".join(masks[0].folder), "/".join(pairs[0].image.folder) or "."
    seen = message(
        "data.seen.masks", "{count} {count:mask|masks} in {folder}/ named like images in {images}/",
        count=len(pairs), folder=folder, images=images,
    )  # fmt: skip
    return Evidence(Fit.LAYOUT, seen, other_masks(survey, pairs) or REFUSED.get(kind_of_masks(masks)))


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and annotations, with masks unless `task` is "detect". Raises Refusal without masks."""
    return _open(as_survey(path), config, task, separate=False)


def open_binary(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read as `open`, with each separate region of non-zero pixels as one object."""
    return _open(as_survey(path), config, task, separate=True)


def _open(survey: Survey, config: DataConfig, task: Task | None, separate: bool) -> Dataset:
    found: list[Labelled] = []
    pairs = _pairs(survey)
    if not pairs:
        raise no_pairs(survey)
    if kind_of_masks([pair.mask for pair in pairs]) == "lossy":
        raise Refusal(message("data.refuse.with_reason", "{path}: {reason}", path=survey.path, reason=LOSSY))
    problems = [
        Problem(file.relative, message("data.problem.mask_name", "no mask with this name"))
        for file in _alone(survey, pairs)
    ]
    problems += [
        Problem(
            file.relative, message("data.problem.missing_image_mask_without", "missing image: a mask without its image")
        )
        for file in _lonely_masks(survey, pairs)
    ]
    classes = _Classes(survey)
    bad = []
    for pair in pairs:
        try:
            values = read_instances(pair.mask.path)
            things = regions(values) if separate else instances(values, pair.mask.path)
            things = classes.of(pair, values, things)
            found.append(Labelled(pair.image.path, pair.mask.relative, things, pair.split, size=_size(values)))
        except UNREADABLE as error:
            bad.append(
                Problem(pair.mask.relative, message("data.problem.cannot_read", "cannot be read: {error}", error=error))
            )
    problems += bad
    if not found or (config.on_bad != "skip" and too_many_bad(len(bad), len(pairs))):
        first = f" ({bad[0].where}: {bad[0].reason})" if bad else ""
        raise Refusal(
            message(
                "data.refuse.masks_cannot_used_fix",
                "{path}: {bad} of {found} masks cannot be used{first}; fix or remove them, or use --on-bad skip",
                path=survey.path,
                bad=len(bad),
                found=len(found) + len(bad),
                first=first,
            )
        )
    names = classes.finish(found)
    form = "binary masks" if separate else "instance masks"
    wanted = object_task(task is None or TASKS[task].masks)
    return assemble(survey.path, form, found, names, config, wanted, problems, classes.notes)


def no_pairs(survey: Survey) -> Refusal:
    """The refusal of data without masks."""
    return refusal(
        str(survey.path),
        message(
            "data.wanted.images_and_masks", "images and masks of the same name, such as images/a.jpg and masks/a.png"
        ),
        message("data.got.no_mask_of_image", "no mask with the name of an image"),
    )


def open_objects(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read a mask file per object, in a folder per image: ID/images/ID.png and ID/masks/*.png, or masks/ID/*.png."""
    survey = as_survey(path)
    found: list[Labelled] = []
    groups = _object_groups(survey)
    lonely = message("data.problem.missing_image_folder_masks", "missing image: a folder of masks without its image")
    problems = [Problem("/".join(folder), lonely) for folder in _lonely_groups(survey, groups)]
    masks = bad = 0
    for image, files in groups.items():
        one = Labelled(image.path, f"{'/'.join(files[0].folder)}", split=split_of_path(image.folder))
        for file in files:
            masks += 1
            try:
                values = read_instances(file.path)
            except UNREADABLE as error:
                bad += 1
                problems.append(
                    Problem(file.relative, message("data.problem.cannot_read", "cannot be read: {error}", error=error))
                )
                continue
            numbers = np.unique(values[values > 0]).tolist()
            box, shape = _box(values > 0), _shape_of(values, numbers, file.path)
            fault = "" if numbers else message("data.problem.empty_mask_without_pixel", "empty: a mask without a pixel")
            one.size = one.size or _size(values)
            if one.size != _size(values):
                fault = message(
                    "data.problem.mask_another_size",
                    "mask of another size: {width} x {height}",
                    width=values.shape[1],
                    height=values.shape[0],
                )
            one.things.append(Thing(file.name, 0, box, shape=shape, fault=fault))
        found.append(one)
    stop_if_many_bad(survey.path, bad, masks, problems, config)
    wanted = object_task(task is None or TASKS[task].masks)
    alone = len(survey.images) - len(found) - masks
    notes = (
        [
            message(
                "data.note.images_folder_masks_read",
                "{alone} images have no folder of masks and are not read",
                alone=alone,
            )
        ]
        if alone > 0
        else []
    )
    return assemble(survey.path, "object masks", found, (CLASS,), config, wanted, problems, notes)


def look_objects(survey: Survey) -> Evidence | None:
    """Find folders with the masks of one image each."""
    groups = _object_groups(survey)
    count = sum(map(len, groups.values()))
    if len(groups) < 2 or count + len(groups) < 0.5 * len(survey.images):
        return None
    seen = message(
        "data.seen.object_masks", "{images} {images:image|images} with a folder of {masks} mask files, one per object",
        images=len(groups), masks=count,
    )  # fmt: skip
    return Evidence(Fit.LAYOUT, seen)


def _object_groups(survey: Survey) -> dict[File, list[File]]:
    """Map each image to its mask files."""
    folders = {folder: [f for f in files if f in images] for images in [set(survey.images)]
               for folder, files in survey.by_folder.items()}  # fmt: skip
    single = {folder[:-1]: files[0] for folder, files in folders.items()
              if folder and len(files) == 1 and not is_mask_folder(folder[-1:])}  # fmt: skip
    found: dict[File, list[File]] = {}
    for folder, files in folders.items():
        if not folder or not files:
            continue
        if is_mask_folder(folder[-1:]) and folder[:-1] in single and folder[:-1]:
            found[single[folder[:-1]]] = files
        elif len(folder) > 1 and is_mask_folder(folder[-2:-1]):
            images = [f for f in survey.image_stems.get(normal(folder[-1]), ()) if not is_mask_folder(f.folder)]
            if len(images) == 1:
                found[images[0]] = files
    return found


def _lonely_groups(survey: Survey, groups: dict[File, list[File]]) -> list[tuple[str, ...]]:
    """Folders of masks that belong to no image, named like those that do."""
    used = {files[0].folder for files in groups.values()}
    names = {normal(folder[-1]) for folder in used}
    above = {folder[:-1] for folder in used}
    images = {file.folder for file in survey.images}
    return sorted(
        folder for folder in images - used
        if folder and is_mask_folder(folder[-2:]) and (normal(folder[-1]) in names or folder[:-1] in above)
    )  # fmt: skip


# --- pixels --------------------------------------------------------------------------------------------------------


def instances(values: np.ndarray, mask: Path) -> list[Thing]:
    """Create one object per value except 0 of a mask (H, W). Raises ValueError for too many values."""
    rows, columns = np.nonzero(values)
    numbers, which = np.unique(values[rows, columns], return_inverse=True)
    if len(numbers) > MAX_VALUES:
        raise ValueError(f"{len(numbers)} different values: instance numbers need a lossless file")
    if not len(numbers):
        return []
    order = np.argsort(which, kind="stable")
    starts = np.searchsorted(which[order], np.arange(len(numbers)))
    y, x = rows[order], columns[order]
    edges = np.stack(
        [
            np.minimum.reduceat(x, starts),
            np.minimum.reduceat(y, starts),
            np.maximum.reduceat(x, starts) + 1,
            np.maximum.reduceat(y, starts) + 1,
        ],
        axis=1,
    )
    return [
        Thing(f"instance {number}", 0, box, shape=MaskFile(mask, number))
        for number, box in zip(numbers.tolist(), edges.tolist())
    ]


def regions(values: np.ndarray) -> list[Thing]:
    """Create one object per separate region of pixels above 0 of a mask (H, W), with 8-connectivity."""
    from scipy import ndimage

    found: Any = ndimage.label(values > 0, structure=np.ones((3, 3)))
    labels, count = found
    things = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        pixels = (labels[rows, columns] == number).astype(np.uint8)
        box = (columns.start, rows.start, columns.stop, rows.stop)
        things.append(Thing(f"region {number}", 0, box, shape=Raster(pixels, columns.start, rows.start)))
    assert len(things) == count
    return things


def _shape_of(values: np.ndarray, numbers: list[int], path: Path) -> Shape:
    if len(numbers) == 1:
        return MaskFile(path, numbers[0])
    x1, y1, x2, y2 = _box(values > 0)
    return Raster((values[y1:y2, x1:x2] > 0).astype(np.uint8), x1, y1)


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _size(values: np.ndarray) -> tuple[int, int]:
    return values.shape[0], values.shape[1]


# --- folders -------------------------------------------------------------------------------------------------------


def _pairs(survey: Survey) -> list[MaskPair]:
    pairs = mask_pairs(survey)
    objects = [pair for pair in pairs if normal(pair.mask.folder[-1]) != CLASS_FOLDER]
    pairs = objects or pairs
    others = [
        file for file in beside_pairs(survey, pairs)
        if not any(normal(part) == CLASS_FOLDER or is_derived(part) for part in file.folder)
    ]  # fmt: skip
    return pairs if 2 * len(pairs) >= 0.5 * (len(others) + 2 * len(pairs)) else []


def _alone(survey: Survey, pairs: list[MaskPair]) -> list[File]:
    """Find images without a mask, in the folders of the others."""
    folders, used = {pair.image.folder for pair in pairs}, {pair.image.path for pair in pairs}
    return [file for file in survey.images if file.folder in folders and file.path not in used]


def _lonely_masks(survey: Survey, pairs: list[MaskPair]) -> list[File]:
    """Masks without an image, in the folders where the others lie."""
    folders, used = {pair.mask.folder for pair in pairs}, {pair.mask.path for pair in pairs}
    return [file for file in survey.images if file.folder in folders and file.path not in used
            and file.folder not in {pair.image.folder for pair in pairs}]  # fmt: skip


class _Classes:
    """Classes of instances, from the masks in a SegmentationClass folder; a single class without such a folder."""

    def __init__(self, survey: Survey) -> None:
        files = [file for file in survey.images if file.folder and normal(file.folder[-1]) == CLASS_FOLDER]
        self.files = {(file.folder[:-1], normal(file.stem)): file for file in files}
        self.names = _class_names(survey) if files else []
        self.notes: list[str] = []
        self.missing = 0

    def of(self, pair: MaskPair, values: np.ndarray, things: list[Thing]) -> list[Thing]:
        """Set the class of each object by the most frequent value of its pixels."""
        file = self.files.get((pair.mask.folder[:-1], normal(pair.mask.stem)))
        if file is None:
            self.missing += bool(self.files)
            return things
        classes = read_instances(file.path)
        if classes.shape != values.shape:
            raise ValueError(f"{file.relative} is of another size")
        found = []
        for thing in things:
            number = thing.shape.instance if isinstance(thing.shape, MaskFile) else 0
            counts = np.bincount(classes[values == number] if number else classes[values > 0])
            found.append(thing._replace(label=int(counts.argmax())))
        return found

    def finish(self, found: Iterable[Labelled]) -> list[str]:
        """List the class names, and replace the labels in `found` by their indices."""
        if not self.files:
            return [CLASS]
        found = list(found)
        numbers = sorted({thing.label for one in found for thing in one.things})
        for one in found:
            one.things = [thing._replace(label=numbers.index(thing.label)) for thing in one.things]
        if self.missing:
            self.notes.append(
                message(
                    "data.note.masks_instances_mask_classes",
                    "{missing} masks of instances have no mask of classes beside them",
                    missing=self.missing,
                )
            )
        return [self.names[k] if k < len(self.names) else f"class {k}" for k in numbers] or [CLASS]


def _class_names(survey: Survey) -> list[str]:
    for file in survey.of(".txt"):
        if file.name.lower() in ("class_names.txt", "labels.txt", "classes.txt"):
            lines = [line.strip() for line in read_lines(file.path) if line.strip()]
            return [line for line in lines if line not in NO_CLASS]
    return []
