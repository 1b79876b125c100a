"""Opening data: paths, known names, other folders for validation and test, and refusals."""

import dataclasses
import gzip
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from danlu.config import DataConfig
from danlu.data import formats
from danlu.data.dataset import TEST, TRAIN, UNASSIGNED, VAL
from danlu.data.formats import FORMATS, open_dataset, recognise
from danlu.data.known_sets import KNOWN
from danlu.refuse import Failure, Refusal
from danlu.task_spec import TASKS


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """An empty $DANLU_DATA; the working folder is empty too."""
    (tmp_path / "root").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("DANLU_DATA", str(tmp_path / "root"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "root"


def draw(folder, classes="ab", count=4):
    for name in classes:
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (6, 6), (i, 0, 0)).save(folder / name / f"{i}.png")


def write_idx(folder, count=20):
    folder.mkdir(parents=True)
    for head in ("train", "t10k"):
        for kind, shape in (("images-idx3", (count, 4, 4)), ("labels-idx1", (count,))):
            values = np.zeros(shape, np.uint8) if len(shape) > 1 else np.arange(count, dtype=np.uint8) % 10
            data = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape) + values.tobytes()
            (folder / f"{head}-{kind}-ubyte.gz").write_bytes(gzip.compress(data))


def load(path, task=None, **kw):
    return open_dataset(DataConfig(path=str(path), **kw), task)


def test_a_task_on_known_targets_needs_no_change_of_a_format(tmp_path, monkeypatch):
    monkeypatch.setitem(TASKS, "ordinal", dataclasses.replace(TASKS["classify"], name="ordinal"))
    draw(tmp_path / "images")
    (tmp_path / "table.csv").write_text("a,y\n" + "".join(f"{n},{'low' if n % 2 else 'high'}\n" for n in range(40)))
    for path in (tmp_path / "images", tmp_path / "table.csv", "digits"):
        dataset = load(path, "ordinal")
        assert dataset.task == "ordinal"
        assert dataset.task_spec.targets == "class"
    with pytest.raises(Refusal, match="not segment as set by --task"):
        load(tmp_path / "images", "segment")


def test_table_of_formats():
    for form in FORMATS.values():
        assert form.description
        assert callable(form.look)
        assert callable(form.open)


