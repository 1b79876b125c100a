"""Label maps drawn from the outlines of objects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from danlu.data.annotations import Annotation
from danlu.data.dataset import Dataset
from danlu.data.label_maps import BACKGROUND, LabelMap


def semantic_from_objects(dataset: Dataset) -> Dataset:
    """Convert a dataset of objects with outlines to label maps: the background, then the classes of the objects.

    Where objects overlap, the smaller one is in front. Ignored objects are ignored pixels.
    """
    background = BACKGROUND if BACKGROUND not in dataset.classes else f"({BACKGROUND})"
    targets: list[Any] = []
    for one in dataset.targets:
        assert isinstance(one, Annotation)
        targets.append(LabelMap(one.size, one))
    note = f"the pixels of each object have its class, the others the class {background}"
    classes = (background, *dataset.classes)
    return replace(dataset, task="semantic", targets=targets, classes=classes, notes=[*dataset.notes, note])
