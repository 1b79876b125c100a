"""Known datasets against scikit-learn and torchvision."""

import json

import numpy as np
import pytest
import sklearn.datasets
import torch
import torchvision.datasets as library
from PIL import Image

from danlu.config import DataConfig
from danlu.data.dataset import TEST, TRAIN
from danlu.data.known_sets import SKLEARN, TORCHVISION
from danlu.data.sources.named import sklearn as named
from danlu.data.sources.named import torchvision
from danlu.data.sources.tables import targets


def test_digits(tmp_path):
    data = named.open("digits", tmp_path, DataConfig(path="digits"))
    bunch = sklearn.datasets.load_digits()
    assert data.inputs.shape == (1797, 1, 8, 8)
    assert data.inputs.max() == 255
    assert np.array_equal(np.round(data.inputs[:, 0].numpy() * (16 / 255)), bunch.images)
    assert data.targets.tolist() == bunch.target.tolist()


@pytest.mark.parametrize("name", ["iris", "wine", "breast-cancer"])
def test_published_labels_survive_the_sorting(tmp_path, name):
    data = named.open(name, tmp_path, DataConfig(path=name))
    bunch = getattr(sklearn.datasets, SKLEARN[name].loader)()
    assert list(data.classes) == sorted(data.classes)
    assert [data.classes[t] for t in data.targets] == [str(bunch.target_names[t]) for t in bunch.target]
    assert np.allclose(data.inputs, bunch.data)


def test_diabetes(tmp_path):
    data = named.open("diabetes", tmp_path, DataConfig(path="diabetes"))
    assert (data.task, data.targets.shape, data.targets.dtype) == ("regress", (442, 1), torch.float32)


def test_food101_in_torchvisions_layout(tmp_path):
    (tmp_path / "food-101" / "meta").mkdir(parents=True)
    for split, count in (("train", 3), ("test", 1)):
        lists = {dish: [f"{dish}/{split}{i}" for i in range(count)] for dish in ("tea", "pie")}
        (tmp_path / "food-101" / "meta" / f"{split}.json").write_text(json.dumps(lists))
        for dish, names in lists.items():
            (tmp_path / "food-101" / "images" / dish).mkdir(parents=True, exist_ok=True)
            for name in names:
                Image.new("RGB", (9, 7)).save(tmp_path / "food-101" / "images" / f"{name}.jpg")
    data = torchvision.open("food101", tmp_path, DataConfig(path="food101"))
    assert data.classes == ("pie", "tea")
    assert data.given.tolist() == [TRAIN] * 6 + [TEST] * 2
    for i, path in enumerate(data.inputs.paths):
        assert data.classes[data.targets[i]] == path.parent.name
    assert data.inputs.sizes[0] == (7, 9)


def test_every_named_set_exists_in_its_library():
    assert all(hasattr(library, known.kind) for known in TORCHVISION.values())
    assert all(hasattr(sklearn.datasets, known.loader) for known in SKLEARN.values())


def test_sort_classes():
    classes, indices = targets.sort_classes(["b", "c", "a"], torch.tensor([0, 1, 2, 0]))
    assert classes == ("a", "b", "c")
    assert indices.tolist() == [1, 2, 0, 1]
