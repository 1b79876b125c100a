"""Images one by one, labels with gaps, frames of other libraries, collate functions and wrapped datasets."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, TensorDataset

from danlu.config import DataConfig
from danlu.own.data import open_data
from danlu.refuse import Refusal

PIXELS = np.random.default_rng(0).integers(0, 255, (12, 10, 8, 3)).astype(np.uint8)
X = torch.rand(12, 3, 8, 8)
Y = [k % 3 for k in range(12)]
NAMES = ["cat", "dog", "eel"] * 4


def opened(data: Any, raw: bool = False, **settings: Any) -> Any:
    return open_data(data, None, None, DataConfig(**settings), None, raw=raw)[0]


def png(pixels: np.ndarray) -> bytes:
    written = BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return written.getvalue()


def crops() -> list[np.ndarray]:
    """Images of different sizes."""
    return [one[: 6 + i % 4] for i, one in enumerate(PIXELS)]


def objects(values: list[Any]) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    for i, one in enumerate(values):
        array[i] = one
    return array


@pytest.mark.parametrize(
    "images",
    [
        [Image.fromarray(one) for one in PIXELS],
        [Image.fromarray(one).convert(("RGB", "RGBA", "CMYK")[i % 3]) for i, one in enumerate(PIXELS)],
        [png(one) for one in PIXELS],
        [Image.fromarray(one) for one in crops()],
        crops(),
        objects(crops()),
        list(PIXELS),
        list(torch.from_numpy(PIXELS).permute(0, 3, 1, 2)),
    ],
    ids=["PIL", "modes", "encoded", "sizes", "arrays of sizes", "object array", "arrays", "tensors"],
)
def test_images_one_by_one(images: Any) -> None:
    dataset = opened((images, NAMES), size=8)
    assert (dataset.task, dataset.classes, len(dataset)) == ("classify", ("cat", "dog", "eel"), 12)
    assert dataset.targets.tolist() == Y
    assert dataset.inputs.dtype == torch.uint8
    assert dataset.inputs.shape[1] == 3


def test_paths_and_their_labels(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(12)]
    for path, pixels in zip(paths, PIXELS):
        path.write_bytes(png(pixels))
    for given in (paths, [str(one) for one in paths], np.array([str(one) for one in paths])):
        dataset = opened((given, NAMES))
        assert dataset.classes == ("cat", "dog", "eel")
        assert dataset.name_of(3) == str(paths[3])


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ([*NAMES[:7], None, *NAMES[8:]], "targets of DATA at sample 7 must be a label for each sample, got None"),
        ([*NAMES[:7], float("nan"), *NAMES[8:]], "at sample 7 .* got nan; leave the samples without one out"),
        ([*NAMES[:7], " ", *NAMES[8:]], "at sample 7"),
        (pandas.Series([*NAMES[:7], None, *NAMES[8:]]), "at sample 7"),
        (pandas.Series([1, None] * 6, dtype="Int64"), "the target of DATA at row 1 must be a finite number"),
        ([*NAMES[:7], 3, *NAMES[8:]], "either text or numbers for all samples, got 'cat' and 3"),
        (np.full((12, 4), 0.25), "probabilities of 4 classes; give the classes"),
    ],
)
def test_labels_with_gaps_are_refused(labels: Any, sentence: str) -> None:
    with pytest.raises(Refusal, match=sentence):
        opened((X, labels))


def test_labels_as_bytes() -> None:
    for labels in ([one.encode() for one in NAMES], np.array([one.encode() for one in NAMES])):
        assert opened((X, labels)).classes == ("cat", "dog", "eel")


def test_one_hot_targets_are_told() -> None:
    assert "1 for one of 3 classes" in opened((X, np.eye(3)[Y])).notes[0]


class Polars:
    """Stand-in for a DataFrame of polars, with the attributes that danlu uses."""

    __module__ = "polars.dataframe.frame"

    def __init__(self, columns: dict[str, list[Any]]) -> None:
        self.values, self.columns = columns, list(columns)

    def to_dict(self, as_series: bool) -> dict[str, list[Any]]:
        assert not as_series
        return self.values


def test_frames_of_other_libraries() -> None:
    frame = pandas.DataFrame(np.random.default_rng(0).normal(size=(12, 2)), columns=["a", "b"]).assign(kind=NAMES)
    for data in (Polars({name: frame[name].tolist() for name in frame}), frame.to_records(index=False)):
        dataset = opened(data, target="kind")
        assert list(dataset.inputs.columns) == ["a", "b"]
        assert dataset.classes == ("cat", "dog", "eel")


class Items(Dataset):
    def __init__(self, item: Callable[[int], Any], **more: Any) -> None:
        self.item = item
        vars(self).update(more)

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Any:
        return self.item(index)


class NoLength:
    def __getitem__(self, index: int) -> Any:
        return X[index], Y[index]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (NoLength(), "NoLength, a dataset without __len__; add it"),
        ([(X[0], 0), (X[1], 1), None], "a list whose item 2 is no sample"),
        (
            Items(lambda i: ((X[i], torch.ones(2)), Y[i])),
            "one tensor per sample, got 2 values of type Tensor; a network of your own",
        ),
        (([b"no image"] * 12, Y), "sample 0 of DATA cannot be read: UnidentifiedImageError"),
        (DataLoader(TensorDataset(X, X), batch_sampler=[[0, 1]]), "batch_sampler cannot be used"),
    ],
)
def test_what_cannot_be_taken_says_why(data: Any, sentence: str) -> None:
    with pytest.raises(Refusal, match=sentence):
        opened(data)


def test_labels_that_a_dataset_changes_have_no_names() -> None:
    classes = ["cat", "dog", "eel"]
    assert opened(Items(lambda i: (X[i], Y[i]), classes=classes)).classes == ("cat", "dog", "eel")
    changed = Items(lambda i: (X[i], int(Y[i] == 2)), classes=classes, target_transform=abs)
    assert opened(changed).classes == ("0", "1")


def loader(collate: Any, data: Any = None) -> DataLoader:
    return DataLoader(TensorDataset(X, torch.tensor(Y)) if data is None else data, batch_size=4, collate_fn=collate)


def test_a_collate_function_makes_the_samples() -> None:
    def two(batch: list[Any]) -> Any:
        return torch.stack([x for x, _ in batch]) * 2, [int(y == 0) for _, y in batch]

    def named(batch: list[Any]) -> Any:
        return {"pixel_values": torch.stack([one["a"] for one in batch]), "labels": [one["b"] for one in batch]}

    dataset = opened(loader(two), raw=True)
    assert dataset.targets.tolist() == [int(y == 0) for y in Y]
    torch.testing.assert_close(dataset.inputs.read(dataset.inputs.item(5)), X[5] * 2)
    dataset = opened(loader(named, [{"a": x, "b": y} for x, y in zip(X, Y)]), raw=True)
    assert dataset.targets.tolist() == Y


def test_a_collate_function_that_mixes_samples_is_refused() -> None:
    def mixed(batch: list[Any]) -> Any:
        x = torch.stack([x for x, _ in batch])
        return x + x.flip(0), torch.tensor([int(y) for _, y in batch])

    def failing(batch: list[Any]) -> Any:
        raise KeyError("image")

    with pytest.raises(Refusal, match="the collate_fn of DATA makes another thing of 2 samples together"):
        opened(loader(mixed))
    with pytest.raises(Refusal, match="the collate_fn of DATA fails on 2 samples: KeyError: 'image'"):
        opened(loader(failing))
