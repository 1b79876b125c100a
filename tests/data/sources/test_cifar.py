"""CIFAR batches, binary and pickled, and refused pickles."""

import os
import pickle

import numpy as np
import pytest

from danlu.config import DataConfig
from danlu.data.dataset import TEST, TRAIN
from danlu.data.sources.arrays import cifar
from danlu.refuse import Refusal

NAMES = ["zebra", "ape", "bee", "cat", "dog", "elk", "fox", "gnu", "hen", "ibis"]


def rows(count, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 3072), np.uint8), rng.integers(0, 10, count)


def read(path):
    return cifar.open(path, DataConfig(path=str(path)))


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_python_batches(tmp_path, protocol):
    home = tmp_path / "cifar-10-batches-py"
    home.mkdir()
    parts = {"data_batch_1": rows(4, 1), "data_batch_2": rows(4, 2), "test_batch": rows(3, 3)}
    for name, (x, y) in parts.items():
        (home / name).write_bytes(pickle.dumps({b"data": x, b"labels": y.tolist(), b"batch_label": b"one"}, protocol))
    (home / "batches.meta").write_bytes(pickle.dumps({b"label_names": [n.encode() for n in NAMES]}, protocol))
    assert cifar.looks_like(tmp_path)
    data = read(tmp_path)
    assert data.classes == tuple(sorted(NAMES))
    assert np.array_equal(data.inputs.numpy().reshape(11, -1), np.concatenate([x for x, _ in parts.values()]))
    assert [data.classes[t] for t in data.targets] == [NAMES[k] for _, y in parts.values() for k in y]
    assert data.given.tolist() == [TRAIN] * 8 + [TEST] * 3


def test_binary_ten_and_hundred(tmp_path):
    x, y = rows(5, 1)
    for folder, head in (("ten", y[:, None]), ("hundred", np.stack([y * 0 + 19, y + 80], 1))):
        (tmp_path / folder).mkdir()
        name = "data_batch_1.bin" if folder == "ten" else "train.bin"
        (tmp_path / folder / name).write_bytes(np.concatenate([head.astype(np.uint8), x], 1).tobytes())
        data = read(tmp_path / folder)
        assert np.array_equal(data.inputs.numpy().reshape(5, -1), x)
        assert data.targets.tolist() == head[:, -1].tolist()
        assert len(data.classes) == (10 if folder == "ten" else 100)


def test_damage(tmp_path):
    x, y = rows(2, 1)
    file = tmp_path / "data_batch_1.bin"
    data = np.concatenate([y[:, None].astype(np.uint8), x], 1)
    file.write_bytes(data.tobytes()[:-1])
    with pytest.raises(Refusal, match="3073"):
        read(tmp_path)
    data[1, 0] = 10
    file.write_bytes(data.tobytes())
    with pytest.raises(Refusal, match="between 0 and 9, got 10"):
        read(tmp_path)


class Evil:
    def __reduce__(self):
        return os.system, ("touch pwned",)


def test_pickles_cannot_run_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "data_batch_1"
    file.write_bytes(pickle.dumps({"data": Evil(), "labels": []}))
    with pytest.raises(Refusal, match=r"(posix|nt|os)\.system"):
        read(tmp_path)
    assert not (tmp_path / "pwned").exists()
    for bad in (b"", b"junk", pickle.dumps({"data": np.zeros((2, 5), np.uint8), "labels": [0, 1]}), pickle.dumps([1])):
        file.write_bytes(bad)
        with pytest.raises(Refusal):
            read(tmp_path)
