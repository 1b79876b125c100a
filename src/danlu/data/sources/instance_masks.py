"""A folder of images and a folder of masks: each mask's pixels hold 0 or the number of the instance (Penn-Fudan).

An object's box is the box of its pixels. There is one class.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from danlu.config import DataConfig
from danlu.data.annotations import MaskFile, read_instances
from danlu.data.dataset import TEST, TRAIN, UNASSIGNED, VAL, Dataset, Problem
from danlu.data.images import UNREADABLE
from danlu.data.sources.audit import assemble
from danlu.data.sources.labelled import Labelled, Thing, images_in, relative
from danlu.data.sources.targets import Task
from danlu.refuse import Refusal
from danlu.task_spec import TASKS, object_task

IMAGES = ("images", "imgs", "pngimages", "jpegimages", "pictures")
MASKS = ("masks", "pedmasks", "instance_masks", "instances", "segmentationobject")
ENDINGS = (
    "",
    "_mask",
    "_masks",
    "-mask",
    "_instances",
    "_label",
    "_labels",
)  # what a mask's name adds to its image's
SPLITS = {"train": TRAIN, "val": VAL, "valid": VAL, "test": TEST}
MANY = 1000  # more instances in one image are the noise of a lossy file
CLASS = "object"


def looks_like(path: Path) -> bool:
    """Two folders, of images and of masks, in which an image and a mask share their name."""
    return path.is_dir() and any(_pairs(images, masks)[0] for images, masks, _ in _folders(path))


def open(path: Path, config: DataConfig, task: Task | None = None) -> Dataset:
    """`ImageFiles` and annotations, with masks unless `task` is "detect". Raises Refusal when no mask can be read."""
    found: list[Labelled] = []
    problems: list[Problem] = []
    for images, masks, split in _folders(path):
        pairs, alone = _pairs(images, masks)
        problems += [Problem(relative(file, path), "no mask of that name") for file in alone]
        for image, mask in pairs:
            try:
                found.append(_read(image, mask, split, path))
            except UNREADABLE as error:
                problems.append(Problem(relative(mask, path), f"cannot be read: {error}"))
    bad = [problem for problem in problems if "no mask" not in problem.reason]
    if not found or (config.on_bad != "skip" and len(bad) > 0.05 * len(found)):
        raise Refusal(
            f"{path}: {len(bad)} of {len(found) + len(bad)} masks cannot be used ({bad[0].where}: {bad[0].reason}); "
            "mend or remove them, or use --on-bad skip"
        )
    return assemble(
        path, "instance masks", found, (CLASS,), config, object_task(task is None or TASKS[task].masks), problems
    )


def _folders(path: Path) -> Iterator[tuple[Path, Path, int]]:
    """(folder of images, folder of masks, split): in the folder itself, or in train/, val/, test/."""
    for folder, split in ((path, UNASSIGNED), *((path / name, split) for name, split in SPLITS.items())):
        if not folder.is_dir():
            continue
        inside = {entry.name.lower(): entry for entry in folder.iterdir() if entry.is_dir()}
        images = next((inside[name] for name in IMAGES if name in inside), None)
        masks = next((inside[name] for name in MASKS if name in inside), None)
        if images is not None and masks is not None:
            yield images, masks, split


def _pairs(images: Path, masks: Path) -> tuple[list[tuple[Path, Path]], list[Path]]:
    """(image, its mask), and the images without one."""
    named = {file.stem: file for file in images_in(masks)}
    pairs, alone = [], []
    for image in images_in(images):
        mask = next((named[image.stem + end] for end in ENDINGS if image.stem + end in named), None)
        if mask is None:
            alone.append(image)
        else:
            pairs.append((image, mask))
    return pairs, alone


def _read(image: Path, mask: Path, split: int, root: Path) -> Labelled:
    values = read_instances(mask)
    rows, columns = np.nonzero(values)
    numbers, which = np.unique(values[rows, columns], return_inverse=True)
    if len(numbers) > MANY:
        raise ValueError(f"{len(numbers)} different values: instance numbers need a lossless file")
    things = []
    if len(numbers):
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
        things = [
            Thing(f"instance {number}", 0, box, shape=MaskFile(mask, number))
            for number, box in zip(numbers.tolist(), edges.tolist())
        ]
    return Labelled(image, relative(mask, root), things, split, size=(values.shape[0], values.shape[1]))
