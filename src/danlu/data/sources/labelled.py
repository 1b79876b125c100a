"""What every source of labelled images gives to the audit, and where it finds the images that its files name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from danlu.data.annotations import Shape
from danlu.data.dataset import TEST, TRAIN, UNASSIGNED, VAL
from danlu.data.images import extensions
from danlu.refuse import Refusal
from danlu.task_spec import TASKS, ObjectTask, TaskName, object_task

SPLIT_WORDS = {"train": TRAIN, "training": TRAIN, "trainval": TRAIN, "val": VAL, "valid": VAL, "validation": VAL}
SPLIT_WORDS |= {"dev": VAL, "minival": VAL, "test": TEST, "testing": TEST}


class Thing(NamedTuple):
    """One object as its file has it. name: what to call it, such as "line 3". fault: why it cannot be used, if so.

    box: x1, y1, x2, y2 in pixels, or in shares of the image where `Labelled.shares`.
    """

    name: str
    label: int
    box: Sequence[float]
    ignore: bool = False
    shape: Shape | None = None
    fault: str = ""


@dataclass
class Labelled:
    """One image and what its file says of it, unchecked. size: (height, width) as the file has it, if it does."""

    image: Path
    where: str
    things: list[Thing] = field(default_factory=list)
    split: int = UNASSIGNED
    size: tuple[int, int] | None = None
    shares: bool = False


def wanted_task(path: Path, task: TaskName | None, masks: bool) -> ObjectTask:
    """The task to read for, "detect" by default; Refusal where masks are asked for and there are none."""
    wants_masks = task is not None and TASKS[task].masks
    if wants_masks and not masks:
        raise Refusal(f"{path} holds boxes but no masks to segment by; use --task detect")
    return object_task(wants_masks)


def find_image(folders: Sequence[Path], name: str) -> Path:
    """The image file of that name, whatever machine its path was written on, or where it should have been.

    An absolute path from elsewhere, or a wrong folder, is looked for by its last part.
    """
    plain = name.replace("\\", "/")
    for tail in dict.fromkeys((plain, plain.rpartition("/")[2])):
        for folder in folders:
            if (folder / tail).is_file():
                return folder / tail
    return folders[0] / plain.lstrip("/")


def find_by_stem(folders: Sequence[Path], stem: str) -> Path | None:
    """An image called `stem` and any extension of images."""
    for folder in folders:
        for suffix in (".jpg", ".png", ".jpeg", *extensions()):
            for name in (stem + suffix, stem + suffix.upper()):
                if (folder / name).is_file():
                    return folder / name
    return None


def images_in(folder: Path) -> list[Path]:
    """Files named like images, sorted; hidden ones left out."""
    kept = (f for f in folder.iterdir() if f.suffix.lower() in extensions() and not f.name.startswith("."))
    return sorted(f for f in kept if f.is_file())


def split_of(name: str) -> int:
    """The split that a file or folder name tells: "instances_val2017" -> VAL."""
    words = "".join(letter if letter.isalpha() else " " for letter in name.lower()).split()
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), UNASSIGNED)


def relative(file: Path, root: Path) -> str:
    return os.path.relpath(file, root)
