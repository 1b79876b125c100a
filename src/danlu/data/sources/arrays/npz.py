"""npz files with arrays x and y, or x_train, y_train, x_test and y_test, or other common names of them."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from danlu.config import DataConfig
from danlu.data.clips import as_clips, folded, frames_to_take
from danlu.data.dataset import TEST, TRAIN, VAL, Dataset
from danlu.data.files.unpacking import check_npz
from danlu.data.sources.tables.targets import Task, decide, to_classes, to_numbers
from danlu.message import message
from danlu.refuse import Refusal, refusal, shape_of
from danlu.task_spec import TASKS, label_task, targets_of

INPUTS = ("x", "images", "data", "inputs", "features")
TARGETS = ("y", "labels", "target", "targets", "label")
MAX_CHANNELS = 1024  # more than hyperspectral cameras have
SPLITS = (("train", TRAIN), ("val", VAL), ("valid", VAL), ("validation", VAL), ("test", TEST))


def looks_like(path: Path) -> bool:
    """Return whether a path is an npz file, by its extension."""
    return path.is_file() and path.suffix.lower() == ".npz"


def open(path: Path, config: DataConfig, task: Task | None = None, clips: bool = False) -> Dataset:
    """Read images as uint8 (N, C, H, W) or columns as float32 (N, D), and targets for the task of `targets.decide`.

    Images may be stored as (N, H, W), (N, H, W, C) or (N, C, H, W), uint8 or float; clips as (N, T, C, H, W),
    (N, C, T, H, W) or (N, T, H, W, C). clips: the inputs are clips (N, T, C, H, W) or (N, T, H, W). Raises Refusal for
    other arrays.
    """
    arrays = _arrays(path)
    parts = _parts(path, arrays)
    given = []
    for x, y, split in parts:
        _check_inputs(f"{x} in {path}", arrays[x], arrays[parts[0][0]].shape[1:])
        if arrays[y].ndim not in (1, 2):
            raise refusal(
                f"{y} in {path}",
                message("data.wanted.npz_shape", "of shape (N,) or (N, T)"),
                shape_of(arrays[y]),
            )
        if len(arrays[x]) != len(arrays[y]):
            raise Refusal(
                message(
                    "data.refuse.samples",
                    "{path}: {x} has {count} {count:sample|samples} but {y} {count2}",
                    path=path,
                    x=x,
                    count=len(arrays[x]),
                    y=y,
                    count2=len(arrays[y]),
                )
            )
        given.append(torch.full((len(arrays[x]),), split, dtype=torch.int8))
    y_name = parts[0][1]
    raw = np.concatenate([_flat(arrays[y]) for _, y, _ in parts])
    where = f"{y_name} in {path}"
    notes: list[str] = []
    joined, frames = np.concatenate([arrays[x] for x, _, _ in parts]), None
    if clips or joined.ndim == 5:
        inputs, frames = _clip_inputs(path, joined, parts[0][0], notes, config, as_given=clips)
    else:
        inputs = _inputs(path, joined, parts[0][0], notes)
    common = {"path": str(path), "format": "npz", "inputs": inputs, "notes": notes, "frames": frames}
    common |= {"given": torch.cat(given) if len(parts) > 1 else None, "name_of": lambda i: f"{path.name} row {i}"}
    wanted = targets_of(task)
    if _is_hot(raw) and wanted != "numbers":
        return _of_hot_rows(raw, task, common)
    # Fractions and several target columns mean regression; text and integers mean classification by default.
    fractions = raw.ndim == 1 and raw.dtype.kind == "f" and decide(raw, task, where)[0] == "regress"
    if raw.ndim == 2 or wanted == "numbers" or fractions:
        if raw.ndim == 2 and wanted == "class":
            raise refusal(
                where,
                message("data.wanted.label_per_sample_task", "one label per sample for --task classify"),
                shape_of(raw),
            )
        numbers = to_numbers(raw, where) if raw.dtype.kind in "iufb" else None
        if numbers is None or wanted == "class":
            decide(raw, task, where)  # raises Refusal with the reason
        else:
            names = tuple(f"{y_name}[{k}]" for k in range(numbers.shape[1])) if numbers.shape[1] > 1 else (y_name,)
            return Dataset(task="regress", targets=numbers, target_names=names, **common)
    targets, classes = to_classes(raw)
    return Dataset(task="classify", targets=targets, classes=classes, **common)


def _is_hot(raw: np.ndarray) -> bool:
    """Return whether targets (N, K) hold nothing but 0 and 1: a column per class."""
    return raw.ndim == 2 and raw.dtype.kind in "iufb" and bool(((raw == 0) | (raw == 1)).all())


def _of_hot_rows(raw: np.ndarray, task: Task | None, common: dict[str, Any]) -> Dataset:
    """Dataset of targets (N, K) of 0 and 1: a class each where every row has exactly one 1, else several labels."""
    exclusive = bool((raw.sum(axis=1) == 1).all())
    classes = tuple(map(str, range(raw.shape[1])))
    if exclusive if task is None else not TASKS[task].several_labels:
        if not exclusive:
            raise refusal(
                f"the targets of {common['path']}",
                message("data.wanted.one_label_per_row", "rows with exactly one 1 for --task {task}", task=task or ""),
                message("data.got.row_sum", "a row with {total}", total=int(raw.sum(axis=1)[raw.sum(axis=1) != 1][0])),
            )
        return Dataset(task="classify", targets=torch.from_numpy(raw.argmax(axis=1)), classes=classes, **common)
    return Dataset(task=label_task(True), targets=torch.from_numpy(raw.astype(np.float32)), classes=classes, **common)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        check_npz(path)
        with np.load(path, allow_pickle=False) as file:
            return {name: _array(path, file, name) for name in file.files}
    except (zipfile.BadZipFile, EOFError, ValueError, OSError, zlib.error, AttributeError, RuntimeError) as error:
        if isinstance(error, Refusal):
            raise
        raise Refusal(
            message(
                "data.refuse.npz_file_truncated_damaged",
                "{path} must be an npz file, but it is truncated, damaged or of another kind",
                path=path,
            )
        ) from None


def _array(path: Path, file: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    try:
        return file[name]
    except ValueError as error:
        if "pickle" in str(error).lower() or "object" in str(error).lower():
            raise refusal(
                f"{name} in {path}",
                message("data.wanted.array_numbers_text", "an array of numbers or text"),
                message("data.got.python_objects", "python objects"),
                do=message("data.do.they_read_because_they", "they are not read because they could run code"),
            ) from None
        raise


def _parts(path: Path, arrays: Mapping[str, np.ndarray]) -> list[tuple[str, str, int]]:
    """Find the names of inputs and targets, and their split: one pair, or one per split."""
    lower = {name.lower(): name for name in arrays}

    def pair(suffix: str, prefix: str = "") -> tuple[str, str] | None:
        x = next((lower[n] for k in INPUTS if (n := prefix + k + suffix) in lower), None)
        y = next((lower[n] for k in TARGETS if (n := prefix + k + suffix) in lower), None)
        return (x, y) if x and y else None

    parts = [
        (*found, split) for word, split in SPLITS if (found := pair(f"_{word}") or pair("", f"{word}_")) is not None
    ]
    if any(split == TRAIN for *_, split in parts):
        return parts
    if found := pair(""):
        return [(*found, TRAIN)]
    raise refusal(
        f"the arrays of {path}",
        message("data.wanted.named_train_train_test", "named x and y, or x_train, y_train, x_test and y_test"),
        sorted(arrays),
    )


def _flat(y: np.ndarray) -> np.ndarray:
    """Flatten targets (N, 1) to (N,)."""
    return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y


def _check_inputs(where: str, x: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise Refusal unless x has finite columns or images. where: its location. shape: of a training sample."""
    if x.ndim not in (2, 3, 4, 5):
        raise refusal(
            where,
            message(
                "data.wanted.columns_images",
                "columns (N, D), images (N, H, W), (N, H, W, C) or (N, C, H, W), or clips (N, T, C, H, W)",
            ),
            shape_of(x),
        )
    if x.size == 0:
        raise refusal(
            where,
            message("data.wanted.non_empty_array", "a non-empty array"),
            shape_of(x),
        )
    if x.shape[1:] != shape:
        raise refusal(
            where,
            message("data.wanted.samples_shape_training", "samples of shape {shape} as in training", shape=str(shape)),
            x.shape[1:],
        )
    if x.dtype.kind not in "iufb":
        raise refusal(
            where, message("data.wanted.numbers", "numbers"), message("data.got.type", "type {dtype}", dtype=x.dtype)
        )
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        row = int(np.argwhere(~np.isfinite(x))[0][0])
        raise refusal(
            f"{where} at row {row}",
            message("data.wanted.finite_numbers", "finite numbers"),
            message("data.got.nan_infinity", "NaN or infinity"),
        )


