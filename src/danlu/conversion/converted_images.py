"""The samples of a data set as a writer needs them, and the writing of their images."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

import numpy as np
from torch import Tensor

from danlu.data.annotations import Annotation, Shape
from danlu.data.dataset import SPLITS, TRAIN, UNASSIGNED, Dataset, ImageFiles
from danlu.message import UNPRINTABLE


@dataclass(frozen=True)
class Box:
    """One object. corners: x1, y1, x2, y2 in pixels, continuous from 0. shape: its outline, or None."""

    label: int
    corners: tuple[float, float, float, float]
    ignore: bool = False
    shape: Shape | None = None


@dataclass(frozen=True)
class ConvertedImage:
    """One image with its targets.

    source: its file, or the pixels uint8 (C, H, W). name: file name in the converted set, without a folder. split: its
    name, "" if the set has no splits. size: (height, width). label: index of its class, where it has one.
    """

    source: Path | Tensor
    name: str
    split: str
    size: tuple[int, int]
    label: int | None = None
    objects: tuple[Box, ...] = ()


def samples_of(dataset: Dataset) -> list[ConvertedImage]:
    """Samples of images, in the order of the data set. Samples in no split join the training split where there is one.

    File names are kept, without control characters and bytes that are not UTF-8; where two images share one, the
    folders are put before it. Names also differ in their stems, by which annotation files are named.
    """
    sources = _sources(dataset)
    names = _names([Path(dataset.name_of(i)) if isinstance(s, Path) else s for i, s in enumerate(sources)])
    given = [UNASSIGNED] * len(dataset) if dataset.given is None else dataset.given.tolist()
    splits = ["" if dataset.given is None else SPLITS[TRAIN if k == UNASSIGNED else k] for k in given]
    made = []
    for i, (source, name, split) in enumerate(zip(sources, names, splits)):
        target = dataset.targets[i]
        if isinstance(target, Annotation):
            made.append(ConvertedImage(source, name, split, target.size, objects=_objects(target)))
        else:
            size = dataset.inputs.sizes[i] if isinstance(dataset.inputs, ImageFiles) else _size(source)
            assert isinstance(target, Tensor), "label maps are refused before"
            made.append(ConvertedImage(source, name, split, size, label=int(target)))
    return made


def _size(image: Path | Tensor) -> tuple[int, int]:
    """(height, width) of an image in memory."""
    assert isinstance(image, Tensor)
    height, width = image.shape[-2:]
    return height, width


def _sources(dataset: Dataset) -> Sequence[Path | Tensor]:
    inputs = dataset.inputs
    if isinstance(inputs, ImageFiles):
        return inputs.paths
    assert isinstance(inputs, Tensor), "tables are refused before"
    return list(inputs)


def _objects(target: Annotation) -> tuple[Box, ...]:
    shapes = target.shapes or (None,) * len(target)
    rows = zip(target.labels.tolist(), target.boxes.tolist(), target.ignore.tolist(), shapes)
    return tuple(Box(label, (x1, y1, x2, y2), ignore, shape) for label, (x1, y1, x2, y2), ignore, shape in rows)


def _names(sources: Sequence[Path | Tensor]) -> list[str]:
    digits = len(str(len(sources)))
    paths = [
        Path(_portable(str(one))) if isinstance(one, Path) else Path(f"{i:0{digits}}.png")
        for i, one in enumerate(sources)
    ]
    names: list[str] = []
    taken: set[str] = set()
    for path in paths:
        parts = [part for part in path.parts if part not in (path.anchor, "..", ".")]
        with_folders = ("_".join(parts[-n:]) for n in range(1, len(parts) + 1))
        numbered = (f"{path.stem}_{n}{path.suffix}" for n in count(2))
        name = next(one for one in chain(with_folders, numbered) if Path(one).stem.casefold() not in taken)
        taken.add(Path(name).stem.casefold())
        names.append(name)
    return names


def _portable(path: str) -> str:
    """A path whose names every file system and every list of names, one a line, can hold."""
    return UNPRINTABLE.sub("_", path).replace("\n", "_").replace("\t", "_")


def write_image(source: Path | Tensor, target: Path, link: bool) -> None:
    """Copy an image file, or make a hard link to it; pixels in memory are written as PNG. Raises OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(source, Path):
        if link:
            os.link(source.resolve(), target)
        else:
            shutil.copyfile(source, target)
        return
    from PIL import Image

    pixels = np.ascontiguousarray(source.cpu().numpy().transpose(1, 2, 0))
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(target)
