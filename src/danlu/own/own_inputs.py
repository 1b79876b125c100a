"""Inputs of the user's samples as danlu keeps them: uint8 images, tensors, tables, image files, or a dataset."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from danlu.config import DataConfig
from danlu.data.dataset import Problem, Samples
from danlu.data.files.image_file import IMAGE_SUFFIXES, ImageInfo
from danlu.data.image_workers import check_images
from danlu.data.sources.arrays.csv import TARGET_COLUMNS
from danlu.data.sources.labelled_images.labelled import image_files
from danlu.message import message
from danlu.own.arrays import array_inputs
from danlu.own.dataset_items import (
    LABEL_KEYS,
    ItemReader,
    ReadInput,
    as_input,
    check_collate,
    class_names,
    image_tensor,
    is_image,
    item_at,
    known_labels,
    tensors_of,
    unreadable,
)
from danlu.own.labels import as_labels
from danlu.own.recognition import is_frame, is_hugging_face, is_listed, is_pair
from danlu.refuse import NOTHING, Refusal, refusal
from danlu.several_inputs import is_several, joined, parts_of


@dataclass
class SplitData:
    """Data of one split as read.

    inputs: Tensor (N, ...), DataFrame, ImageFiles or Samples. labels: (N,) or (N, T). classes: names of the classes 0,
    1, ... where the data have them. target: name of a table's target column.
    """

    inputs: Any
    labels: np.ndarray
    classes: tuple[str, ...] | None = None
    target: str = ""
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ReadOptions:
    """Settings and objects that decide how a split is read.

    config: target column, image size in pixels, frames, workers. raw: the user's own network takes arrays as they are.
    collate: `collate_fn` of the user's DataLoader, None without one.
    """

    config: DataConfig
    raw: bool
    collate: Any = None

    @property
    def target(self) -> str | None:
        """Name of the target column, or None."""
        return self.config.target


def read_split(data: Any, options: ReadOptions, where: str) -> SplitData:
    """Inputs and labels of one split. where: its name, for messages."""
    if is_pair(data):
        if options.target:
            raise refusal(
                "target",
                message(
                    "own.wanted.left_out_where_pair", "left out where {where} is a pair (inputs, targets)", where=where
                ),
                options.target,
            )
        first, second = data
        if is_listed(first):
            return _listed(list(first), second, options, where)
        if is_frame(first):
            named = str(getattr(second, "name", None) or "target")
            return SplitData(first.reset_index(drop=True), as_labels(second, f"targets of {where}"), target=named)
        return SplitData(
            array_inputs(first, options.raw, where, options.config.frames), as_labels(second, f"targets of {where}")
        )
    if is_frame(data):
        return _frame(data, options, where)
    if is_hugging_face(data):
        return _hugging_face(data, options, where)
    if options.target:
        raise refusal(
            "target",
            message(
                "own.wanted.left_out_where_table", "left out where {where} is no table with named columns", where=where
            ),
            options.target,
        )
    return _dataset(data, options, where)


def _listed(inputs: list[Any], labels: Any, options: ReadOptions, where: str) -> SplitData:
    """Images one by one, as PIL images, arrays, encoded images or paths, and their labels."""
    values = as_labels(labels, f"targets of {where}")
    if all(isinstance(one, str | Path) for one in inputs):
        return _files([Path(one) for one in inputs], values, options, where, "inputs")
    images = [_decoded(one, i, where) if isinstance(one, bytes) else one for i, one in enumerate(inputs)]
    if all(map(is_image, images)) and len({_shape(one) for one in images}) > 1:
        return SplitData(image_tensor(images, lambda one: one, options.config.side), values)
    arrays = [np.asarray(one) for one in images]
    return SplitData(array_inputs(arrays, options.raw, where, options.config.frames), values)


def _shape(image: Any) -> tuple[Any, ...]:
    """Shape of an array, or size and mode of a PIL image."""
    return (image.size, image.mode) if hasattr(image, "getbands") else tuple(image.shape)


def _decoded(encoded: bytes, number: int, where: str) -> Image.Image:
    try:
        image = Image.open(BytesIO(encoded))
        image.load()
    except (OSError, ValueError) as error:
        raise unreadable(number, where, error) from error
    return image


def _frame(frame: Any, options: ReadOptions, where: str) -> SplitData:
    """A DataFrame with a target column: rows of a table, or paths of images and their labels."""
    names = [str(name) for name in frame.columns]
    target = options.target
    if target is None:
        usual = [name for name in names if name.lower() in TARGET_COLUMNS]
        if len(usual) != 1:
            shown = ", ".join(map(repr, names[:8])) + ", ..." * (len(names) > 8)
            raise Refusal(
                message(
                    "own.refuse.dataframe_needs_target_column",
                    "{where} is a DataFrame and needs target=, the column to predict, one of {shown}",
                    where=where,
                    shown=shown,
                ),
                "target",
            )
        target = usual[0]
    if target not in names:
        raise refusal("target", message("own.wanted.column", "a column of {where}", where=where), target, near=names)
    if not len(frame):
        raise refusal(where, message("own.wanted.dataframe_rows", "a DataFrame with rows"), NOTHING)
    column = frame.iloc[:, names.index(target)]
    keep = column.notna().to_numpy()
    problems = [
        Problem(
            f"row {i}",
            message("own.problem.no_target", "no value in target column {target!r}", target=target),
        )
        for i in np.flatnonzero(~keep)[:1000]
    ]
    if not keep.any():
        raise refusal(
            f"column {target!r} of {where}",
            message("own.wanted.target", "a target"),
            message("own.got.column_without_any_value", "a column without any value"),
        )
    rows = frame[keep].drop(columns=frame.columns[names.index(target)]).reset_index(drop=True)
    labels = as_labels(column[keep], f"column {target!r} of {where}")
    if column.dtype == bool or str(column.dtype) == "category":
        labels = np.asarray([str(one) for one in labels], dtype=object)
    rows.columns = [str(name) for name in rows.columns]
    path = next((name for name in rows.columns if _holds_paths(rows[name])), None)
    if path is not None:
        return _files([Path(str(one)) for one in rows[path]], labels, options, where, path)
    if not len(rows.columns):
        raise refusal(
            where,
            message(
                "own.wanted.dataframe_columns_besides_target",
                "a DataFrame with columns besides the target {target!r}",
                target=target,
            ),
            NOTHING,
        )
    notes: list[str] = (
        [message("own.note.target_column_name", "the target is column {target!r}, by its name", target=target)]
        if options.target is None
        else []
    )
    return SplitData(rows, labels, target=target, problems=problems, notes=notes)


def _holds_paths(column: Any) -> bool:
    first = column.dropna()
    return len(first) > 0 and isinstance(first.iloc[0], str | Path) and _is_image_name(str(first.iloc[0]))


def _is_image_name(name: str) -> bool:
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def _files(paths: list[Path], labels: np.ndarray, options: ReadOptions, where: str, column: str) -> SplitData:
    """Image files and their labels; files that cannot be read are problems."""
    if not any(path.is_file() for path in paths):
        raise refusal(
            f"column {column!r} of {where}",
            message("own.wanted.paths_existing_images", "paths of existing images"),
            str(paths[0]),
            do=message("own.do.relative_paths_start_current", "relative paths start in the current folder"),
        )  # fmt: skip
    infos = check_images(paths, workers=options.config.workers)
    good = [i for i, info in enumerate(infos) if isinstance(info, ImageInfo)]
    problems = [Problem(str(p), info) for p, info in zip(paths, infos) if isinstance(info, str)]
    if len(problems) > 0.05 * len(paths) and options.config.on_bad == "stop":
        raise Refusal(
            message(
                "own.refuse.images_cannot_read_first",
                "{problems} of {paths} images of {where} cannot be read, the first {where2}: {reason}; "
                "on_bad='skip' trains without them",
                problems=len(problems),
                paths=len(paths),
                where=where,
                where2=problems[0].where,
                reason=problems[0].reason,
            )
        )
    notes: list[str] = []
    files = image_files([paths[i] for i in good], [infos[i] for i in good], options.config, notes)  # type: ignore[misc]
    return SplitData(files, labels[good], problems=problems, notes=notes)


def _hugging_face(data: Any, options: ReadOptions, where: str) -> SplitData:
    """A dataset of Hugging Face: a column of images and one of labels, or a table."""
    names, features = list(data.column_names), data.features
    if (getattr(data, "format", None) or {}).get("type") == "custom":  # set_transform: items hold what it returns
        label = next((name for name in LABEL_KEYS if name in names), None)
        known = getattr(features[label], "names", None) if label else None
        return replace(_dataset(data, options, where), classes=tuple(known) if known else None)
    image = next((name for name in names if type(features[name]).__name__ == "Image"), None)
    classes = [name for name in names if type(features[name]).__name__ == "ClassLabel"]
    if image is None:
        frame = data.to_pandas()
        for name in classes:
            frame[name] = [features[name].names[i] for i in frame[name]]
        target = options.target or (classes[0] if len(classes) == 1 else None)
        config = options.config if target is None else _with_target(options.config, target)
        return _frame(frame, ReadOptions(config, options.raw), where)
    usual = classes or [name for name in names if name in LABEL_KEYS]
    label = options.target or (usual[0] if usual else None)
    if label is None or label not in names:
        raise refusal(
            "target",
            message("own.wanted.column", "a column of {where}", where=where),
            label,
            near=[name for name in names if name != image],
        )
    known = tuple(features[label].names) if label in classes else None
    labels = as_labels(data[label], f"column {label!r} of {where}")
    return SplitData(image_tensor(data, lambda item: item[image], options.config.side), labels, known)


def _with_target(config: DataConfig, target: str) -> DataConfig:
    return replace(config, target=target)


def _dataset(data: Any, options: ReadOptions, where: str) -> SplitData:
    """A torch Dataset, or a list of samples."""
    if not len(data):
        raise refusal(where, message("own.wanted.dataset_samples", "a dataset with samples"), NOTHING)
    if options.collate is None and (arrays := tensors_of(data)):
        if len(arrays) != 2:
            raise refusal(
                where,
                message("own.wanted.tensordataset_inputs_targets", "a TensorDataset of inputs and targets"),
                message("own.got.tensors", "{count} {count:tensor|tensors}", count=len(arrays)),
            )
        return SplitData(
            array_inputs(arrays[0], options.raw, where, options.config.frames),
            as_labels(arrays[1], f"targets of {where}"),
        )
    read = ItemReader(options.collate, where)
    if options.collate is not None:
        check_collate(options.collate, [item_at(data, i, where) for i in range(min(2, len(data)))], where)
    first, label = read(item_at(data, 0, where))
    parts = parts_of(first, where) if options.raw and is_several(first) else ()
    if not is_image(first) and not parts:
        as_input(first, where)
    labels = known_labels(data) if options.collate is None else None
    if labels is None or np.shape(labels)[0] != len(data):
        labels = [read(item_at(data, i, where))[1] for i in range(len(data))]
        if isinstance(label, Tensor | np.ndarray):
            labels = np.stack([np.asarray(one) for one in labels])
    values = as_labels(labels, f"targets of {where}")
    if is_image(first):
        return SplitData(image_tensor(data, lambda item: read(item)[0], options.config.side), values, class_names(data))
    read_input = ReadInput(read, parts)
    shape = tuple((joined(first, parts, where) if parts else as_input(first, where)).shape)
    return SplitData(Samples((data,), read_input, shape, parts), values, class_names(data))
