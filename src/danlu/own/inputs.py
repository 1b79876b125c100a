"""Inputs of the user's samples as danlu keeps them: uint8 images, tensors, tables, image files, or a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset, TensorDataset

from danlu.config import DataConfig
from danlu.data.clips import as_clips, frame_numbers, frames_to_take
from danlu.data.dataset import Problem, Samples
from danlu.data.image_file import IMAGE_SUFFIXES, ImageInfo
from danlu.data.image_workers import check_images
from danlu.data.images import image_size, read_image
from danlu.data.sources.csv import TARGET_COLUMNS
from danlu.data.sources.labelled import image_files
from danlu.message import message
from danlu.own.labels import as_labels
from danlu.own.parts import is_array, is_frame, is_hugging_face, is_pair
from danlu.refuse import Refusal, refusal

INPUT_KEYS = ("image", "img", "images", "pixel_values", "x", "input", "inputs", "data", "features")
LABEL_KEYS = ("label", "labels", "y", "target", "targets", "class", "fine_label")
MAX_SIDE_CPU, MAX_SIDE_GPU = 128, 224  # pixels, for images of different sizes where the user gives no size
MAX_BYTES = 4 << 30  # of images that are kept in memory


@dataclass
class Part:
    """One split.

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
class Wishes:
    """Settings and objects that decide how data are taken.

    target: column to predict. size: of images, in pixels. raw: the user's own network takes arrays as they are.
    """

    config: DataConfig
    raw: bool
    collate: Any = None

    @property
    def target(self) -> str | None:
        return self.config.target


def part_of(data: Any, wishes: Wishes, where: str) -> Part:
    """Inputs and labels of one split. where: its name, for messages."""
    if is_pair(data):
        if wishes.target:
            raise refusal(
                "target",
                message(
                    "own.wanted.left_out_where_pair", "left out where {where} is a pair (inputs, targets)", where=where
                ),
                wishes.target,
            )
        first, second = data
        if is_frame(first):
            named = str(getattr(second, "name", None) or "target")
            return Part(first.reset_index(drop=True), as_labels(second, f"targets of {where}"), target=named)
        return Part(
            array_inputs(first, wishes.raw, where, wishes.config.frames), as_labels(second, f"targets of {where}")
        )
    if is_frame(data):
        return _frame(data, wishes, where)
    if is_hugging_face(data):
        return _hugging_face(data, wishes, where)
    if wishes.target:
        raise refusal(
            "target",
            message(
                "own.wanted.left_out_where_table", "left out where {where} is no table with named columns", where=where
            ),
            wishes.target,
        )
    return _dataset(data, wishes, where)


def array_inputs(array: Any, raw: bool, where: str, frames: int | None = None) -> Tensor:
    """An array as uint8 images (N, C, H, W), as rows float32 (N, D), as clips (N, T, C, H, W), or as it is.

    Refusal for text and NaN. frames: number of frames to take of each clip. raw: the user's network takes it: only
    64-bit floats are shortened.
    """
    tensor = _tensor(array, f"inputs of {where}")
    if tensor.is_floating_point():
        tensor = tensor.float()
        if not bool(torch.isfinite(tensor).all()):
            row = int((~torch.isfinite(tensor)).reshape(len(tensor), -1).any(1).nonzero()[0])
            raise refusal(
                f"inputs of {where} at row {row}",
                message("own.wanted.finite_numbers", "finite numbers"),
                "NaN or infinity",
            )
    if tensor.ndim < 2 and not raw:
        tensor = tensor[:, None]
    if tensor.dtype == torch.uint8 and tensor.ndim in (3, 4):
        return _byte_images(tensor, raw, where)
    if tensor.ndim == 5 and not raw:
        clips = as_clips(tensor, f"inputs of {where}")
        count = frames_to_take([clips.shape[1]], frames, where)
        clips = clips[:, frame_numbers(clips.shape[1], count)]
        return clips if clips.dtype == torch.uint8 else clips.float()
    if raw:
        return tensor.float() if tensor.dtype in (torch.bool, torch.uint8) else tensor
    tensor = tensor.float()
    if tensor.ndim == 3:
        return tensor[:, None]
    if tensor.ndim == 4:
        images = _channels_first(tensor)
        if images is None:
            wanted = message(
                "own.wanted.images_channels_network_your",
                "images (N, H, W, C) or (N, C, H, W) of 1, 3 or 4 channels, or a network of your own (model=)",
            )
            raise refusal(f"inputs of {where}", wanted, f"shape {tuple(tensor.shape)}")
        return images
    if tensor.ndim > 4:
        wanted = message(
            "own.wanted.rows_images_network_your",
            "rows (N, D), images (N, C, H, W), clips (N, T, C, H, W), or a network of your own for other shapes "
            "(model=)",
        )
        raise refusal(f"inputs of {where}", wanted, f"shape {tuple(tensor.shape)}")
    return tensor


