"""Meaning of the labels of images: classes, numbers, texts of their own, or placeholders of unknown labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from danlu.data.dataset import TEST, TRAIN, UNASSIGNED, VAL
from danlu.data.sources.tables.label_columns import CLASS_COLUMNS, is_class_name, last_word
from danlu.data.sources.tables.targets import MAX_INTEGER_CLASSES, Task, decide
from danlu.data.sources.tables.text_tables import numbers
from danlu.message import Message, message
from danlu.refuse import Refusal
from danlu.task_spec import TASKS, label_task, targets_of

MIN_IMAGES = 10  # with fewer images, labels that hardly recur are no evidence
ALONE = 0.8  # fraction of the images with a label of its own where the labels are texts and no classes
NUMBERS = {"age", "ages", "count", "counts", "weight", "price", "temperature", "angle", "speed", "distance", "years"}
ANY_TARGET = {"target", "y"}  # names of columns of labels, of numbers as often as of classes
PER_CLASS = 2  # images of each integer, on average, where the numbers are classes


class Entry(NamedTuple):
    """One image with its labels. image: its name in the file. where: file and line. near: folders of the file."""

    image: str
    where: str
    near: tuple[str, ...]
    labels: tuple[str, ...]
    split: int = UNASSIGNED


def without_placeholders(entries: Sequence[Entry], notes: list[str]) -> tuple[Sequence[Entry], tuple[int, ...]]:
    """Leave out the splits whose labels are not given: none at all, or one that the training set has not.

    Returns the other entries, and these splits.
    """
    trained = {one.labels for one in entries if one.split == TRAIN} - {()}
    left: list[int] = []
    for split in (VAL, TEST):
        labels = {one.labels for one in entries if one.split == split}
        count = sum(one.split == split for one in entries)
        if len(trained) < 2 or len(labels) != 1 or count < 2 or labels & trained:
            continue
        left.append(split)
        file = next(one.where for one in entries if one.split == split).partition(" line ")[0]
        notes.append(str(_placeholder_note(file, count, next(iter(labels)))))
    return ([one for one in entries if one.split not in left] if left else entries), tuple(left)


def _placeholder_note(file: str, count: int, label: tuple[str, ...]) -> Message:
    if not label:
        text = "the {count} {count:image|images} of {file} {count:has|have} no label: used for prediction, not read"
        return message("data.note.split_without_labels", text, count=count, file=file)
    text = (
        "the {count} {count:image|images} of {file} all {count:has|have} the label {label}, which the training "
        "set has not: used for prediction, "
        "not read"
    )
    return message("data.note.placeholder", text, count=count, file=file, label=repr(label[0]))


def values_and_task(
    words: list[str], task: Task | None, path: str, column: str | None, notes: list[str]
) -> tuple[np.ndarray, Task]:
    """Labels as text, or as numbers for regression, and the task.

    column: name of that of the labels, empty where it has none, None where they are classes without doubt.

    Raises Refusal if nearly each image has a label of its own, unless `task` says what they are.
    """
    text = np.array(words, dtype=object)
    found = numbers(words)
    integers = found is not None and not _has_fractions(found)
    if task is None and column is not None and (found is None or (integers and is_class_column(column))):
        _refuse_own_labels(words, path, found is not None)
    if targets_of(task) == "class" or found is None:
        return text, label_task(False)
    if task is None and integers:
        distinct = len(set(found.tolist()))
        if column is None or is_class_column(column) or _are_few(distinct, len(words), column):
            if distinct > 2 and column and not is_class_column(column):
                note = "{count} integers in {column} are taken as classes; --task regress takes them as numbers"
                notes.append(str(message("data.note.numbers_as_classes", note, count=distinct, column=column)))
            return text, label_task(False)
        note = "the labels are {count} different integers, taken as numbers; --task classify takes them as classes"
        notes.append(str(message("data.note.labels_as_numbers", note, count=distinct)))
    return found, decide(found, task, f"label of {path}")[0] if task or _has_fractions(found) else "regress"


def is_class_column(name: str) -> bool:
    """Return whether a column is called like classes or their numbers."""
    lower = name.strip().lower()
    return lower in set(CLASS_COLUMNS) - ANY_TARGET or is_class_name(lower) or lower.endswith("id")


def _has_fractions(values: np.ndarray) -> bool:
    return bool(np.any(values != np.round(values)))


def _are_few(distinct: int, count: int, column: str) -> bool:
    """Return whether integers recur as classes do. column: its name, which is not one of classes, or empty."""
    most = MAX_INTEGER_CLASSES if column else max(MAX_INTEGER_CLASSES, count // 10)
    if distinct > 2 and last_word(column.lower()) in NUMBERS:
        return False
    return distinct <= 2 or (distinct <= most and distinct * PER_CLASS <= count)


def _refuse_own_labels(words: Sequence[str], path: str, numeric: bool) -> None:
    distinct = len(set(words))
    if len(words) < MIN_IMAGES or distinct <= ALONE * len(words):
        return
    number_task = next(name for name, spec in TASKS.items() if spec.targets == "numbers")
    others = message("data.or_task", " or --task {task}", task=number_task) if numeric else ""
    text = (
        "{path}: {count} images have {distinct} different labels ({first}, ...), as texts or names of their own and "
        "not classes; --task {task}{others} takes them as labels"
    )
    raise Refusal(
        message(
            "data.refuse.own_labels", text, path=path, count=len(words), distinct=distinct, first=repr(words[0][:40]),
            task=label_task(False), others=others,
        )
    )  # fmt: skip