def _channels_last(shape: tuple[int, ...]) -> bool:
    """Return whether images (N, a, b, c) are stored as (N, H, W, C) and not as (N, C, H, W)."""
    _, first, middle, last = shape
    if last in (1, 3, 4) or first in (1, 3):
        return first not in (1, 3)
    if (middle == last) != (first == middle):  # the sides of a square
        return first == middle
    return last < first


def _clip_inputs(
    path: Path, x: np.ndarray, name: str, notes: list[str], config: DataConfig, as_given: bool
) -> tuple[Tensor, int]:
    """Clips as uint8 (N, T * C, H, W), and T."""
    clips = as_clips(torch.from_numpy(_as_bytes(path, x, name, notes)), f"{name} in {path}", as_given=as_given)
    count = frames_to_take([clips.shape[1]], config.frames, str(path))
    return folded(clips, count), count


def _as_bytes(path: Path, x: np.ndarray, name: str, notes: list[str]) -> np.ndarray:
    """Pixels as uint8. Raises Refusal if they are neither in [0, 1] nor in [0, 255]."""
    if x.dtype != np.uint8:
        low, high = float(x.min()), float(x.max())
        if low < 0 or high > 255:
            raise refusal(
                f"images {name} in {path}",
                message("data.wanted.255", "in [0, 1] or [0, 255]"),
                message("data.got.range_of_values", "values from {low:g} to {high:g}", low=low, high=high),
            )
        unit = high <= 1
        x = np.round(x.astype(np.float32) * (255 if unit else 1)).astype(np.uint8)
        notes.append(
            message(
                "data.note.rounded_levels",
                "{name} in [0, {high}] was rounded to 256 levels",
                name=name,
                high=1 if unit else 255,
            )
        )
    return x