def _byte_images(tensor: Tensor, raw: bool, where: str) -> Tensor:
    """Images uint8 (N, C, H, W); floats in [0, 1] where they are none and the user's network takes them."""
    images = _channels_first(tensor)
    if images is not None and (not raw or images.shape[2] == images.shape[3]):
        return images
    if not raw:
        wanted = message(
            "own.wanted.images_channels", "images (N, H, W), (N, H, W, C) or (N, C, H, W) of 1, 3 or 4 channels"
        )
        raise refusal(f"inputs of {where}", wanted, f"shape {tuple(tensor.shape)}")
    return tensor.float() / 255


def _tensor(array: Any, where: str) -> Tensor:
    if isinstance(array, Tensor):
        tensor = array.detach().cpu()
    else:
        try:
            values = np.asarray(array)
        except ValueError:
            raise refusal(
                where, message("own.wanted.array_shape", "an array of one shape"), "lists of different lengths"
            ) from None
        if values.dtype.kind not in "iufb":
            got = f"type {values.dtype}" if values.dtype != object else "objects or lists of different lengths"
            raise refusal(where, message("own.wanted.numbers", "numbers"), got)
        unsigned = values.dtype.kind == "u" and values.dtype != np.uint8
        tensor = torch.from_numpy(np.array(values, dtype=np.int64 if unsigned else None))
    if not tensor.numel():
        raise refusal(
            where,
            message("own.wanted.array_something", "an array with something in it"),
            f"shape {tuple(tensor.shape)}",
        )
    return tensor


def _channels_first(images: Tensor) -> Tensor | None:
    """(N, H, W), (N, H, W, C) or (N, C, H, W) -> (N, C, H, W) with 1 or 3 channels; None for another number."""
    if images.ndim == 3:
        images = images[:, None]
    elif images.shape[3] in (1, 3, 4) and images.shape[1] not in (1, 3):
        images = images.permute(0, 3, 1, 2)
    images = images[:, :3] if images.shape[1] == 4 else images
    return images.contiguous() if images.shape[1] in (1, 3) else None


def _frame(frame: Any, wishes: Wishes, where: str) -> Part:
    """A DataFrame with a target column: rows of a table, or paths of images and their labels."""
    names = [str(name) for name in frame.columns]
    target = wishes.target
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
        raise refusal(where, message("own.wanted.dataframe_rows", "a DataFrame with rows"), "none")
    column = frame.iloc[:, names.index(target)]
    keep = column.notna().to_numpy()
    problems = [Problem(f"row {i}", f"no value in target column {target!r}") for i in np.flatnonzero(~keep)[:1000]]
    if not keep.any():
        raise refusal(
            f"column {target!r} of {where}", message("own.wanted.target", "a target"), "a column without any value"
        )
    rows = frame[keep].drop(columns=frame.columns[names.index(target)]).reset_index(drop=True)
    labels = as_labels(column[keep], f"column {target!r} of {where}")
    if column.dtype == bool or str(column.dtype) == "category":
        labels = np.asarray([str(one) for one in labels], dtype=object)
    rows.columns = [str(name) for name in rows.columns]
    path = next((name for name in rows.columns if _holds_paths(rows[name])), None)
    if path is not None:
        return _files([Path(str(one)) for one in rows[path]], labels, wishes, where, path)
    if not len(rows.columns):
        raise refusal(
            where,
            message(
                "own.wanted.dataframe_columns_besides_target",
                "a DataFrame with columns besides the target {target!r}",
                target=target,
            ),
            "none",
        )
    notes = [f"the target is column {target!r}, by its name"] if wishes.target is None else []
    return Part(rows, labels, target=target, problems=problems, notes=notes)


def _holds_paths(column: Any) -> bool:
    first = column.dropna()
    return len(first) > 0 and isinstance(first.iloc[0], str | Path) and _is_image_name(str(first.iloc[0]))


def _is_image_name(name: str) -> bool:
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def _files(paths: list[Path], labels: np.ndarray, wishes: Wishes, where: str, column: str) -> Part:
    """Image files and their labels; files that cannot be read are problems."""
    if not any(path.is_file() for path in paths):
        raise refusal(
            f"column {column!r} of {where}",
            message("own.wanted.paths_existing_images", "paths of existing images"),
            str(paths[0]),
            do=message("own.do.relative_paths_start_current", "relative paths start in the current folder"),
        )  # fmt: skip
    infos = check_images(paths, workers=wishes.config.workers)
    good = [i for i, info in enumerate(infos) if isinstance(info, ImageInfo)]
    problems = [Problem(str(p), info) for p, info in zip(paths, infos) if isinstance(info, str)]
    if len(problems) > 0.05 * len(paths) and wishes.config.on_bad == "stop":
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
    files = image_files([paths[i] for i in good], [infos[i] for i in good], wishes.config, notes)  # type: ignore[misc]
    return Part(files, labels[good], problems=problems, notes=notes)


