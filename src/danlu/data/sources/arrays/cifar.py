"""CIFAR-10 and CIFAR-100 as published: the binary version (*.bin) and the python version (pickled batches).

The unpickler only supports numpy arrays and plain values, so that a file cannot run code.
"""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from danlu.config import DataConfig
from danlu.data.dataset import TEST, TRAIN, Dataset
from danlu.data.files.text_files import read_bytes, read_text
from danlu.data.sources.tables.targets import Task, sort_classes
from danlu.message import message
from danlu.refuse import Refusal, blame, refusal

PIXELS = 3 * 32 * 32  # values per image
NAME = re.compile(r"(data_batch_.*|test_batch|train|test)(\.bin)?")  # of a batch
PUBLISHED_FOLDERS = ("cifar-10-batches-py", "cifar-100-python", "cifar-10-batches-bin", "cifar-100-binary")
ALLOWED_CLASSES = {  # (module, name) that a pickle may use
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),  # bytes in old pickle protocols of python 3
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
}


def looks_like(path: Path) -> bool:
    """Return whether a folder, or the published folder inside it, holds batches of CIFAR."""
    return path.is_dir() and bool(_batches(_home(path)))


def open(path: Path, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read images, uint8 (N, 3, 32, 32), labels (fine ones for CIFAR-100), and the published split."""
    home = _home(path)
    fine = home.joinpath("train").is_file() or home.joinpath("train.bin").is_file()
    count = 100 if fine else 10
    images, labels, given = [], [], []
    for file in _batches(home):
        rows, marks = _read_binary(file, count) if file.suffix == ".bin" else _read_python(file, fine)
        if len(marks) and not 0 <= min(marks) <= max(marks) < count:
            wrong = next(mark for mark in marks if not 0 <= mark < count)
            raise refusal(
                f"labels of {file}",
                message("data.wanted.between", "between 0 and {count}", count=count - 1),
                int(wrong),
            )
        images.append(rows.reshape(-1, 3, 32, 32))
        labels.append(torch.as_tensor(marks, dtype=torch.int64))
        split = TEST if file.name.startswith("test") else TRAIN
        given.append(torch.full((len(marks),), split, dtype=torch.int8))
    names, notes = _names(home, fine)
    if len(names) < count:
        names, notes = (
            [str(i) for i in range(count)],
            [f"no class names in {home}: classes are named by number"],
        )
        classes, targets = tuple(names), torch.cat(labels)
    else:
        classes, targets = sort_classes(names, torch.cat(labels))
    return Dataset(
        path=str(path),
        format="cifar",
        task="classify",
        inputs=torch.from_numpy(np.concatenate(images)),
        targets=targets,
        classes=classes,
        given=torch.cat(given) if len({int(part[0]) for part in given if len(part)}) > 1 else None,
        notes=notes,
    )


def _home(path: Path) -> Path:
    """Return the folder itself, or the published folder inside it."""
    return next((path / name for name in PUBLISHED_FOLDERS if (path / name).is_dir()), path)


def _batches(home: Path) -> list[Path]:
    """List the batch files in the order of the published dataset, training first."""
    ten = sorted(p for p in home.glob("data_batch_*") if p.suffix in ("", ".bin")) + [
        p for name in ("test_batch", "test_batch.bin") if (p := home / name).is_file()
    ]
    if ten:
        return ten
    binary = [p for name in ("train.bin", "test.bin") if (p := home / name).is_file()]
    python = [p for name in ("train", "test") if (p := home / name).is_file() and (home / "meta").is_file()]
    return binary or python


def _read_binary(file: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Read rows of a label (CIFAR-100: coarse, then fine) and 3,072 pixel values in the order (C, H, W)."""
    data = np.frombuffer(_content(file), np.uint8).copy()
    head = 2 if count == 100 else 1
    if len(data) == 0 or len(data) % (PIXELS + head):
        raise refusal(
            str(file),
            message(
                "data.wanted.multiple_bytes_rows_label",
                "a multiple of {pixels} bytes (rows of label and image)",
                pixels=PIXELS + head,
            ),
            message("data.got.bytes", "{count} bytes", count=len(data)),
        )
    rows = data.reshape(-1, PIXELS + head)
    return rows[:, head:], rows[:, head - 1]


def _content(file: Path) -> bytes:
    try:
        return read_bytes(file)
    except OSError as error:
        raise blame(error, str(file)) from None


def _read_python(file: Path, fine: bool) -> tuple[np.ndarray, Sequence[int]]:
    batch = read_pickle(file)
    key = "fine_labels" if fine else "labels"
    if not isinstance(batch, dict) or "data" not in batch or key not in batch:
        got = sorted(map(str, batch)) if isinstance(batch, dict) else type(batch).__name__
        raise refusal(
            str(file), message("data.wanted.dictionary_data", "a dictionary with data and {key}", key=key), got
        )
    rows, labels = batch["data"], batch[key]
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != PIXELS:
        raise refusal(
            f"data of {file}",
            message("data.wanted.uint8_array_columns", "a uint8 array of {pixels} columns", pixels=PIXELS),
            getattr(rows, "shape", type(rows).__name__),
        )
    if len(rows) != len(labels) or not all(isinstance(label, int | np.integer) for label in labels):
        raise refusal(
            f"{key} of {file}",
            message("data.wanted.integers_per_image", "{rows} integers, one per image", rows=len(rows)),
            message("data.got.values", "{count} values", count=len(labels)),
        )
    return rows, labels


def _names(home: Path, fine: bool) -> tuple[list[str], list[str]]:
    """Read the class names in the published order; returns them and notes."""
    for name in ("batches.meta.txt", "fine_label_names.txt"):
        if (home / name).is_file():
            return read_text(home / name).split(), []
    meta = home / ("meta" if fine else "batches.meta")
    if not meta.is_file():
        return [], []
    key = "fine_label_names" if fine else "label_names"
    content = read_pickle(meta)
    if not isinstance(content, dict) or not isinstance(content.get(key), list):
        got = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise refusal(str(meta), message("data.wanted.dictionary_list", "a dictionary with a list {key}", key=key), got)
    return [str(name) for name in content[key]], []


def read_pickle(file: Path) -> Any:
    """Load a pickle of plain values and numpy arrays, with byte strings decoded. Raises Refusal for other content."""
    try:
        return _text(_NumpyUnpickler(io.BytesIO(_content(file)), encoding="bytes").load())
    except pickle.UnpicklingError as error:
        raise Refusal(
            message(
                "data.refuse.pickle_numpy_arrays_plain",
                "{file} must be a pickle of numpy arrays and plain values: {error}",
                file=file,
                error=str(error),
            )
        ) from None
    except RecursionError:
        raise Refusal(
            message(
                "data.refuse.pickled_batch_lists_nested",
                "{file} must be a pickled batch, but its lists are nested too deeply",
                file=file,
            )
        ) from None
    except (
        EOFError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        MemoryError,
        OverflowError,
        SystemError,
    ):
        raise Refusal(
            message(
                "data.refuse.pickled_batch_truncated_damaged",
                "{file} must be a pickled batch, but is truncated or damaged",
                file=file,
            )
        ) from None


def _text(value: Any) -> Any:
    """Decode the byte strings that python 2 wrote."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, dict):
        return {_text(key): _text(item) for key, item in value.items()}
    return [_text(item) for item in value] if isinstance(value, list) else value


class _NumpyUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in ALLOWED_CLASSES:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"it uses {module}.{name}, which is not allowed because it could run code")
