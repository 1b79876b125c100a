"""Common form of labelled images between the readers and the audit."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from danlu.config import DataConfig
from danlu.data.annotations import Shape
from danlu.data.dataset import UNASSIGNED, ImageFiles
from danlu.data.files.image_file import ImageInfo, extensions
from danlu.data.images import common_window
from danlu.message import message
from danlu.refuse import Refusal
from danlu.task_spec import TASKS, ObjectTask, TaskName, object_task

MAX_BAD = 0.05  # fraction of bad entries, objects or images; more stop the run unless --on-bad skip


def too_many_bad(bad: int, total: int) -> bool:
    """Return whether too many entries are bad to continue. A single one is accepted, unless it is the only entry."""
    return bad > max(1, MAX_BAD * total) or 0 < total <= bad


class Thing(NamedTuple):
    """One object as in its file. name: for messages, such as "line 3". fault: reason why it is unusable, or empty.

    box: x1, y1, x2, y2 in pixels, or in fractions of the image where `Labelled.fractions`.
    """

    name: str
    label: int
    box: Sequence[float]
    ignore: bool = False
    shape: Shape | None = None
    fault: str = ""


@dataclass
class Labelled:
    """One image and its unchecked annotation. size: (height, width) in the annotation file, or None."""

    image: Path
    where: str
    things: list[Thing] = field(default_factory=list)
    split: int = UNASSIGNED
    size: tuple[int, int] | None = None
    fractions: bool = False


def of_one_depth(infos: Sequence[ImageInfo | str]) -> list[ImageInfo | str]:
    """The kinds of image files, with a reason instead of those whose number of channels is not that of most."""
    count = Counter(info.channels for info in infos if isinstance(info, ImageInfo))
    if len(count) < 2:
        return list(infos)
    usual = count.most_common(1)[0][0]
    few = message("data.problem.few_channels", "up to 4")  # whose number is not kept
    text = "has {channels} channels, most images {usual}"
    return [
        message("data.problem.channels", text, channels=info.channels or few, usual=usual or few)
        if isinstance(info, ImageInfo) and info.channels != usual
        else info
        for info in infos
    ]


def image_files(paths: Sequence[Path], infos: Sequence[ImageInfo], config: DataConfig, notes: list[str]) -> ImageFiles:
    """Create the inputs of a `Dataset`; for images of more than 8 bits a window is chosen and added to `notes`."""
    deep = [(path, info.levels) for path, info in zip(paths, infos) if info.levels is not None]
    window = common_window([levels for _, levels in deep]) if config.window is None else config.window
    if deep and window is not None:
        low, high = window[0], window[1]
        how = "--data.window"
        if config.window is None:
            how = message("data.note.own_window", "their range; --data.window LOW,HIGH sets another")
        notes.append(
            message(
                "data.note.images_bit_float_pixels",
                "{count} {count:image|images} with 16-bit or float pixels (first: {name}): values "
                "from {low:g} to {high:g} are "
                "mapped to 256 levels ({how})",
                count=len(deep),
                name=deep[0][0].name,
                low=low,
                high=high,
                how=how,
            )
        )
    if several := [path for path, info in zip(paths, infos) if info.several]:
        text = (
            "{count} {count:file holds|files hold} several images, as pages or frames (first: {name}): only the "
            "first of each is read; "
            "save the others as files of their own where they are needed"
        )
        notes.append(message("data.note.several_images", text, count=len(several), name=several[0].name))
    sizes = tuple((info.height, info.width) for info in infos)
    return ImageFiles(
        tuple(paths),
        sizes,
        all(info.grey for info in infos),
        (window[0], window[1]) if deep and window is not None else None,
        infos[0].channels if infos else None,
    )


def wanted_task(path: Path, task: TaskName | None, masks: bool) -> ObjectTask:
    """Return the task, "detect" by default. Raises Refusal if the user wants masks and there are none."""
    wants_masks = task is not None and TASKS[task].masks
    if wants_masks and not masks:
        raise Refusal(
            message(
                "data.refuse.boxes_masks_segmentation_use",
                "{path} has boxes but no masks for segmentation; use --task detect",
                path=path,
            )
        )
    return object_task(wants_masks)


def images_in(folder: Path) -> list[Path]:
    """List files with extensions of images, sorted, without hidden ones."""
    kept = (f for f in folder.iterdir() if f.suffix.lower() in extensions() and not f.name.startswith("."))
    return sorted(f for f in kept if f.is_file())


def relative(file: Path, root: Path) -> str:
    """Path of a file relative to the root of the data, also where it lies outside (../file)."""
    return os.path.relpath(file, root)


def where_of(one: Labelled, thing: Thing) -> str:
    """Place of an object: the annotation, the object, and the image where the annotation is not named like it."""
    return (
        f"{one.where} {thing.name} ({one.image.name})"
        if one.image.stem not in one.where
        else (f"{one.where} {thing.name}")
    )
