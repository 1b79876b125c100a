"""The user's data as a `Dataset`: splits joined, labels numbered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from danlu.config import DataConfig
from danlu.data.dataset import SPLITS, Dataset, ImageFiles, Samples
from danlu.data.sources.tables.targets import need_two
from danlu.message import message
from danlu.own.labels import check_scores, integers_as_floats, numbered, numbers, task_of
from danlu.own.naming import plain_name
from danlu.own.own_inputs import ReadOptions, SplitData, read_split
from danlu.own.recognition import Loading, is_pair, splits_of, unwrapped
from danlu.own.tags import holds_tags, joined_tags, tag_matrix
from danlu.refuse import Refusal, refusal
from danlu.task_spec import TaskName, label_task, targets_of


def open_data(
    data: Any,
    val: Any,
    test: Any,
    config: DataConfig,
    task: TaskName | None,
    *,
    raw: bool,
    loss: str | None = None,
    classes: tuple[str, ...] | None = None,
) -> tuple[Dataset, Loading]:
    """Data given in Python as a `Dataset`, and the settings of its DataLoader.

    val, test: their splits, where they are data as well. raw: the user's network takes arrays as they are. loss: see
    `task_of`. classes: of a trained network, whose classes the labels must be.
    """
    given = splits_of(data, val, test)
    parts: dict[str, SplitData] = {}
    loading = Loading()
    for split, one in given.items():
        dataset, collate, how = unwrapped(one)
        loading = how if split == "train" else loading
        parts[split] = read_split(dataset, ReadOptions(config, raw, collate), "DATA" if split == "train" else split)
    first_given = unwrapped(given["train"])[0]
    name = "arrays" if is_pair(first_given) else plain_name(first_given)
    first = parts["train"]
    labels = _joined_labels(parts)
    where = f"column {first.target!r} of DATA" if first.target and _is_table(first) else "targets of DATA"
    known = first.classes
    if holds_tags(labels):
        if _is_table(first):
            wanted = message("own.wanted.class_or_number", "one class or number per row of a table")
            raise refusal(where, wanted, message("own.got.several_labels", "several labels"))
        labels, known = tag_matrix(labels, classes, where)
        task = task or label_task(True)
    wanted = task or ("classify" if known and labels.ndim == 1 else None)
    name_of_target = first.target if _is_table(first) else ""
    decided = task_of(labels, wanted, loss, name_of_target, where, table=_is_table(first))
    check_scores(decided, loss)
    inputs, common = _joined_inputs(parts), _common(parts, name)
    if isinstance(inputs, Tensor) and inputs.dtype == torch.uint8 and inputs.ndim == 5:
        common["frames"], inputs = inputs.shape[1], inputs.flatten(1, 2)
    if targets_of(decided) == "numbers":
        targets = numbers(labels, where)
        names = (first.target or "target",) if targets.shape[1] == 1 else _columns(targets.shape[1])
        if task is None and loss is None and not _is_table(first):
            common["notes"] += integers_as_floats(labels)
        made = Dataset(task="regress", inputs=inputs, targets=targets, target_names=names, **common)
    elif targets_of(decided) == "labels":
        named = classes or known or tuple(map(str, range(labels.shape[1])))
        targets = torch.from_numpy(labels.astype(np.float32))
        made = Dataset(task=decided, inputs=inputs, targets=targets, classes=named, **common)
    else:
        targets, found, notes = numbered(labels, known or _as_trained(labels, classes), keep=raw)
        if classes is None:
            need_two(found, where)
        common["notes"] += notes
        made = Dataset(task="classify", inputs=inputs, targets=targets, classes=found, **common)
        if _is_table(first):
            made = replace(made, target_names=(first.target or "target",))
    return made, loading


def _as_trained(labels: np.ndarray, classes: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Classes of a trained network, where they are numbers and the labels are integers."""
    numeric = classes is not None and classes == tuple(map(str, range(len(classes))))
    return classes if numeric and labels.dtype.kind in "iu" else None


def _columns(count: int) -> tuple[str, ...]:
    return tuple(f"target{k}" for k in range(count))


def _is_table(part: SplitData) -> bool:
    return hasattr(part.inputs, "columns")


