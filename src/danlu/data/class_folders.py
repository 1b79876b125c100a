"""Class folders that hold the images of a table with other labels, or with labels of a few of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from danlu.data.dataset import Dataset, ImageFiles
from danlu.data.files.survey import Survey
from danlu.data.image_index import is_derived
from danlu.data.recognition import evidence_of
from danlu.data.sources.masks.mask_files import is_mask_folder
from danlu.message import Message, message
from danlu.refuse import Refusal

TABLES = ("csv images", "csv classes", "csv boxes", "json labels")
MIN_EQUAL = 0.9  # fraction of the images whose label is the name of their folder, where the two say the same


def beside_class_folders(survey: Survey, dataset: Dataset, name: str) -> list[Message]:
    """A note on class folders that are not taken as classes, because a table has the labels of their images.

    name: of the format that was read. Raises Refusal where the table names less than half of the images.
    """
    if name not in TABLES or survey.is_file or not isinstance(dataset.inputs, ImageFiles):
        return []
    folders = evidence_of(survey, "folder")
    if folders is None or folders.refuse is not None:
        return []
    read = set(dataset.inputs.paths)
    count = sum(not is_mask_folder(file.folder) and not any(map(is_derived, file.folder)) for file in survey.images)
    flag = name.replace(" ", "-")
    if 2 * len(read) < count:
        text = (
            "{path}: the table names {read} of {count} images only ({name}), and there are {seen}: use --format folder "
            "for these, or --format {flag} for the images of the table"
        )
        facts = {"path": survey.path, "read": len(read), "count": count, "name": name, "seen": folders.seen}
        raise Refusal(message("data.refuse.few_named", text, **facts, flag=flag))
    if _say_the_same(dataset):
        return []
    text = "not read: {seen} ({name}); --format {flag} reads that instead"
    return [message("data.also_seen", text, seen=folders.seen, name="folder", flag="folder")]


def _say_the_same(dataset: Dataset) -> bool:
    """Return whether the labels of nearly all images are the names of their folders."""
    assert isinstance(dataset.inputs, ImageFiles)
    folders = [path.parent.name for path in dataset.inputs.paths]
    equal = sum(folder in names for folder, names in zip(folders, map(_names_of(dataset), dataset.targets)))
    return equal >= MIN_EQUAL * len(folders)


def _names_of(dataset: Dataset) -> Callable[[Any], set[str]]:
    """A function from the target of an image to the names of its classes; to none where the targets are numbers."""
    if dataset.task_spec.finds_objects:
        return lambda target: {dataset.classes[int(k)] for k in target.labels}
    if dataset.task_spec.targets == "class":
        return lambda target: {dataset.classes[int(target)]}
    return lambda target: set()