def _inputs(path: Path, x: np.ndarray, name: str, notes: list[str]) -> Tensor:
    """Convert columns to float32 and images to uint8 (N, C, H, W)."""
    if x.ndim == 2:
        return torch.from_numpy(x.astype(np.float32))
    x = _as_bytes(path, x, name, notes)
    if x.ndim == 3:
        x = x[:, None]
    elif _channels_last(x.shape):
        x = x.transpose(0, 3, 1, 2)
    if x.shape[1] == 4 and (x[:, 3] == 255).all():
        x = x[:, :3]
        notes.append(
            message(
                "data.note.fourth_channel_opaque_alpha",
                "the fourth channel of {name} is opaque alpha everywhere and is not used",
                name=name,
            )
        )
    if x.shape[1] not in (1, 3):
        notes.append(
            message(
                "data.note.all_channels",
                "{name} has {channels} channels, which are all used (--data.colour all); --format clips reads them "
                "as frames",
                name=name,
                channels=x.shape[1],
            )
        )
    if x.shape[1] > MAX_CHANNELS:
        raise refusal(
            f"images {name} in {path}",
            message("data.wanted.most_channels", "of at most {max_channels} channels", max_channels=MAX_CHANNELS),
            shape_of(x),
        )
    return torch.from_numpy(np.ascontiguousarray(x))
