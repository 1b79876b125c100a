"""idx files, written byte by byte from the format's definition."""

import gzip
import struct

import numpy as np
import pytest
from PIL import Image

from danlu.config import DataConfig
from danlu.data.dataset import TEST, TRAIN
from danlu.data.formats import open_dataset
from danlu.data.sources.arrays import idx
from danlu.refuse import Refusal


def encode(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write(folder, head, count, zipped=False, labels=None):
    rng = np.random.default_rng(count)
    images = rng.integers(0, 256, (count, 5, 4), np.uint8)
    labels = np.arange(count, dtype=np.uint8) % 3 if labels is None else np.asarray(labels, np.uint8)
    for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
        data = encode(array)
        name = folder / f"{head}{kind}-ubyte{'.gz' * zipped}"
        name.write_bytes(gzip.compress(data) if zipped else data)
    return images, labels


def read(path):
    return idx.open(path, DataConfig(path=str(path)))


@pytest.mark.parametrize("zipped", [False, True])
def test_train_and_test(tmp_path, zipped):
    train, y = write(tmp_path, "train-", 9, zipped)
    test, z = write(tmp_path, "t10k-", 4, zipped)
    assert idx.looks_like(tmp_path)
    data = read(tmp_path)
    assert np.array_equal(data.inputs[:, 0].numpy(), np.concatenate([train, test]))
    assert data.targets.tolist() == [*y, *z]
    assert data.given.tolist() == [TRAIN] * 9 + [TEST] * 4
    assert data.classes == ("0", "1", "2")


def test_single_pair_by_file(tmp_path):
    images, _ = write(tmp_path, "train-", 6)
    write(tmp_path, "t10k-", 4)
    data = read(tmp_path / "train-images-idx3-ubyte")
    assert len(data) == 6
    assert data.given is None
    assert np.array_equal(data.inputs[:, 0].numpy(), images)


def test_labels_that_do_not_begin_at_zero(tmp_path):
    write(tmp_path, "train-", 4, labels=[7, 3, 12, 3])
    data = read(tmp_path)
    assert data.classes == ("3", "7", "12")
    assert data.targets.tolist() == [1, 0, 2, 0]


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda d: d[:-3], "truncated"),
        (lambda d: d + b"x", "bytes long|long as its header"),
        (lambda d: b"\0\0\x0d" + d[3:], "idx file of bytes"),
        (lambda d: d[:9], "header"),
        (lambda d: b"", "nothing"),
    ],
)
def test_damage(tmp_path, spoil, word):
    write(tmp_path, "train-", 6)
    file = tmp_path / "train-images-idx3-ubyte"
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(Refusal, match=word):
        read(tmp_path)


def test_truncated_gzip_missing_partner_count_and_strange_label(tmp_path):
    write(tmp_path, "train-", 6, zipped=True)
    labels = tmp_path / "train-labels-idx1-ubyte.gz"
    whole = labels.read_bytes()
    labels.write_bytes(whole[:-9])
    with pytest.raises(Refusal, match="gzip"):
        read(tmp_path)
    labels.write_bytes(gzip.compress(encode(np.zeros(5, np.uint8))))
    with pytest.raises(Refusal, match=r"6 images but .* 5 labels"):
        read(tmp_path)
    labels.unlink()
    with pytest.raises(Refusal, match=r"train-labels-idx1-ubyte\.gz"):
        read(tmp_path)
    labels.write_bytes(whole)
    write(tmp_path, "t10k-", 2, labels=[0, 9])
    with pytest.raises(Refusal, match="got 9"):
        read(tmp_path)


def test_files_in_a_folder_of_a_repository(tmp_path):
    place = tmp_path / "data" / "fashion"
    place.mkdir(parents=True)
    images, _ = write(place, "train-", 9, zipped=True)
    (tmp_path / "doc").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (8, 8)).save(tmp_path / "doc" / f"{name}.png")
    data = open_dataset(DataConfig(path=str(tmp_path)))
    assert np.array_equal(data.inputs[:, 0].numpy(), images)
    assert any("read from data/fashion/" in str(note) for note in data.notes)


def test_several_folders_of_idx_files_are_named(tmp_path):
    for name in ("MNIST", "FashionMNIST"):
        place = tmp_path / name / "raw"
        place.mkdir(parents=True)
        write(place, "train-", 4)
    with pytest.raises(Refusal, match="several folders hold idx files \\(FashionMNIST/raw, MNIST/raw\\)"):
        open_dataset(DataConfig(path=str(tmp_path)))