def test_each_format_is_recognised(tmp_path):
    draw(tmp_path / "images")
    write_idx(tmp_path / "idx")
    np.savez(tmp_path / "a.npz", x=np.eye(4), y=[0, 1, 0, 1])
    (tmp_path / "t.csv").write_text("a,y\n1,2\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "data_batch_1.bin").write_bytes(bytes(3073))
    want = {"images": "folder", "idx": "idx", "a.npz": "npz", "t.csv": "csv", "bin": "cifar"}
    assert {name: recognise(tmp_path / name) for name in want} == want


def test_named_sets_under_the_root(root):
    write_idx(root / "fashion-mnist")
    fashion = load("fashion-mnist")
    assert fashion.format == "idx"
    assert list(fashion.classes) == sorted(fashion.classes)
    assert fashion.classes[fashion.targets[9]] == "Ankle boot"  # label 9 as published
    assert fashion.classes[fashion.targets[0]] == "T-shirt/top"
    write_idx(root / "MNIST" / "raw")
    assert load("mnist").classes == tuple("0123456789")
    draw(root / "cifar10-jpeg" / "train")
    draw(root / "cifar10-jpeg" / "test")
    assert load("cifar10").given.bincount().tolist() == [8, 0, 8]
    draw(root / "mine")
    assert len(load("mine")) == 8


def test_california_housing_needs_no_target(root):
    (root / "california-housing").mkdir()
    rows = "".join(f"{i},{i * 1.5}\n" for i in range(50))
    (root / "california-housing" / "housing.csv").write_text("rooms,median_house_value\n" + rows)
    assert load("california-housing").target_names == ("median_house_value",)


def test_digits_ship_and_paths_go_first(tmp_path):
    assert len(load("digits")) == 1797
    draw(tmp_path / "here" / "digits")
    assert load("digits").format == "folder"


def test_missing_set_without_network(monkeypatch, root):
    monkeypatch.setattr("socket.getaddrinfo", lambda *a, **k: (_ for _ in ()).throw(OSError("no network")))
    with pytest.raises(Failure, match=r"svhn was looked for in .*root"):
        load("svhn")
    with pytest.raises(Failure, match=r"california-housing was not found under .*root"):
        load("california-housing")


def test_no_such_data_offers_names_and_files(tmp_path):
    with pytest.raises(Refusal, match="did you mean 'mnist'"):
        load("mnst")
    draw(tmp_path / "flowers")
    with pytest.raises(Refusal, match="flowers'"):
        load(tmp_path / "flower")
    with pytest.raises(Refusal, match="got nothing"):
        load("")
    with pytest.raises(Refusal):
        load("a/../../nowhere/*")
    assert "digits" in KNOWN


def test_unknown_format_says_what_was_found(tmp_path):
    (tmp_path / "flat").mkdir()
    for i in range(3):
        Image.new("L", (4, 4)).save(tmp_path / "flat" / f"{i}.jpg")
    with pytest.raises(Refusal, match=r"3 \.jpg files.*one subfolder of images per class"):
        load(tmp_path / "flat")
    with pytest.raises(Refusal, match="an empty folder"):
        load(tmp_path / "here")


def test_validation_and_test_from_other_folders(tmp_path):
    draw(tmp_path / "main", "abc")
    draw(tmp_path / "val", "cb", 2)
    draw(tmp_path / "test", "abc", 1)
    data = load(tmp_path / "main", val=str(tmp_path / "val"), test=str(tmp_path / "test"))
    assert data.given.tolist() == [UNASSIGNED] * 12 + [VAL] * 4 + [TEST] * 3
    for i, path in enumerate(data.inputs.paths):
        assert data.classes[data.targets[i]] == path.parent.name
        assert data.name_of(i) == f"{path.parent.name}/{path.name}"
    draw(tmp_path / "strange", "ax")
    with pytest.raises(Refusal, match=r"one of .*main, got 'x'"):
        load(tmp_path / "main", val=str(tmp_path / "strange"))
    with pytest.raises(Refusal, match=r"--val .*did you mean '.*val'"):
        load(tmp_path / "main", val=str(tmp_path / "vall"))


def test_validation_table(tmp_path):
    rows = [f"{i},{i * 1.5},{'ab'[i % 2]}" for i in range(30)]
    (tmp_path / "a.csv").write_text("\n".join(["u,v,w", *rows]))
    (tmp_path / "b.csv").write_text("w,v,u\na,1.5,9\nb,2.5,8\n")
    data = load(tmp_path / "a.csv", target="w", val=str(tmp_path / "b.csv"))
    assert data.given.tolist() == [UNASSIGNED] * 30 + [VAL] * 2
    assert list(data.inputs["u"][-2:]) == [9, 8]
    assert data.name_of(31) == "b.csv line 3"
    (tmp_path / "c.csv").write_text("w,v\na,1.5\nb,2.5\n")
    with pytest.raises(Refusal, match="no u"):
        load(tmp_path / "a.csv", target="w", val=str(tmp_path / "c.csv"))


def test_validation_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.eye(4), y=[0, 5, 9, 5])
    np.savez(tmp_path / "b.npz", x=np.eye(4)[:2], y=[9, 5])
    data = load(tmp_path / "a.npz", test=str(tmp_path / "b.npz"))
    assert data.targets.tolist() == [0, 1, 2, 1, 2, 1]
    assert data.inputs.dtype == torch.float32
    np.savez(tmp_path / "c.npz", x=np.eye(3)[:2], y=[9, 5])
    with pytest.raises(Refusal, match="shape"):
        load(tmp_path / "a.npz", test=str(tmp_path / "c.npz"))
    (tmp_path / "t.csv").write_text("a,y\n" + "1,0\n2,5\n")
    with pytest.raises(Refusal, match="same format"):
        load(tmp_path / "a.npz", test=str(tmp_path / "t.csv"))


def test_task_contradiction(tmp_path):
    draw(tmp_path / "images")
    with pytest.raises(Refusal, match="is data for the task classify, not regress"):
        load(tmp_path / "images", "regress")
    with pytest.raises(Refusal, match="is data for the task regress, not classify"):
        load("diabetes", "classify")


def test_default_root(monkeypatch):
    monkeypatch.delenv("DANLU_DATA")
    assert formats.data_root().parts[-2:] == (".cache", "danlu")
    assert TRAIN == 0
