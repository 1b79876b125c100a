"""npz files with common names and shapes."""

import numpy as np
import pytest

from danlu.config import DataConfig
from danlu.data.dataset import TEST, TRAIN
from danlu.data.formats import open_dataset
from danlu.data.sources.arrays import npz
from danlu.refuse import Refusal

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 5, 7, 3), np.uint8)
LABELS = np.array([3, 1, 3, 1, 5, 5])


def read(tmp_path, task=None, **arrays):
    path = tmp_path / "d.npz"
    np.savez(path, **arrays)
    assert npz.looks_like(path)
    return open_dataset(DataConfig(path=str(path)), task)


@pytest.mark.parametrize(
    "x", [IMAGES, IMAGES.transpose(0, 3, 1, 2), IMAGES / 255, IMAGES.astype(np.float32), IMAGES.astype(int)]
)
def test_images_in_every_layout(tmp_path, x):
    data = read(tmp_path, images=x, labels=LABELS)
    assert np.array_equal(data.inputs.numpy(), IMAGES.transpose(0, 3, 1, 2))
    assert data.classes == ("1", "3", "5")
    assert data.targets.tolist() == [1, 0, 1, 0, 2, 2]
    assert data.kind == "images"


def test_grey_images_and_text_labels(tmp_path):
    data = read(tmp_path, X=IMAGES[..., 0], y=np.array(["b", "a"] * 3))
    assert data.inputs.shape == (6, 1, 5, 7)
    assert data.classes == ("a", "b")
    assert data.targets.tolist() == [1, 0] * 3


@pytest.mark.parametrize("names", ["x_{}/y_{}", "{}_images/{}_labels"])
def test_splits(tmp_path, names):
    arrays = {}
    for word, part in (("train", slice(0, 4)), ("test", slice(4, 6))):
        x, y = names.format(*[word] * 2).split("/")
        arrays |= {x: IMAGES[part], y: LABELS[part]}
    data = read(tmp_path, **arrays)
    assert data.given.tolist() == [TRAIN] * 4 + [TEST] * 2
    assert len(data) == 6


def test_columns_and_regression(tmp_path):
    x = RNG.normal(size=(6, 4))
    data = read(tmp_path, x=x, y=x[:, 0])
    assert (data.task, data.kind, data.targets.shape) == ("regress", "columns", (6, 1))
    assert read(tmp_path, x=x, y=x[:, :2]).targets.shape == (6, 2)
    assert read(tmp_path, x=x, y=LABELS).task == "classify"
    assert read(tmp_path, "regress", x=x, y=LABELS).targets.flatten().tolist() == LABELS.tolist()
    assert read(tmp_path, "classify", x=x, y=LABELS.astype(float)).classes == ("1", "3", "5")


NAN = np.array([[1.0, 2], [np.nan, 3], [1, 1]])


@pytest.mark.parametrize(
    ("arrays", "task", "word"),
    [
        ({"a": LABELS}, None, "named x and y"),
        ({"x": IMAGES, "y": LABELS[:5]}, None, "6 samples but y 5"),
        ({"x": NAN, "y": LABELS[:3]}, None, "row 1 must be finite"),
        ({"x": np.eye(3), "y": NAN[:, 0]}, None, "row 1 must be a finite"),
        ({"x": np.array([{}, {}]), "y": LABELS[:2]}, None, "python objects"),
        ({"x": LABELS, "y": LABELS}, None, "shape"),
        ({"x": np.zeros((2, 1025, 2, 2), np.uint8), "y": LABELS[:2]}, None, "channels"),
        ({"x": IMAGES.astype(int) - 9, "y": LABELS}, None, "values from"),
        ({"x": IMAGES, "y": LABELS * 0}, None, "two classes"),
        ({"x": np.eye(3), "y": np.array([0.5, 1, 2])}, "classify", "integers"),
        ({"x": np.eye(3), "y": np.array(["a", "b", "c"])}, "regress", "numbers for --task regress"),
        ({"x": np.array([["a"], ["b"]]), "y": LABELS[:2]}, None, "numbers"),
    ],
)
def test_refusals(tmp_path, arrays, task, word):
    with pytest.raises(Refusal, match=word):
        read(tmp_path, task, **arrays)


def test_damage(tmp_path):
    path = tmp_path / "d.npz"
    np.savez(path, x=IMAGES, y=LABELS)
    whole = path.read_bytes()
    for data in (whole[:200], b"", b"hello", whole[:100] + b"junk" * 10 + whole[140:]):
        path.write_bytes(data)
        with pytest.raises(Refusal, match=r"d\.npz"):
            npz.open(path, DataConfig(path=str(path)))