def _joined_labels(parts: dict[str, SplitData]) -> np.ndarray:
    for split, part in parts.items():
        if len(part.inputs) != len(part.labels):
            raise Refusal(
                message(
                    "own.refuse.many_inputs_targets_got",
                    "{split} must have as many inputs as targets, got {inputs} and {labels}",
                    split=split,
                    inputs=len(part.inputs),
                    labels=len(part.labels),
                )
            )
    if any(holds_tags(part.labels) for part in parts.values()):
        return joined_tags([part.labels for part in parts.values()])
    shapes = {part.labels.shape[1:] for part in parts.values()}
    if len(shapes) > 1:
        raise Refusal(
            message(
                "own.refuse.targets_all_splits_shape",
                "targets of all splits must have one shape, got {listed}",
                listed=" and ".join(map(str, sorted(shapes))),
            )
        )
    kinds = {part.labels.dtype.kind for part in parts.values()}
    labels = [part.labels for part in parts.values()]
    if len(kinds) > 1 and not kinds <= set("iufb"):
        raise Refusal(
            message(
                "own.refuse.targets_all_splits_kind",
                "targets of all splits must be of one kind, got numbers in one and text in another",
            )
        )
    return np.concatenate(labels) if len(labels) > 1 else labels[0]


def _joined_inputs(parts: dict[str, SplitData]) -> Any:
    """Inputs of all splits, one after the other."""
    inputs = [part.inputs for part in parts.values()]
    first = inputs[0]
    if len(inputs) == 1:
        return first
    if any(type(one) is not type(first) for one in inputs):
        raise Refusal(
            message(
                "own.refuse.all_splits_kind_got",
                "all splits must be of one kind, got {listed}",
                listed=" and ".join(type(one).__name__ for one in inputs),
            )
        )
    if isinstance(first, Tensor):
        shapes = {tuple(one.shape[1:]) for one in inputs}
        if len(shapes) > 1 or len({one.dtype for one in inputs}) > 1:
            listed = " and ".join(f"{tuple(one.shape[1:])} {str(one.dtype)[6:]}" for one in inputs)
            raise Refusal(
                message(
                    "own.refuse.inputs_all_splits_shape",
                    "inputs of all splits must have one shape and type, got {listed}",
                    listed=listed,
                )
            )
        return torch.cat(inputs)
    if isinstance(first, Samples):
        for one in inputs[1:]:
            if one.shape != first.shape:
                raise Refusal(
                    message(
                        "own.refuse.data_inputs_all_splits_shape",
                        "inputs of all splits must have one shape, got {shape} and {shape2}",
                        shape=str(first.shape),
                        shape2=str(one.shape),
                    )
                )
        return replace(first, parts=tuple(part for one in inputs for part in one.parts))
    if isinstance(first, ImageFiles):
        paths = tuple(path for one in inputs for path in one.paths)
        sizes = tuple(size for one in inputs for size in one.sizes)
        return ImageFiles(paths, sizes, all(one.grey for one in inputs), first.window, first.channels)
    import pandas

    for one in inputs[1:]:
        if missing := [name for name in first.columns if name not in one.columns]:
            raise refusal(
                "val and test",
                message("own.wanted.tables_columns_training", "tables with the columns of the training"),
                message("own.got.none_called", "none called {missing!r}", missing=missing[0]),
            )
    return pandas.concat([one[list(first.columns)] for one in inputs], ignore_index=True)


def _common(parts: dict[str, SplitData], name: str) -> dict[str, Any]:
    """Fields of the `Dataset` besides inputs and targets."""
    lengths = {split: len(part.labels) for split, part in parts.items()}
    given = [torch.full((n,), SPLITS.index(split), dtype=torch.int8) for split, n in lengths.items()]
    return {
        "path": name,
        "format": "python",
        "given": torch.cat(given) if len(parts) > 1 else None,
        "name_of": Names(tuple(lengths.items()), _file_names(parts)),
        "problems": [problem for part in parts.values() for problem in part.problems],
        "notes": [note for part in parts.values() for note in part.notes],
    }


def _file_names(parts: dict[str, SplitData]) -> tuple[str, ...] | None:
    if not all(isinstance(part.inputs, ImageFiles) for part in parts.values()):
        return None
    return tuple(str(path) for part in parts.values() for path in part.inputs.paths)


class Names:
    """Sample number -> its name: the file, or the split and the number in it."""

    def __init__(self, lengths: tuple[tuple[str, int], ...], files: tuple[str, ...] | None) -> None:
        self.lengths, self.files = lengths, files

    def __call__(self, number: int) -> str:
        """Return the name of a sample."""
        if self.files is not None:
            return self.files[number]
        for split, count in self.lengths:
            if number < count:
                return f"{split} sample {number}" if len(self.lengths) > 1 else f"sample {number}"
            number -= count
        return f"sample {number}"
