"""Several labels per sample, given as lists of their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch

import danlu
from danlu.config import DataConfig
from danlu.data.dataset import Dataset
from danlu.own.data import open_data
from danlu.refuse import Refusal

COUNT = 40
IMAGES = np.random.default_rng(0).random((COUNT, 3, 16, 16)).astype("float32")
TAGS: list[Any] = [["red", "blue"] if i % 3 == 0 else ["red"] if i % 3 == 1 else [] for i in range(COUNT)]
WANTED = torch.tensor([[int("blue" in tags), int("red" in tags)] for tags in TAGS], dtype=torch.float32)


class Tagged(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, i: int) -> tuple[np.ndarray, list[str]]:
        return IMAGES[i], TAGS[i]


def opened(data: Any, val: Any = None, **more: Any) -> Dataset:
    return open_data(data, val, None, DataConfig(), more.pop("task", None), raw=False, **more)[0]


def targets_of(made: Dataset) -> torch.Tensor:
    assert isinstance(made.targets, torch.Tensor)
    return made.targets


@pytest.mark.parametrize(
    "data",
    [
        (IMAGES, TAGS),
        (IMAGES, [tuple(tags) for tags in TAGS]),
        (IMAGES, [set(tags) for tags in TAGS]),
        (IMAGES, pandas.Series(TAGS)),
        {"x": IMAGES, "y": TAGS},
        Tagged(),
        list(zip(IMAGES, TAGS)),
    ],
    ids=["lists", "tuples", "sets", "series", "mapping", "dataset", "samples"],
)
def test_names_of_labels_become_a_column_each(data: Any) -> None:
    made = opened(data)
    assert (made.task, made.classes) == ("multilabel", ("blue", "red"))
    assert torch.equal(targets_of(made), WANTED)


def test_integers_are_labels_where_the_samples_have_different_numbers_of_them() -> None:
    made = opened((IMAGES, [[10, 2] if i % 2 else [1] for i in range(COUNT)]))
    assert (made.task, made.classes) == ("multilabel", ("1", "2", "10"))
    assert targets_of(made)[0].tolist() == [1, 0, 0]


def test_one_name_in_each_list_is_a_class() -> None:
    made = opened((IMAGES, [["cat"] if i % 2 else ["dog"] for i in range(COUNT)]))
    assert (made.task, made.classes) == ("classify", ("cat", "dog"))


def test_a_split_with_one_label_each_joins_those_with_several() -> None:
    made = opened((IMAGES, TAGS), val=(IMAGES[:9], [["red"]] * 8 + [["green"]]))
    assert made.classes == ("blue", "green", "red")
    assert targets_of(made)[COUNT:].sum(0).tolist() == [0, 1, 8]


@pytest.mark.parametrize(
    ("data", "more", "words"),
    [
        ((IMAGES, [["a", 2] if i % 2 else ["b"] for i in range(COUNT)]), {}, "either text or numbers"),
        ((IMAGES, [["a", "b"] if i % 2 else None for i in range(COUNT)]), {}, "at sample 0 must be a label"),
        ((IMAGES, [[0.5, 1] if i % 2 else [0.5] for i in range(COUNT)]), {}, "lists of different lengths"),
        (
            (IMAGES, [["a"] if i else "b" for i in range(COUNT)]),
            {},
            r"either a label or a list .*, got 'b' and \['a'\]",
        ),
        ((IMAGES, [[] for _ in range(COUNT)]), {}, "at least one occurs, got an empty list for each sample"),
        ((IMAGES, TAGS[1:]), {}, "as many inputs as targets"),
        (([[0.0, 1.0]] * COUNT, TAGS[1:]), {}, "as many inputs as targets"),
        ((IMAGES, TAGS), {"task": "classify"}, "one label per sample to classify"),
        ((IMAGES, TAGS), {"classes": ("blue", "rad")}, "label that the network was trained with, got 'red'.*'rad'"),
        (pandas.DataFrame({"size": range(COUNT), "label": TAGS}), {}, "one class or number per row of a table"),
    ],
)
def test_labels_that_cannot_be_taken_are_refused(data: Any, more: dict[str, Any], words: str) -> None:
    with pytest.raises(Refusal, match=words):
        opened(data, **more)


def test_a_training_is_evaluated_on_names_of_labels(tmp_path: Path) -> None:
    run = danlu.train((IMAGES, TAGS), epochs=1, out=tmp_path / "run", quiet=True)
    assert run.classes == ("blue", "red")
    assert run.evaluate((IMAGES[:9], TAGS[:9])).samples == 9
