"""Messy folders of images."""

import numpy as np
import pytest
from PIL import Image

from danlu.config import DataConfig
from danlu.data.dataset import TEST, TRAIN
from danlu.data.files.survey import survey
from danlu.data.formats import open_dataset
from danlu.data.sources.folders import folder
from danlu.refuse import Refusal


def draw(path, count=20, first=0):
    path.mkdir(parents=True, exist_ok=True)
    for i in range(first, first + count):
        Image.fromarray(np.full((6, 8, 3), i, np.uint8)).save(path / f"{i}.png")


def read(path, **kw):
    return open_dataset(DataConfig(path=str(path), **kw))


def test_classes_are_sorted_and_every_image_has_its_label(tmp_path):
    for name in ("猫", "dog", "Ärger"):
        draw(tmp_path / name, 21)
    data = read(tmp_path)
    assert folder.look(survey(tmp_path)).refuse is None
    assert data.classes == tuple(sorted(["猫", "dog", "Ärger"]))
    assert data.given is None
    for i, path in enumerate(data.inputs.paths):
        assert data.classes[data.targets[i]] == path.parent.name
    assert set(data.inputs.sizes) == {(6, 8)}
    assert data.name_of(0).endswith(".png")


def test_splits_inside(tmp_path):
    draw(tmp_path / "train" / "a", 3)
    draw(tmp_path / "train" / "b", 3)
    draw(tmp_path / "test" / "b", 2)
    draw(tmp_path / "other" / "c", 2)
    data = read(tmp_path)
    assert data.classes == ("a", "b")
    assert len(data) == 8
    assert any("other" in note for note in data.notes)
    for i, path in enumerate(data.inputs.paths):
        assert data.given[i] == (TEST if path.parent.parent.name == "test" else TRAIN)


def test_bad_files_are_named_once_and_skipped(tmp_path):
    draw(tmp_path / "a", 40)
    draw(tmp_path / "b", 40)
    (tmp_path / "a" / "zero.png").touch()
    (tmp_path / "b" / "cut.png").write_bytes((tmp_path / "b" / "1.png").read_bytes()[:50])
    (tmp_path / "b" / "notes.txt").write_text("hello")
    (tmp_path / "b" / ".hidden").write_text("x")
    (tmp_path / "b" / "Thumbs.db").write_text("x")
    Image.new("RGB", (5, 5)).save(tmp_path / "b" / "wrong.png", format="JPEG")
    data = read(tmp_path)
    assert sorted(p.where for p in data.problems) == ["a/zero.png", "b/cut.png", "b/notes.txt"]
    assert len(data) == len(data.inputs) == 81
    assert any("wrong.png" in note for note in data.notes)


def test_too_many_bad(tmp_path):
    draw(tmp_path / "a", 9)
    draw(tmp_path / "b", 9)
    for i in range(2):
        (tmp_path / "a" / f"bad{i}.jpg").touch()
    with pytest.raises(Refusal, match=r"2 of 20 images.*bad0\.jpg.*--on-bad skip"):
        read(tmp_path)
    assert len(read(tmp_path, on_bad="skip")) == 18


def test_empty_and_one_image_classes(tmp_path):
    draw(tmp_path / "a", 3)
    draw(tmp_path / "b", 1)
    (tmp_path / "c").mkdir()
    with pytest.raises(Refusal, match=r"'c'.*no usable"):
        read(tmp_path)
    data = read(tmp_path, on_bad="skip")
    assert data.classes == ("a", "b")
    assert any("'b' has a single image" in note for note in data.notes)
    assert any("'c' is not used" in note for note in data.notes)


def test_class_without_training_images(tmp_path):
    draw(tmp_path / "train" / "a", 3)
    draw(tmp_path / "train" / "b", 3)
    draw(tmp_path / "val" / "c", 3)
    with pytest.raises(Refusal, match="'c'"):
        read(tmp_path)
    assert len(read(tmp_path, on_bad="skip")) == 6


def test_one_class_is_refused(tmp_path):
    draw(tmp_path / "a", 3)
    with pytest.raises(Refusal, match="two classes"):
        read(tmp_path)


def test_link_loops_end_and_nothing_is_read_twice(tmp_path):
    draw(tmp_path / "set" / "a", 3)
    draw(tmp_path / "set" / "b", 3)
    draw(tmp_path / "far", 2, first=50)
    (tmp_path / "set" / "loop").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "a" / "up").symlink_to("..")
    (tmp_path / "set" / "a" / "sibling").symlink_to("../b")
    (tmp_path / "set" / "b" / "far").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "self").symlink_to(".")
    (tmp_path / "set" / "b" / "dead.png").symlink_to("nowhere.png")
    data = read(tmp_path / "set", on_bad="skip", follow_links=True)
    assert data.classes == ("a", "b")
    assert data.targets.bincount().tolist() == [3, 5]
    assert [p.where for p in data.problems] == ["b/dead.png"]
    data = read(tmp_path / "set", on_bad="skip")
    assert data.targets.bincount().tolist() == [3, 3]
    assert [p.where for p in data.problems] == ["b/far", "b/dead.png"]
    with pytest.raises(Refusal, match=r"b/far is a link to .*far, outside the data folder; --follow-links"):
        read(tmp_path / "set")


def test_one_name_in_two_unicode_forms_is_one_class(tmp_path):
    draw(tmp_path / "train" / "caf\u00e9", 2)
    draw(tmp_path / "train" / "tea", 2)
    draw(tmp_path / "test" / "cafe\u0301", 2)
    assert read(tmp_path).classes == ("caf\u00e9", "tea")


def test_header_check_of_large_sets_finds_truncation(tmp_path, monkeypatch):
    draw(tmp_path / "a", 30)
    draw(tmp_path / "b", 30)
    (tmp_path / "b" / "cut.png").write_bytes((tmp_path / "b" / "1.png").read_bytes()[:50])
    monkeypatch.setattr(folder, "FULL_CHECK", 0)
    assert [p.where for p in read(tmp_path).problems] == ["b/cut.png"]


def test_looks_like(tmp_path):
    assert not folder.look(survey(tmp_path))
    (tmp_path / "a").mkdir()
    assert not folder.look(survey(tmp_path))
    draw(tmp_path / "a" / "deep", 1)
    assert folder.look(survey(tmp_path))
