"""Recognition of the data that the user gave: the splits, and the kind of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
)

from danlu.data.files.image_file import IMAGE_SUFFIXES
from danlu.message import message
from danlu.own.tags import is_rows
from danlu.refuse import Refusal, nearest

SPLIT_KEYS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test",
}  # fmt: skip
PAIR_KEYS = (("x", "y"), ("X", "y"), ("inputs", "targets"), ("images", "labels"), ("data", "target"))
WANTED = message(
    "own.wanted.path_name_known_set",
    "a path, the name of a known set, a pair (inputs, targets) of arrays or tensors, a torch "
    "Dataset or DataLoader, a pandas DataFrame with target=, a Hugging Face dataset, or "
    "(train, val) or (train, val, test) of these",
)
PLAIN_SAMPLERS = (RandomSampler, SequentialSampler, SubsetRandomSampler)


@dataclass(frozen=True)
class Loading:
    """Settings of a DataLoader, used in the training where the user gives no others."""

    batch_size: int | None = None
    workers: int | None = None


def is_data(value: object) -> bool:
    """Return whether an argument is data in memory rather than a path, a name or the size of a split."""
    return not (value is None or isinstance(value, str | int | float) or hasattr(value, "__fspath__"))


def splits_of(data: Any, val: Any, test: Any) -> dict[str, Any]:
    """Data by split: "train", and "val" and "test" if given. Raises Refusal for objects that are no data."""
    parts = {name: as_taken(one) for name, one in _splits(as_taken(data)).items()}
    for name, one in (("val", val), ("test", test)):
        if is_data(one):
            one = as_taken(one)  # noqa: PLW2901
            if name in parts:
                raise Refusal(
                    message(
                        "own.refuse.given_twice_data", "{name} is given twice, in the data and as {name}=", name=name
                    ),
                    name,
                )
            parts[name] = one
    for name, one in parts.items():
        if not _is_split(one):
            raise Refusal(
                message(
                    "own.refuse.got",
                    "{name} must be {wanted}, got {one}",
                    name=name if name != "train" else "DATA",
                    wanted=WANTED,
                    one=described(one),
                ),
                "DATA",
            )
    return parts


def _splits(data: Any) -> dict[str, Any]:
    if isinstance(data, Mapping):
        if keys := next((keys for keys in PAIR_KEYS if all(key in data for key in keys)), None):
            return {"train": (data[keys[0]], data[keys[1]])}
        named = {SPLIT_KEYS[str(key).lower()]: one for key, one in data.items() if str(key).lower() in SPLIT_KEYS}
        if "train" not in named:
            near = nearest(next(iter(data), ""), SPLIT_KEYS)
            hint = message("own.hint.did_you_mean", "; did you mean {near!r}?", near=near[0]) if near else ""
            raise Refusal(
                message(
                    "own.refuse.data_key_train_keys",
                    "DATA must have the key 'train' or the keys 'x' and 'y', got {data}{hint}",
                    data=str(sorted(map(str, data))),
                    hint=hint,
                )
            )
        return named
    if _is_split(data) or not isinstance(data, tuple | list):
        return {"train": data}
    if len(data) in (2, 3) and all(_is_split(one) for one in data):
        return dict(zip(("train", "val", "test"), data))
    if data and (all(is_array(one) for one in data) or _is_inputs_and_targets(data)):
        _refuse_arrays(data)
    return {"train": data}


def _refuse_arrays(data: Sequence[Any]) -> None:
    """Refuse arrays that are no pair (inputs, targets)."""
    lengths = [len(one) if isinstance(one, list | tuple) or np.ndim(one) else 0 for one in data]
    if len(data) == 2:
        raise Refusal(
            message(
                "own.refuse.data_inputs_targets_many",
                "DATA (inputs, targets) must have as many inputs as targets, got {lengths:,} and {lengths2:,}",
                lengths=lengths[0],
                lengths2=lengths[1],
            ),
            "DATA",
        )
    listed = ", ".join(f"{n:,}" for n in lengths)
    raise Refusal(
        message(
            "own.refuse.data_pair_inputs_targets",
            "DATA must be one pair (inputs, targets) or ((x, y), (x_val, y_val)), got {data} arrays "
            "of lengths {listed}",
            data=len(data),
            listed=listed,
        ),
        "DATA",
    )


def _is_split(data: Any) -> bool:
    """Return whether this is one set of labelled samples."""
    data = as_taken(data)
    return (
        is_pair(data) or is_frame(data) or is_hugging_face(data) or is_map_style(data) or isinstance(data, DataLoader)
    )


def is_array(value: Any) -> bool:
    """A tensor, a numpy array, or a list or Series that can become one; no dataset."""
    if isinstance(value, Tensor | np.ndarray):
        return value.ndim > 0
    if type(value).__module__.startswith("pandas") and hasattr(value, "to_numpy"):
        return True
    plain = (int, float, str, bytes, bool, np.generic, type(None))
    return isinstance(value, list) and bool(value) and all(isinstance(one, plain) or _is_numbers(one) for one in value)


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(one, int | float) for one in value)


def _is_nested(value: Any) -> bool:
    """Return whether these are lists in lists of numbers, such as images; one shape is not checked."""
    return isinstance(value, list) and bool(value) and all(_is_numbers(one) or _is_nested(one) for one in value)


def is_pair(data: Any) -> bool:
    """(inputs, targets): two arrays, or a DataFrame and an array, of the same length."""
    return _is_inputs_and_targets(data) and len(data[0]) == len(data[1])


def _is_inputs_and_targets(data: Any) -> bool:
    """Return whether this is a pair as of `is_pair`, of any lengths."""
    if not isinstance(data, tuple | list) or len(data) != 2:
        return False
    if isinstance(data, list) and all(_is_numbers(one) for one in data):
        return False
    first, second = data
    taken = is_array(first) or _is_nested(first) or is_listed(first)
    return taken and (is_array(second) or is_rows(second))


def is_listed(inputs: Any) -> bool:
    """Return whether these are images or other inputs one by one: PIL images, arrays, encoded images or paths."""
    if isinstance(inputs, np.ndarray) and inputs.ndim == 1 and inputs.dtype.kind in "OU":
        inputs = inputs.tolist()
    return isinstance(inputs, list) and bool(inputs) and all(map(_is_input, inputs))


def _is_input(value: Any) -> bool:
    if isinstance(value, Tensor | np.ndarray):
        return value.ndim > 0
    if isinstance(value, str) or hasattr(value, "__fspath__"):
        return Path(value).suffix.lower() in IMAGE_SUFFIXES
    return isinstance(value, bytes) or hasattr(value, "getbands")


def as_taken(data: Any) -> Any:
    """Data in a form of their kind that danlu reads: several inputs as samples, other frames as those of pandas."""
    if isinstance(data, tuple | list) and len(data) == 2 and not is_pair(data):
        inputs, targets = data
        each = list(inputs.values()) if isinstance(inputs, Mapping) else inputs
        arrays = (
            isinstance(each, tuple | list) and bool(each) and all(isinstance(one, Tensor | np.ndarray) for one in each)
        )
        if arrays and is_array(targets) and {len(one) if one.ndim else 0 for one in each} == {len(targets)}:
            return SeveralInputs(inputs, targets)
    return as_pandas(data)


class SeveralInputs(Dataset[Any]):
    """Samples of arrays, (a, b) or {"image": a, "age": b}, and of their targets."""

    def __init__(self, inputs: Any, targets: Any) -> None:
        self.inputs, self.targets = inputs, targets.tolist() if hasattr(targets, "tolist") else targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, number: int) -> tuple[Any, Any]:
        if isinstance(self.inputs, Mapping):
            return {name: one[number] for name, one in self.inputs.items()}, self.targets[number]
        return tuple(one[number] for one in self.inputs), self.targets[number]


def as_pandas(data: Any) -> Any:
    """A frame of polars, or numpy's array of records, as a DataFrame; other data as they are."""
    if isinstance(data, np.ndarray):
        names = data.dtype.names
        return _pandas({name: data[name] for name in names}) if names else data
    if type(data).__module__.split(".")[0] == "polars" and hasattr(data, "to_dict") and hasattr(data, "columns"):
        return _pandas(data.to_dict(as_series=False))
    return data


