"""Labels of the user's samples: classes or numbers, and the names of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from danlu.data.sources.tables.targets import decide, to_classes, to_numbers
from danlu.message import message
from danlu.own.loss import BINARY_KINDS, CLASS_KINDS, NUMBER_KINDS
from danlu.own.tags import as_tags, check_alike, is_tags, mixed
from danlu.refuse import Refusal, either, refusal, shape_of
from danlu.task_spec import TASKS, TaskName, label_task, targets_of

UNKNOWN_LOSS = "own"  # of the user, whose targets may be anything
MAX_FLOAT_CLASSES = 20  # distinct integers stored as floats that may be meant as classes
MAX_INTEGER_CLASSES = 1000  # integers with at most this many distinct values, each seen twice on average, are classes


def as_labels(values: Any, where: str) -> np.ndarray:
    """Labels (N,) or (N, T) of numbers or text, or (N,) of tags. Refusal for other shapes and for missing values."""
    if is_tags(values):
        return as_tags(values, where)
    check_alike(values, where)
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    if isinstance(values, list | tuple) and any(one is None or isinstance(one, str | bytes) for one in values):
        array = _apart(values)  # numpy would turn None, NaN and numbers among text into text
    elif isinstance(values, list | tuple):
        array = _apart(values) if len({np.size(one) for one in values}) > 1 else np.asarray(values)
    else:
        array = values.to_numpy() if hasattr(values, "to_numpy") else np.asarray(values)
    if array.dtype.kind == "S":
        array = array.astype(object)
    if array.dtype == object and array.ndim == 1:
        array = _without_gaps(array, where)
    if array.dtype == object:
        kinds = {type(one) for one in array.ravel().tolist()}
        if any(issubclass(kind, list | tuple | dict | Tensor | np.ndarray) for kind in kinds):
            raise refusal(
                where,
                message("own.wanted.class_same_number_numbers", "one class, or the same number of numbers, per sample"),
                message("own.got.lists_different_lengths", "lists of different lengths"),
            )
        if all(issubclass(kind, int | float | np.number) for kind in kinds):
            array = array.astype(float)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim not in (1, 2):
        raise refusal(
            where,
            message("own.wanted.class_numbers", "one class (N,), or numbers (N,) or (N, T)"),
            shape_of(array),
        )
    if array.ndim == 2 and array.dtype.kind not in "iufb":
        raise refusal(
            where,
            message("own.wanted.class_per_sample", "one class per sample"),
            message("own.got.text_shape", "text of shape {shape}", shape=str(array.shape)),
        )
    return array


def _apart(values: Sequence[Any]) -> np.ndarray:
    """Values as an array of objects, each as it is."""
    array = np.empty(len(values), dtype=object)
    for i, one in enumerate(values):
        array[i] = one
    return array


def _without_gaps(values: np.ndarray, where: str) -> np.ndarray:
    """Labels with bytes as text. Refusal for a missing label, and for text and numbers in one set."""
    values = _apart([one.decode("utf-8", "replace") if isinstance(one, bytes) else one for one in values])
    text = next((one for one in values if isinstance(one, str) and one.strip()), None)
    for i, one in enumerate(values):
        missing = (
            one is None or type(one).__name__ in ("NAType", "NaTType") or (isinstance(one, str) and not one.strip())
        )
        if missing or (text is not None and isinstance(one, float | np.floating) and np.isnan(one)):
            wanted = message("own.wanted.label_each_sample", "a label for each sample")
            do = message("own.do.leave_sample_out", "leave the samples without one out")
            raise refusal(f"{where} at sample {i}", wanted, one, do=do)
        if text is not None and isinstance(one, int | float | np.number | np.bool_):
            raise mixed(text, one, where)
    return values


def task_of(
    labels: np.ndarray, task: TaskName | None, loss: str | None, name: str, where: str, table: bool = False
) -> TaskName:
    """Return classify, multilabel or regress.

    task: set by the user, or None. loss: the doctor's name of the user's loss, UNKNOWN_LOSS if it has none, or the name
    of one of danlu's. name: of a table's target column. table: whether the inputs are a table, which has no labels.
    """
    possible = ("class", "numbers") if table else ("class", "labels", "numbers")
    tasks = [name for name, spec in TASKS.items() if spec.targets in possible]
    if task is not None and targets_of(task) != "none" and task not in tasks:
        raise refusal(
            "task",
            message("own.wanted.tasks_data_given", "{tasks} for data given in Python", tasks=either(tasks)),
            task,
            do="" if targets_of(task) == "labels" else message("own.do.pass_folder_path", "pass the folder's path"),
        )
    if labels.ndim == 2 or targets_of(task) == "labels":
        return _task_of_several(labels, task, loss, where, table)
    if task is None and loss in CLASS_KINDS:
        task = "classify"
    if task is None and loss in NUMBER_KINDS and labels.dtype.kind in "iuf":
        task = "regress"
    if task is None and loss in BINARY_KINDS and set(np.unique(labels).tolist()) <= {0, 1}:
        task = "classify"
    if task is not None or name:
        return decide(labels, task, where, name)[0]
    if labels.dtype.kind == "f":
        return "regress"
    if labels.dtype.kind in "iu":
        distinct = len(np.unique(labels))
        return "classify" if distinct <= MAX_INTEGER_CLASSES and 2 * distinct <= len(labels) else "regress"
    return "classify"


def _task_of_several(labels: np.ndarray, task: TaskName | None, loss: str | None, where: str, table: bool) -> TaskName:
    """Task of several numbers per sample: of 0 and 1 for each label, in the place of one class, or any."""
    if labels.ndim == 2 and not labels.shape[1]:
        wanted = message("own.wanted.any_label", "labels, of which at least one occurs")
        raise refusal(where, wanted, message("own.got.empty_lists", "an empty list for each sample"))
    binary = labels.ndim == 2 and set(np.unique(labels).tolist()) <= {0, 1}
    if targets_of(task) == "labels" and not binary:
        wanted = message("own.wanted.labels_multilabel", "0 or 1 for each label, of shape (N, K), to predict labels")
        raise refusal(where, wanted, shape_of(labels))
    if targets_of(task) == "class" or (task is None and loss in CLASS_KINDS and is_one_hot(labels)):
        if not is_one_hot(labels):
            wanted = message("own.wanted.label_per_sample_classify", "one label per sample to classify")
            raise refusal(where, wanted, shape_of(labels))
        return label_task(False)
    if task is None and loss is None and not table and is_one_hot(labels):
        return label_task(False)
    if task is None and loss is None and not table and _is_probabilities(labels):
        wanted = message("own.wanted.classes_or_numbers", "classes, or numbers to predict")
        got = message("own.got.probabilities", "probabilities of {count} classes", count=labels.shape[1])
        text = "give the classes, or a loss that takes probabilities, such as loss=nn.CrossEntropyLoss()"
        raise refusal(where, wanted, got, do=message("own.do.give_classes", text))
    if task is None and binary and not table and loss in (None, "binary-cross-entropy", *BINARY_KINDS):
        return label_task(True)
    return task or "regress"


def check_scores(task: TaskName, loss: str | None) -> None:
    """Refuse a loss of probabilities where danlu turns the outputs of the network into probabilities itself."""
    if targets_of(task) in ("class", "labels") and loss == "bce":
        wanted = message("own.wanted.loss_of_scores", "a loss of scores, such as nn.BCEWithLogitsLoss()")
        do = message("own.do.leave_out_sigmoid", "leave the sigmoid at the end of the network out")
        raise refusal("loss", wanted, message("own.got.loss_of_probabilities", "one of probabilities"), do=do)


def is_one_hot(labels: np.ndarray) -> bool:
    """Return whether each row (N, K) is 1 for one class and 0 for all others."""
    return labels.ndim == 2 and set(np.unique(labels).tolist()) <= {0, 1} and bool((labels.sum(1) == 1).all())


def _is_probabilities(labels: np.ndarray) -> bool:
    """Return whether the rows (N, K) are fractions that sum to 1, as smoothed or mixed labels are."""
    fractions = labels.ndim == 2 and labels.shape[1] > 1 and labels.dtype.kind == "f" and bool((labels >= 0).all())
    return fractions and not is_one_hot(labels) and bool(np.allclose(labels.sum(1), 1, atol=1e-3))


def numbered(labels: np.ndarray, names: Sequence[str] | None, keep: bool) -> tuple[Tensor, tuple[str, ...], list[str]]:
    """Class indices (N,), class names and notes. labels: (N,), or one-hot (N, K).

    names: of the classes 0, 1, ..., where the data have them. keep: the user's network expects the integers unchanged,
    so that integers from 0 keep their value even where some do not occur.
    """
    if labels.ndim == 2:
        names = names or tuple(map(str, range(labels.shape[1])))
        text = "the targets are 1 for one of {count} classes each; task='multilabel' takes them as labels apart"
        note = message("own.note.one_hot", text, count=labels.shape[1])
        return torch.from_numpy(labels.argmax(1)), tuple(names), [note]
    if labels.dtype.kind == "f":
        labels = labels.astype(np.int64)
    if labels.dtype.kind in "iu" and len(labels):
        low, high, distinct = int(labels.min()), int(labels.max()), np.unique(labels)
        if names is not None and low >= 0 and high < len(names):
            return torch.from_numpy(labels.astype(np.int64)), tuple(names), []
        if keep and low == 0 and high < 10 * len(distinct):
            missing = sorted(set(range(high + 1)) - set(distinct.tolist()))
            notes: list[str] = (
                [
                    message(
                        "own.note.no_sample_of", "no sample of class {listed}", listed=", ".join(map(str, missing[:8]))
                    )
                ]
                if missing
                else []
            )
            return torch.from_numpy(labels.astype(np.int64)), tuple(map(str, range(high + 1))), notes
        targets, classes = to_classes(labels)
        changed = distinct.tolist() != list(range(len(distinct)))
        shown = ", ".join(classes[:5]) + ", ..." * (len(classes) > 5)
        return targets, classes, [f"labels {shown} are numbered from 0 in this order"] if changed else []
    targets, classes = to_classes(labels)
    return targets, classes, []


def numbers(labels: np.ndarray, where: str) -> Tensor:
    """Targets of regression, float32 (N, T)."""
    if labels.dtype.kind not in "iufb":
        raise Refusal(
            message(
                "own.refuse.numbers_predict_numbers_got",
                "{where} must be numbers to predict numbers, got text such as {example!r}",
                where=where,
                example=str(labels.ravel()[0]),
            )
        )
    return to_numbers(labels.astype(float), where.removeprefix("targets "))


def integers_as_floats(labels: np.ndarray) -> list[str]:
    """Note on targets (N,) of few integers stored as floats, which may be classes."""
    if labels.ndim != 1 or labels.dtype.kind != "f" or not np.equal(np.mod(labels, 1), 0).all():
        return []
    distinct = len(np.unique(labels))
    if distinct > MAX_FLOAT_CLASSES or 2 * distinct > len(labels):
        return []
    text = (
        "the targets are {count} different integers stored as floats, taken as numbers, not as classes "
        "(task='classify')"
    )
    return [message("own.note.integers_as_floats", text, count=distinct)]