def _hugging_face(data: Any, wishes: Wishes, where: str) -> Part:
    """A dataset of Hugging Face: a column of images and one of labels, or a table."""
    names, features = list(data.column_names), data.features
    image = next((name for name in names if type(features[name]).__name__ == "Image"), None)
    classes = [name for name in names if type(features[name]).__name__ == "ClassLabel"]
    if image is None:
        frame = data.to_pandas()
        for name in classes:
            frame[name] = [features[name].names[i] for i in frame[name]]
        target = wishes.target or (classes[0] if len(classes) == 1 else None)
        config = wishes.config if target is None else _with_target(wishes.config, target)
        return _frame(frame, Wishes(config, wishes.raw), where)
    usual = classes or [name for name in names if name in LABEL_KEYS]
    label = wishes.target or (usual[0] if usual else None)
    if label is None or label not in names:
        raise refusal(
            "target",
            message("own.wanted.column", "a column of {where}", where=where),
            label,
            near=[name for name in names if name != image],
        )
    known = tuple(features[label].names) if label in classes else None
    labels = as_labels(data[label], f"column {label!r} of {where}")
    return Part(_images(data, lambda item: item[image], wishes), labels, known)


def _with_target(config: DataConfig, target: str) -> DataConfig:
    return replace(config, target=target)


def _dataset(data: Any, wishes: Wishes, where: str) -> Part:
    """A torch Dataset, or a list of samples."""
    if not len(data):
        raise refusal(where, message("own.wanted.dataset_samples", "a dataset with samples"), "none")
    if arrays := _tensors_of(data):
        if len(arrays) != 2:
            raise refusal(
                where,
                message("own.wanted.tensordataset_inputs_targets", "a TensorDataset of inputs and targets"),
                f"{len(arrays)} tensors",
            )
        return Part(
            array_inputs(arrays[0], wishes.raw, where, wishes.config.frames),
            as_labels(arrays[1], f"targets of {where}"),
        )
    read = Reading(wishes.collate, where)
    first, label = read(_item(data, 0, where))
    if not _is_image(first):
        _as_input(first, where)
    labels = _known_labels(data)
    if labels is None or np.shape(labels)[0] != len(data):
        labels = [read(_item(data, i, where))[1] for i in range(len(data))]
        if isinstance(label, Tensor | np.ndarray):
            labels = np.stack([np.asarray(one) for one in labels])
    values = as_labels(labels, f"targets of {where}")
    if _is_image(first):
        return Part(_images(data, lambda item: read(item)[0], wishes), values, _class_names(data))
    shape = tuple(_as_input(first, where).shape)
    return Part(Samples((data,), ReadInput(read), shape), values, _class_names(data))


@dataclass(frozen=True)
class Reading:
    """Item of a dataset -> (input, label): a pair, or a mapping with usual keys. collate: of a DataLoader."""

    collate: Any
    where: str

    def __call__(self, item: Any) -> tuple[Any, Any]:
        if self.collate is not None:
            inputs, labels = self.collate([item])
            return inputs[0], labels[0]
        if isinstance(item, Mapping):
            x = next((item[key] for key in INPUT_KEYS if key in item), None)
            y = next((item[key] for key in LABEL_KEYS if key in item), None)
            if x is None or y is None:
                wanted = message(
                    "own.wanted.items_input_label",
                    "items with an input ({listed}, ...) and a label ({count})",
                    listed=", ".join(INPUT_KEYS[:4]),
                    count=", ".join(LABEL_KEYS[:3]),
                )
                raise refusal(self.where, wanted, f"the keys {', '.join(map(str, item))}")
            return x, y
        if isinstance(item, tuple | list) and len(item) == 2:
            return item[0], item[1]
        got = f"{len(item)} values" if isinstance(item, tuple | list) else type(item).__name__
        raise refusal(
            f"the items of {self.where}", message("own.wanted.pairs_input_target", "pairs (input, target)"), got
        )


@dataclass(frozen=True)
class ReadInput:
    """Item of a dataset -> its input as a tensor."""

    read: Reading

    def __call__(self, item: Any) -> Tensor:
        return _as_input(self.read(item)[0], self.read.where)


