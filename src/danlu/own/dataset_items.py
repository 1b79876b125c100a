"""Items of the user's dataset: input and label of each, all images as one tensor, known labels and class names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset, TensorDataset

from danlu.data.images import image_size, read_image
from danlu.message import message
from danlu.own.recognition import is_array
from danlu.refuse import Refusal, refusal, shortened
from danlu.several_inputs import InputPart, is_several, joined

INPUT_KEYS = ("image", "img", "images", "pixel_values", "x", "input", "inputs", "data", "features")
LABEL_KEYS = ("label", "labels", "y", "target", "targets", "class", "fine_label")
MAX_SIDE_CPU, MAX_SIDE_GPU = 128, 224  # pixels, for images of different sizes where the user gives no size
MAX_BYTES = 4 << 30  # of images that are kept in memory


@dataclass(frozen=True)
class ItemReader:
    """Read an item of a dataset, a pair or a mapping with usual keys, as (input, label).

    collate: `collate_fn` of a DataLoader, None without one. where: name of the split, for messages.
    """

    collate: Any
    where: str

    def __call__(self, item: Any) -> tuple[Any, Any]:
        """Return (input, label) of an item."""
        if self.collate is not None:
            inputs, labels = self.parts(collated(self.collate, [item], self.where))
            return inputs[0], labels[0]
        return self.parts(item)

    def parts(self, item: Any) -> tuple[Any, Any]:
        """Input and label of an item, or of a batch that a collate function made."""
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
                raise refusal(
                    self.where, wanted, message("own.got.keys", "the keys {listed}", listed=", ".join(map(str, item)))
                )
            return x, y
        if isinstance(item, tuple | list) and len(item) == 2:
            return item[0], item[1]
        got = (
            message("own.got.values", "{count} {count:value|values}", count=len(item))
            if isinstance(item, tuple | list)
            else type(item).__name__
        )
        raise refusal(
            f"the items of {self.where}", message("own.wanted.pairs_input_target", "pairs (input, target)"), got
        )


def collated(collate: Any, items: list[Any], where: str) -> Any:
    """A batch as the user's collate function makes it."""
    try:
        return collate(items)
    except Exception as error:
        text = "the collate_fn of {where} fails on {count} {count:sample|samples}: {why}"
        values = {"where": where, "count": len(items), "why": shortened(error)}
        raise Refusal(message("own.refuse.collate_fails", text, **values), "DATA") from error


def check_collate(collate: Any, items: list[Any], where: str) -> None:
    """Refuse a collate function that makes another thing of samples together than of each alone."""
    read = ItemReader(collate, where)
    inputs, labels = read.parts(collated(collate, items, where))
    for i, item in enumerate(items):
        x, y = read(item)
        if not (_same(inputs[i], x) and _same(labels[i], y)):
            text = (
                "the collate_fn of {where} makes another thing of {count} samples together than of each alone, as "
                "mixup and padding do; danlu forms the batches itself: pass it as transform=, or change the dataset"
            )
            raise Refusal(message("own.refuse.collate_mixes", text, where=where, count=len(items)), "DATA")


def _same(one: Any, other: Any) -> bool:
    one, other = np.asarray(one), np.asarray(other)
    if one.dtype.kind in "OUS" or other.dtype.kind in "OUS":
        return bool(np.array_equal(one, other))
    return one.shape == other.shape and bool(np.allclose(one, other, equal_nan=True))


@dataclass(frozen=True)
class ReadInput:
    """Read the input of an item as a tensor. parts: inputs of a sample that has several, which are joined."""

    read: ItemReader
    parts: tuple[InputPart, ...] = ()

    def __call__(self, item: Any) -> Tensor:
        """Return the input of an item."""
        value = self.read(item)[0]
        return joined(value, self.parts, self.read.where) if self.parts else as_input(value, self.read.where)


def item_at(data: Any, number: int, where: str) -> Any:
    """Read one sample of the user's dataset; an exception of its code becomes the refusal `unreadable`."""
    try:
        return data[number]
    except Exception as error:
        raise unreadable(number, where, error) from error


def unreadable(number: int, where: str, error: Exception) -> Refusal:
    """The refusal of a sample that cannot be read."""
    text = "sample {number} of {where} cannot be read: {why}"
    return Refusal(
        message("own.refuse.sample_cannot_read", text, number=number, where=where, why=shortened(error)), "DATA"
    )


def as_input(value: Any, where: str) -> Tensor:
    """Convert one input to a tensor: floating, uint8 and bool values to float32; other integers keep their type.

    where: its place, for the refusal. Raises Refusal for several inputs per sample and for other types.
    """
    if is_several(value):
        value = tuple(value.values()) if isinstance(value, Mapping) else value
        kinds = sorted({type(one).__name__ for one in value})
        got = message(
            "own.got.several_inputs", "{count} values of type {kinds}", count=len(value), kinds=", ".join(kinds)
        )
        do = message("own.do.several_inputs", "a network of your own (model=) takes several")
        raise refusal(f"inputs of {where}", message("own.wanted.one_tensor", "one tensor per sample"), got, do=do)
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


def is_image(value: Any) -> bool:
    """A PIL image, or an uint8 array or tensor of an image."""
    if hasattr(value, "getbands"):
        return True
    uint8 = getattr(value, "dtype", None) in (np.uint8, torch.uint8)
    return uint8 and value.ndim in (2, 3)


def image_tensor(data: Any, read: Any, size: int | None) -> Tensor:
    """All images of a dataset as uint8 (N, C, H, W), resized to squares where their sizes differ."""
    first = [_decodable(read(data[i])) for i in range(len(data))] if len(data) <= 64 else None
    sizes = {image_size(one) for one in (first or (_decodable(read(data[i])) for i in range(len(data))))}
    grey = all(_is_grey(one) for one in (first or (_decodable(read(data[i])) for i in range(min(len(data), 256)))))
    colour = "grey" if grey else "rgb"
    height, width = next(iter(sizes))
    side = size or (max(height, width) if len(sizes) == 1 else _side(sizes))
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


def tensors_of(data: Any) -> tuple[Tensor, ...] | None:
    """The tensors of a TensorDataset, or of a Subset of one."""
    if isinstance(data, TensorDataset):
        return data.tensors
    if isinstance(data, Subset) and (whole := tensors_of(data.dataset)) is not None:
        index = torch.as_tensor(list(data.indices), dtype=torch.long)
        return tuple(one[index] for one in whole)
    return None


def known_labels(data: Any) -> Any:
    """Labels that a dataset holds beside its items (torchvision), None if they must be read item by item."""
    if isinstance(data, Subset):
        whole = known_labels(data.dataset)
        return None if whole is None else [whole[i] for i in data.indices]
    if getattr(data, "target_transform", None) is not None or isinstance(data, list):
        return None
    found = next((getattr(data, name) for name in ("targets", "labels") if hasattr(data, name)), None)
    if found is None or not type(data).__module__.startswith("torchvision") or not is_array(found):
        return None
    return found.tolist() if isinstance(found, Tensor | np.ndarray) else found


def class_names(data: Any) -> tuple[str, ...] | None:
    """Names of the classes 0, 1, ... of a dataset, None where it has none or changes its labels."""
    whole = data.dataset if isinstance(data, Subset) else data
    if getattr(whole, "target_transform", None) is not None:
        return None
    names: Sequence[str] | None = getattr(whole, "classes", None)
    return tuple(map(str, names)) if isinstance(names, list | tuple) and names else None
