"""All kinds of data that `danlu.train` accepts, in their spellings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset, WeightedRandomSampler

from danlu.config import DataConfig
from danlu.data.dataset import Dataset as Opened
from danlu.own.data import open_data
from danlu.own.labels import UNKNOWN_LOSS
from danlu.refuse import Refusal

torch.manual_seed(0)
X = torch.rand(40, 1, 8, 8)
Y = torch.arange(40) % 3
ROWS = np.random.default_rng(0).normal(size=(40, 4))
FRAME = pandas.DataFrame(ROWS, columns=list("abcd")).assign(price=ROWS.sum(1), kind=np.where(ROWS[:, 0] > 0, "x", "y"))
ONE_HOT = torch.nn.functional.one_hot(Y)
LABELS = torch.stack([torch.arange(40) % 2, torch.arange(40) % 3 == 0, torch.arange(40) % 5 == 1], 1).int()
PIXELS = (X[:, 0] * 255).to(torch.uint8)


def opened(data: Any, val: Any = None, test: Any = None, raw: bool = True, **settings: Any) -> Opened:
    loss = settings.pop("loss", None)
    task = settings.pop("task", None)
    return open_data(data, val, test, DataConfig(**settings), task, raw=raw, loss=loss)[0]


class Items(Dataset):
    """A dataset whose items are made by a function of the number."""

    classes = ("a", "b", "c")

    def __init__(self, item: Callable[[int], Any]) -> None:
        self.item = item

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> Any:
        return self.item(index)


PAIR = Items(lambda i: (X[i], int(Y[i])))
MAPPING = Items(lambda i: {"image": X[i], "label": Y[i]})
PICTURES = Items(lambda i: (Image.fromarray(PIXELS[i].numpy()), int(Y[i])))


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        [X, Y],
        (X.numpy(), Y.numpy()),
        (X, Y.tolist()),
        (X.tolist(), Y.tolist()),
        (X, pandas.Series(Y.numpy())),
        {"x": X, "y": Y},
        TensorDataset(X, Y),
        Subset(TensorDataset(X, Y), range(40)),
        PAIR,
        MAPPING,
        [(X[i], int(Y[i])) for i in range(40)],
        DataLoader(PAIR, batch_size=8, shuffle=True),
        {"train": (X, Y)},
    ],
    ids=["tensors", "list", "arrays", "labels in a list", "lists", "series", "mapping", "TensorDataset", "Subset", "Dataset",
         "items as mappings", "list of samples", "DataLoader", "train only"],
)  # fmt: skip
def test_one_set_of_tensors(data: Any) -> None:
    dataset = opened(data)
    assert (dataset.task, len(dataset)) == ("classify", 40)
    assert torch.equal(dataset.targets, Y)
    assert len(dataset.classes) == 3
    assert tuple(dataset.inputs.shape[-3:]) == (1, 8, 8)
    assert dataset.given is None


@pytest.mark.parametrize(
    "data",
    [
        ((X, Y), (X[:10], Y[:10])),
        (PAIR, PAIR),
        [TensorDataset(X, Y), TensorDataset(X[:10], Y[:10])],
        {"train": (X, Y), "validation": (X[:10], Y[:10])},
        (DataLoader(PAIR), DataLoader(PAIR)),
    ],
    ids=["pairs", "datasets", "list", "mapping", "loaders"],
)
def test_train_and_val(data: Any) -> None:
    dataset = opened(data)
    assert dataset.given is not None
    assert [(dataset.given == split).sum() > 0 for split in (0, 1, 2)] == [True, True, False]


def test_three_splits_keep_their_samples() -> None:
    dataset = opened((X[:20], Y[:20]), val=(X[20:30], Y[20:30]), test=TensorDataset(X[30:], Y[30:]))
    assert torch.equal(dataset.inputs, X)
    assert dataset.given.tolist() == [0] * 20 + [1] * 10 + [2] * 10
    assert dataset.name_of(25) == "val sample 5"


def test_images_of_uint8_and_pil_are_images() -> None:
    for data in ((PIXELS, Y), (PIXELS.numpy(), Y), (PIXELS[..., None].numpy(), Y), PICTURES):
        dataset = opened(data, raw=False)
        assert dataset.kind == "images"
        assert torch.equal(dataset.inputs, PIXELS[:, None])


def test_class_names_of_a_dataset() -> None:
    assert opened(PICTURES).classes == ("a", "b", "c")
    assert opened((X, ["t" if k else "s" for k in Y.tolist()])).classes == ("s", "t")


def test_images_of_different_sizes_become_squares() -> None:
    dataset = opened(Items(lambda i: (Image.new("RGB", (20 + i, 30), (i, 0, 0)), i % 3)), size=16)
    assert tuple(dataset.inputs.shape) == (40, 3, 16, 16)


def test_frames() -> None:
    numbers = opened(FRAME.drop(columns="kind"), target="price")
    assert (numbers.task, list(numbers.inputs.columns), numbers.target_names) == ("regress", list("abcd"), ("price",))
    assert opened(FRAME.drop(columns="price"), target="kind").classes == ("x", "y")
    assert opened((FRAME[list("abcd")], FRAME["kind"])).classes == ("x", "y")


def test_frame_of_paths(tmp_path: Path) -> None:
    for i in range(4):
        Image.fromarray(PIXELS[i].numpy()).save(tmp_path / f"{i}.png")
    frame = pandas.DataFrame({"file": [str(tmp_path / f"{i}.png") for i in range(4)], "label": list("abab")})
    dataset = opened(frame)
    assert (dataset.kind, dataset.classes) == ("files", ("a", "b"))
    assert dataset.name_of(2) == str(tmp_path / "2.png")


def test_hugging_face(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["no", "yes"])})
    rows = {"image": [Image.fromarray(PIXELS[i].numpy()) for i in range(6)], "label": [0, 1] * 3}
    images = datasets.Dataset.from_dict(rows, features=features)
    dataset = opened(images, raw=False)
    assert (dataset.kind, dataset.classes, dataset.targets.tolist()) == ("images", ("no", "yes"), [0, 1] * 3)
    both = opened(datasets.DatasetDict({"train": images, "test": images}), raw=False)
    assert both.given.tolist() == [0] * 6 + [2] * 6
    table = datasets.Dataset.from_pandas(FRAME.drop(columns="kind"))
    assert opened(table, target="price").task == "regress"


@pytest.mark.parametrize(
    ("labels", "settings", "task", "classes"),
    [
        (torch.arange(40) % 4, {}, "classify", ("0", "1", "2", "3")),
        (torch.arange(40) % 4, {"loss": "mse"}, "regress", ()),
        (torch.arange(40) % 4 + 1, {}, "classify", ("1", "2", "3", "4")),
        (torch.arange(40) % 2 * 2, {}, "classify", ("0", "1", "2")),
        (torch.arange(40), {}, "regress", ()),
        (torch.rand(40), {}, "regress", ()),
        (torch.rand(40, 3), {}, "regress", ()),
        ((torch.arange(40) % 2).float(), {"loss": "bce_logits"}, "classify", ("0", "1")),
        ((torch.arange(40) % 2).float(), {"task": "classify"}, "classify", ("0", "1")),
        (torch.arange(40) % 2 == 0, {}, "classify", ("False", "True")),
        (ONE_HOT, {"loss": "cross_entropy"}, "classify", ("0", "1", "2")),
        (ONE_HOT.float(), {"task": "classify"}, "classify", ("0", "1", "2")),
        (ONE_HOT, {"loss": UNKNOWN_LOSS}, "regress", ()),
        (ONE_HOT, {"loss": "mse"}, "regress", ()),
        (ONE_HOT.float(), {}, "classify", ("0", "1", "2")),
        (ONE_HOT, {"loss": "bce_logits"}, "multilabel", ("0", "1", "2")),
        (ONE_HOT, {"task": "multilabel"}, "multilabel", ("0", "1", "2")),
        (LABELS, {}, "multilabel", ("0", "1", "2")),
        (LABELS.float(), {"loss": "bce_logits"}, "multilabel", ("0", "1", "2")),
        (LABELS == 1, {"task": "multilabel"}, "multilabel", ("0", "1", "2")),
        (LABELS, {"task": "regress"}, "regress", ()),
        (LABELS, {"loss": "squared"}, "regress", ()),
    ],
)
def test_task_of_labels(labels: Any, settings: Any, task: str, classes: tuple[str, ...]) -> None:
    dataset = opened((X, labels), **settings)
    assert (dataset.task, dataset.classes) == (task, classes)
    if labels.ndim == 2:
        wanted = labels.int().argmax(1) if task == "classify" else labels.float()
        assert torch.equal(dataset.targets, wanted)


@pytest.mark.parametrize(
    ("labels", "settings", "sentence"),
    [
        (LABELS, {"task": "classify"}, "one label per sample to classify, got shape \\(40, 3\\)"),
        (torch.rand(40, 3), {"task": "multilabel"}, "0 or 1 for each label, of shape \\(N, K\\)"),
        (torch.arange(40) % 2, {"task": "multilabel"}, "0 or 1 for each label, of shape \\(N, K\\)"),
        (torch.arange(40) % 2, {"task": "semantic"}, "classify or multilabel or regress for data given in Python"),
        (torch.arange(40) % 2, {"task": "pose"}, "pass the folder's path"),
        (torch.arange(40) % 2, {"loss": "bce"}, "a loss of scores.*leave the sigmoid at the end of the network out"),
        (LABELS, {"loss": "bce"}, "a loss of scores"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: Any, settings: Any, sentence: str) -> None:
    with pytest.raises(Refusal, match=sentence):
        opened((X, labels), **settings)


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        yield from zip(X, Y)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (X, "one Tensor of shape .* without targets"),
        ((1, "a", None), r"got \(1, 'a', None\)"),
        ((X, Y[:10]), "as many inputs as targets, got 40 and 10"),
        ((X, X, Y, Y), "got 4 arrays of lengths"),
        ((), r"got \(\)"),
        ([], r"got \[\]"),
        (FRAME, "needs target=, the column to predict"),
        (Stream(), "a stream without a length; collect it"),
        (DataLoader(Stream()), "DataLoader of Stream"),
        ((i for i in range(3)), "can be read once only"),
        (DataLoader(PAIR, sampler=WeightedRandomSampler([1.0] * 40, 40)), "WeightedRandomSampler cannot be used"),
        (Items(lambda i: X[i]), r"must be pairs \(input, target\)"),
        (Items(lambda i: (X[i], Y[i], 0)), "got 3 values"),
        (Items(lambda i: ("text", 1)), "must be tensors, arrays or PIL images"),
        (Items(lambda i: {"a": 1, "b": 2}), "the keys a, b"),
        (Items(lambda i: (1 / 0, 1)), "sample 0 of DATA cannot be read: ZeroDivisionError"),
        ((np.full((40, 3), np.nan), Y), "at row 0 must be finite"),
        ((np.array([["a"]] * 40), Y), "inputs of DATA must be numbers"),
        ((X, torch.zeros(40).long()), "at least two classes"),
        ((X, X), "must be one class"),
        ({"trian": (X, Y)}, "did you mean 'train'"),
    ],
)
def test_what_cannot_be_taken_is_one_sentence(data: Any, sentence: str) -> None:
    with pytest.raises(Refusal, match=sentence) as refused:
        opened(data)
    assert "\n" not in str(refused.value)


def test_a_misspelt_column() -> None:
    with pytest.raises(Refusal, match="did you mean 'price'"):
        opened(FRAME, target="prise")
    with pytest.raises(Refusal, match="left out where DATA is a pair"):
        opened((X, Y), target="y")