def _pandas(columns: dict[str, Any]) -> Any:
    import pandas

    return pandas.DataFrame(columns)


def is_frame(data: Any) -> bool:
    """Return whether data are a DataFrame, by its type's name, so that pandas need not be imported."""
    return type(data).__name__ == "DataFrame" and hasattr(data, "columns") and hasattr(data, "iloc")


def is_hugging_face(data: Any) -> bool:
    """Return whether data are a Dataset of Hugging Face, by its attributes; its library is not imported."""
    return all(hasattr(data, name) for name in ("features", "column_names", "__getitem__", "__len__"))


def is_map_style(data: Any) -> bool:
    """A torch Dataset with a length, or a list of samples."""
    if isinstance(data, list):
        return bool(data) and all(isinstance(one, tuple | list | Mapping) and len(one) >= 2 for one in data)
    if (
        isinstance(data, IterableDataset | DataLoader | str | bytes | Mapping | tuple)
        or is_array(data)
        or is_frame(data)
    ):
        return False
    return hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, type)


def described(value: Any) -> str:
    """Describe a value in a few words."""
    if isinstance(value, Tensor | np.ndarray):
        return f"one {type(value).__name__} of shape {tuple(value.shape)} without targets"
    if isinstance(value, tuple | list):
        return _items_described(value)
    return _unusable(value) or _kind(value)