def _item(data: Any, number: int, where: str) -> Any:
    try:
        return data[number]
    except Exception as error:
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise Refusal(
            message(
                "own.refuse.sample_cannot_read",
                "sample {number} of {where} cannot be read: {why}",
                number=number,
                where=where,
                why=why,
            )
        ) from error


def _as_input(value: Any, where: str) -> Tensor:
    if isinstance(value, list | tuple) or np.isscalar(value):
        value = np.asarray(value)
    if not isinstance(value, Tensor | np.ndarray) or (isinstance(value, np.ndarray) and value.dtype.kind not in "iufb"):
        got = type(value).__name__
        raise refusal(
            f"inputs of {where}",
            message("own.wanted.tensors_arrays_pil_images", "tensors, arrays or PIL images"),
            got,
            do=message("own.do.convert_them_dataset", "convert them in the dataset"),
        )
    tensor = value.as_subclass(Tensor) if isinstance(value, Tensor) else torch.from_numpy(np.array(value))
    return tensor.float() if tensor.is_floating_point() or tensor.dtype in (torch.bool, torch.uint8) else tensor


def _is_image(value: Any) -> bool:
    """A PIL image, or an uint8 array or tensor of an image."""
    if hasattr(value, "getbands"):
        return True
    uint8 = getattr(value, "dtype", None) in (np.uint8, torch.uint8)
    return uint8 and value.ndim in (2, 3)


def _images(data: Any, read: Any, wishes: Wishes) -> Tensor:
    """All images of a dataset as uint8 (N, C, H, W), resized to squares where their sizes differ."""
    first = [_decodable(read(data[i])) for i in range(len(data))] if len(data) <= 64 else None
    sizes = {image_size(one) for one in (first or (_decodable(read(data[i])) for i in range(len(data))))}
    grey = all(_is_grey(one) for one in (first or (_decodable(read(data[i])) for i in range(min(len(data), 256)))))
    colour = "grey" if grey else "rgb"
    height, width = next(iter(sizes))
    side = wishes.config.size or (max(height, width) if len(sizes) == 1 else _side(sizes))
    if len(data) * (1 if grey else 3) * side**2 > MAX_BYTES:
        raise Refusal(
            message(
                "own.refuse.images_pixels_do_fit",
                "{data:,} images of {side} pixels do not fit in memory; give a smaller size=, or let the "
                "dataset return tensors (transform=), which are read batch by batch",
                data=len(data),
                side=side,
            )
        )
    made = torch.empty(len(data), 1 if grey else 3, side, side, dtype=torch.uint8)
    for i in range(len(data)):
        made[i] = torch.from_numpy(read_image(first[i] if first else _decodable(read(data[i])), side, colour))
    return made


def _side(sizes: set[tuple[int, int]]) -> int:
    """Side for images of different sizes: the median short side, limited by the device."""
    return min(MAX_SIDE_GPU if torch.cuda.is_available() else MAX_SIDE_CPU, int(median(min(size) for size in sizes)))


def _decodable(image: Any) -> Any:
    """A PIL image or an array; tensors (C, H, W) become arrays."""
    return image.numpy() if isinstance(image, Tensor) else image


def _is_grey(image: Any) -> bool:
    if hasattr(image, "getbands"):
        return len(image.getbands()) == 1 and image.mode != "P"
    return image.ndim == 2 or 1 in (image.shape[0], image.shape[-1])


def _tensors_of(data: Any) -> tuple[Tensor, ...] | None:
    """The tensors of a TensorDataset, or of a Subset of one."""
    if isinstance(data, TensorDataset):
        return data.tensors
    if isinstance(data, Subset) and (whole := _tensors_of(data.dataset)) is not None:
        index = torch.as_tensor(list(data.indices), dtype=torch.long)
        return tuple(one[index] for one in whole)
    return None


def _known_labels(data: Any) -> Any:
    """Labels that a dataset holds beside its items (torchvision), None where they must be read item by item."""
    if isinstance(data, Subset):
        whole = _known_labels(data.dataset)
        return None if whole is None else [whole[i] for i in data.indices]
    if getattr(data, "target_transform", None) is not None or isinstance(data, list):
        return None
    found = next((getattr(data, name) for name in ("targets", "labels") if hasattr(data, name)), None)
    if found is None or not type(data).__module__.startswith("torchvision") or not is_array(found):
        return None
    return found.tolist() if isinstance(found, Tensor | np.ndarray) else found


def _class_names(data: Any) -> tuple[str, ...] | None:
    names: Sequence[str] | None = getattr(data.dataset if isinstance(data, Subset) else data, "classes", None)
    return tuple(map(str, names)) if isinstance(names, list | tuple) and names else None
