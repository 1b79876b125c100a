"""Interpret raw targets: decide between classification and regression, and convert them to tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from danlu.message import Message, message
from danlu.refuse import NOTHING, Refusal, refusal
from danlu.task_spec import TaskName as Task
from danlu.task_spec import TaskSpec, targets_of

MAX_INTEGER_CLASSES = 20  # integers with at most this many distinct values, each seen often, are classes
CLASS_COLUMNS = ("label", "labels", "class", "category", "species")  # names of columns whose integers are classes


def decide(values: np.ndarray, task: Task | None, where: str, name: str = "") -> tuple[Task, str]:
    """Derive the task from targets (N,); returns it and the reason in a few words.

    task: set by the user, or None. where: location of the target, for messages. name: of its column.
    Raises Refusal if the values contradict `task`.
    """
    if values.dtype.kind not in "iuf":
        if targets_of(task) == "numbers":
            raise refusal(
                f"the target {where}",
                message("data.wanted.numbers_task_regress", "numbers for --task regress"),
                str(values[0]),
            )
        return "classify", message("data.why.not_numbers", "its values are not numbers")
    distinct = np.unique(values)
    whole = bool(np.all(distinct == np.round(distinct)))
    if targets_of(task) == "class" and not whole:
        example = distinct[distinct != np.round(distinct)][0]
        raise refusal(
            f"the target {where}",
            message("data.wanted.integers_text_task_classify", "integers or text for --task classify"),
            float(example),
        )
    if task:
        return task, message("data.why.set", "set by the user")
    often = len(distinct) <= 2 or (len(distinct) <= MAX_INTEGER_CLASSES and len(distinct) < 0.05 * len(values))
    if whole and name.strip().lower() in CLASS_COLUMNS and len(distinct) <= max(2, 0.1 * len(values)):
        why = message(
            "data.why.named_class", "its {count} integers are called {name!r}", count=len(distinct), name=name
        )
        return "classify", why
    if whole and often:
        return "classify", message("data.why.few_integers", "only {count} integers occur", count=len(distinct))
    return "regress", message("data.why.many_numbers", "{count} different numbers occur", count=len(distinct))


def to_classes(values: np.ndarray) -> tuple[Tensor, tuple[str, ...]]:
    """Convert texts, integers or booleans (N,) to class indices int64 (N,) and sorted classes (numbers by value)."""
    if values.dtype.kind == "f":
        values = values.astype(np.int64)
    elif values.dtype.kind not in "iub":
        values = np.asarray([str(v).strip() for v in values])
    distinct, indices = np.unique(values, return_inverse=True)
    return torch.from_numpy(indices.astype(np.int64)), tuple(str(v) for v in distinct)


def to_numbers(values: np.ndarray, where: str) -> Tensor:
    """Convert numbers (N,) or (N, T) to float32 (N, T). Raises Refusal if one is not finite. where: for messages."""
    if not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        raise refusal(
            f"the target {where} at row {row}",
            message("data.wanted.finite_number", "a finite number"),
            float(np.ravel(values[row])[0]),
        )
    return torch.from_numpy(np.ascontiguousarray(values.reshape(len(values), -1), dtype=np.float32))


def sort_classes(names: Sequence[str], indices: Tensor) -> tuple[tuple[str, ...], Tensor]:
    """Sort class names; returns the sorted names and the indices into them."""
    order = sorted(range(len(names)), key=lambda k: names[k])
    place = torch.empty(len(names), dtype=torch.int64)
    place[torch.tensor(order)] = torch.arange(len(names))
    return tuple(names[k] for k in order), place[indices]


def with_classes(spec: TaskSpec, targets: Tensor, places: Tensor, classes: int) -> Tensor:
    """Targets with their classes numbered anew. places: int64, the new index of each class. classes: their number."""
    if spec.several_labels:
        moved = torch.zeros(len(targets), classes)
        moved[:, places] = targets
        return moved
    return places[targets] if spec.has_classes else targets


def need_two(classes: Sequence[str], where: object, advice: Callable[[], Message] | None = None) -> None:
    """Raise Refusal unless there are at least two classes.

    where: location of the labels, for messages. advice: returns a hint, and is called only on refusal.
    """
    if len(classes) >= 2:
        return
    got = message("data.got.only", "only {name!r}", name=classes[0]) if classes else NOTHING
    refused = message(
        "data.refuse.least_two_classes_got", "{where} must have at least two classes, got {got}", where=where, got=got
    )
    if advice is None:
        raise Refusal(refused)
    raise Refusal(message("data.refuse.with_advice", "{refused}; {advice}", refused=refused, advice=advice()))