def _items_described(items: tuple[Any, ...] | list[Any]) -> str:
    odd = _odd_item(items) if isinstance(items, list) else None
    if odd is not None:
        return message("own.got.odd_item", "a list whose item {odd} is no sample (input, target)", odd=odd)
    inner = ", ".join(_kind(one) for one in items[:4]) + ", ..." * (len(items) > 4)
    return f"({inner})" if isinstance(items, tuple) else f"[{inner}]"


def _unusable(value: Any) -> str | None:
    """A dataset without a length or an iterator, and what to do with it; None for other values."""
    name = type(value).__name__
    if isinstance(value, IterableDataset):
        return f"{name}, a stream without a length; collect it: list(dataset)"
    if hasattr(value, "__next__"):
        return f"a {name}, which can be read once only; collect it: list(...)"
    if hasattr(value, "__getitem__") and not hasattr(value, "__len__") and not isinstance(value, type):
        text = "{name}, a dataset without __len__; add it, or collect it: list(dataset)"
        return message("own.got.no_len", text, name=name)
    return None


def _odd_item(items: list[Any]) -> int | None:
    """Number of the first item that is no sample, in a list that begins with a sample."""
    if not is_map_style(items[:1]):
        return None
    return next((i for i, one in enumerate(items) if not is_map_style([one])), None)


def _kind(value: Any) -> str:
    if isinstance(value, Tensor | np.ndarray):
        return f"{type(value).__name__} {tuple(value.shape)}"
    return repr(value)[:40] if isinstance(value, str | int | float | None) else type(value).__name__


def unwrapped(data: Any) -> tuple[Any, Any, Loading]:
    """A DataLoader's dataset, its collate function where it is not torch's own, and its settings."""
    if not isinstance(data, DataLoader):
        return data, None, Loading()
    if isinstance(data.dataset, IterableDataset):
        raise Refusal(
            message(
                "own.refuse.data_got_dataloader",
                "DATA must be {wanted}, got a DataLoader of {dataset}",
                wanted=WANTED,
                dataset=described(data.dataset),
            ),
            "DATA",
        )
    sampler = getattr(data, "sampler", None)
    batched = data.batch_size is None and data.batch_sampler is not None  # by a sampler of batches of the user's
    if not isinstance(sampler, PLAIN_SAMPLERS) or batched:
        name = "batch_sampler" if batched else type(sampler).__name__
        text = (
            "DATA: the DataLoader's {name} cannot be used, as danlu orders the samples itself; leave it out "
            "(data={{'balance': True}} draws all classes equally often), or pass the dataset"
        )
        raise Refusal(message("own.refuse.sampler", text, name=name), "DATA")
    dataset: Any = data.dataset
    if isinstance(sampler, SubsetRandomSampler):
        dataset = Subset(dataset, list(sampler.indices))
    alone = data.batch_size is None  # no batches: the collate function takes a sample, by default as it is
    collate = data.collate_fn if data.collate_fn is not torch.utils.data.default_collate and not alone else None
    return dataset, collate, Loading(data.batch_size, data.num_workers)
