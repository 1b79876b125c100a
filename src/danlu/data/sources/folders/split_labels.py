"""Classes of a split whose images lie in no class folders, from a list beside them, as ImageNet's val.txt."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from danlu.data.files.survey import File, Survey
from danlu.data.image_index import ImageIndex
from danlu.data.sources.folders.folder_guards import Folder
from danlu.data.sources.tables.sheets import sheets_in
from danlu.data.split_names import split_of
from danlu.message import Message, message

MIN_LISTED = 0.9  # fraction of the images of a split that a list names


class SplitLabels(NamedTuple):
    """classes: the class folder that each image belongs to. note: which list says so. refuse: why a list cannot."""

    classes: dict[File, str]
    note: Message | None = None
    refuse: Message | None = None


def listed_classes(survey: Survey, folder: Folder, split: int, classes: Collection[str]) -> SplitLabels:
    """The classes of the images below `folder`; empty without a list of them.

    A list names images with a class, or with its place in the sorted classes from 0, or has one class per line, in the
    order of the images' names.
    """
    images = sorted((file for file in survey.images if file.folder[: len(folder)] == folder), key=lambda f: f.name)
    index = ImageIndex(images, survey.root)
    for sheet in sheets_in(survey):
        if sheet.kind != "images" or sheet.label is None:
            continue
        rows = [(index.find(row[sheet.image], sheet.file.folder), row[sheet.label].strip()) for row in sheet.rows]
        labels = {file: label for file, label in rows if isinstance(file, File)}
        if len(labels) < max(1, MIN_LISTED * len(images)) or len(labels) < MIN_LISTED * len(rows):
            continue
        names = _names(list(labels.values()), sorted(classes))
        if names is not None:
            return SplitLabels(dict(zip(labels, names)), _note(sheet.file, folder, len(labels)))
        strange = next((label for label in labels.values() if label not in classes), "")
        text = (
            "{file} labels the images of {folder}/ with {label!r}, which is no class folder of the training set; write "
            "the names of the folders, or their places in alphabetical order, counted from 0"
        )
        facts = {"file": sheet.file.relative, "folder": "/".join(folder), "label": strange}
        return SplitLabels({}, refuse=message("data.refuse.labels_of_no_folder", text, **facts))
    for file in survey.of(".txt"):
        lines = [line.strip() for line in survey.lines(file)]
        own = split_of(file.stem) == split or file.folder == folder or "label" in file.stem.lower()
        if own and len(lines) == len(images) and set(lines) <= set(classes):
            return SplitLabels(dict(zip(images, lines)), _note(file, folder, len(images)))
    return SplitLabels({})


def _names(labels: Sequence[str], classes: Sequence[str]) -> list[str] | None:
    """Labels as names of classes; None if they are neither names nor numbers from 0."""
    if set(labels) <= set(classes):
        return list(labels)
    if all(label.isdecimal() and int(label) < len(classes) for label in labels) and "0" in labels:
        return [classes[int(label)] for label in labels]
    return None


def _note(file: File, folder: Folder, count: int) -> Message:
    text = "the classes of the {count} {count:image|images} of {folder}/ are those of {file}"
    return message("data.note.classes_of_list", text, count=count, folder="/".join(folder), file=file.relative)
