"""Pascal VOC folders, written by hand."""

import numpy as np
import pytest
from PIL import Image

from danlu.config import DataConfig
from danlu.data.dataset import TEST, TRAIN, VAL
from danlu.data.formats import open_dataset, recognise
from danlu.data.sources.objects import voc
from danlu.refuse import Refusal

WIDTH, HEIGHT = 60, 40
GOOD = ("dog", (1, 1, 10, 20), 0)


def xml(stem, objects=(GOOD,), size=(WIDTH, HEIGHT), filename=None):
    body = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox><part><name>head</name></part></object>"
        for name, (x1, y1, x2, y2), difficult in objects
    )
    return (
        f"<annotation><filename>{filename or stem + '.jpg'}</filename><path>C:\\x\\{stem}.jpg</path>"
        f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>{body}</annotation>"
    )


def write(folder, files, lists=None):
    """files: stem -> text of its xml."""
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for stem, text in files.items():
        (folder / "Annotations" / f"{stem}.xml").write_text(text)
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "JPEGImages" / f"{stem}.jpg")
    for name, stems in (lists or {}).items():
        (folder / "ImageSets" / "Main" / f"{name}.txt").write_text("\n".join(stems) + "\n")
    return folder


def read(path, task=None, **kw):
    return open_dataset(DataConfig(path=str(path), **kw), task)


def test_pixels_count_from_one_and_both_ends_are_included(tmp_path):
    objects = [("dog", (1, 1, WIDTH, HEIGHT), 0), ("cat", (3, 5, 3.5, 9), 1)]
    data = read(write(tmp_path, {"a": xml("a", objects), "b": xml("b", [])}))
    assert (data.format, data.task, data.classes) == ("voc", "detect", ("cat", "dog"))
    assert data.targets[0].boxes.tolist() == [[0, 0, WIDTH, HEIGHT], [2, 4, 3.5, 9]]
    assert data.targets[0].labels.tolist() == [1, 0]
    assert data.targets[0].ignore.tolist() == [False, True]
    assert len(data.targets[1]) == 0
    assert not data.problems
    assert data.inputs.sizes == ((HEIGHT, WIDTH),) * 2


def test_lists_of_splits(tmp_path):
    files = {stem: xml(stem) for stem in "abcdefg"}
    lists = {
        "train": ["a", "b 1"],
        "val": ["c  -1", "c"],
        "trainval": ["a", "b", "c", "d"],
        "test": ["e"],
        "dog_train": ["f  1"],
    }
    data = read(write(tmp_path, files, lists))
    assert [data.name_of(i) for i in range(5)] == [f"JPEGImages/{s}.jpg" for s in "abced"]
    assert data.given.tolist() == [TRAIN, TRAIN, VAL, TEST, TRAIN]
    assert any("2 annotated images are in no list" in note for note in data.notes)


def test_image_in_two_lists_is_only_in_the_test_set(tmp_path):
    files = {stem: xml(stem) for stem in "abc"}
    data = read(write(tmp_path, files, {"train": ["a", "b"], "test": ["b", "c"]}))
    assert data.given.tolist() == [TRAIN, TEST, TEST]
    assert any("in two splits" in note for note in data.notes)


def test_several_years_and_folders_of_splits(tmp_path):
    write(tmp_path / "kit" / "VOC2007", {"a": xml("a")})
    write(tmp_path / "kit" / "VOC2012", {"b": xml("b")})
    assert len(read(tmp_path / "kit")) == 2
    for part in ("train", "valid"):
        folder = tmp_path / "exported" / part
        folder.mkdir(parents=True)
        (folder / f"{part}.xml").write_text(xml(part))
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / f"{part}.jpg")
    assert read(tmp_path / "exported").given.tolist() == [TRAIN, VAL]


def test_file_name_in_the_annotation_may_be_wrong(tmp_path):
    write(tmp_path, {"a": xml("a", filename="other.jpg"), "b": xml("b", filename="elsewhere/odd.jpg")})
    (tmp_path / "JPEGImages" / "b.jpg").rename(tmp_path / "JPEGImages" / "odd.jpg")
    data = read(tmp_path)
    assert [data.name_of(i) for i in range(2)] == ["JPEGImages/a.jpg", "JPEGImages/odd.jpg"]


FAULTS = {
    "reversed": ((20, 5, 10, 9), "reversed", "skipped"),
    "a click": ((20, 5, 20, 5), "empty", "skipped"),
    "outside": ((70, 5, 90, 9), "outside", "skipped"),
    "not finite": (("nan", 5, 90, 9), "not finite", "skipped"),
    "beyond": ((40, 5, 90, 9), "beyond the image of 60 x 40", "clipped"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_named(tmp_path, name):
    box, reason, done = FAULTS[name]
    files = {stem: xml(stem) for stem in "abc"} | {"d": xml("d", [GOOD, ("cat", box, 0)])}
    data = read(write(tmp_path, files))
    assert [problem.done for problem in data.problems] == [done]
    assert data.problems[0].where == "Annotations/d.xml object 2 'cat'"
    assert reason in data.problems[0].reason
    assert len(data.targets[3]) == 2 - (done == "skipped")


def test_boxes_counted_from_zero_are_moved_in_and_counted(tmp_path):
    data = read(write(tmp_path, {"a": xml("a", [("dog", (0, 0, 10, 10), 0)])}))
    assert data.targets[0].boxes.tolist() == [[0, 0, 10, 10]]
    assert "1 box reaches up to 1 px beyond its image and is clipped to it" in data.notes
    assert not data.problems


def test_sizes_that_are_not_the_images(tmp_path):
    files = {"a": xml("a", size=(61, 40)), "b": xml("b", size=(0, 0)), "c": xml("c", size=(HEIGHT, WIDTH))}
    data = read(write(tmp_path, files))
    assert [(p.where, p.done) for p in data.problems] == [
        ("Annotations/a.xml", "kept"),
        ("Annotations/b.xml", "kept"),
        ("Annotations/c.xml", "skipped"),
    ]
    assert len(data) == 2


def test_missing_entries_are_named(tmp_path):
    files = {f"p{i}": xml(f"p{i}") for i in range(40)}
    write(tmp_path, files, {"train": [*files, "nothing"]})
    (tmp_path / "JPEGImages" / "p3.jpg").unlink()
    data = read(tmp_path)
    assert [(p.where, p.reason) for p in data.problems] == [
        ("ImageSets/Main/train.txt nothing", "no nothing.xml of that name"),
        ("p3.jpg (of Annotations/p3.xml)", "missing image"),
    ]
    for i in range(4, 9):
        (tmp_path / "JPEGImages" / f"p{i}.jpg").unlink()
    with pytest.raises(Refusal, match="6 of 40 images cannot be used"):
        read(tmp_path)
    assert len(read(tmp_path, on_bad="skip")) == 34


REFUSED = {
    "cut": (lambda text: text[:120], "not valid xml"),
    "no name": (lambda text: text.replace("<name>dog</name>", ""), "object 1.name"),
    "no box": (lambda text: text.replace("bndbox", "box"), "object 1.bndbox"),
    "no xmax": (lambda text: text.replace("xmax", "right"), "object 1.bndbox.xmax"),
    "words": (lambda text: text.replace("<xmax>10", "<xmax>ten"), "'ten'"),
    "other root": (lambda text: text.replace("annotation>", "annotations>"), "root element"),
    "encoding": (lambda text: '<?xml version="1.0" encoding="klingon"?>' + text, "not valid xml"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_one_sentence_for_a_broken_file(tmp_path, name):
    change, words = REFUSED[name]
    write(tmp_path, {"a": xml("a"), "b": change(xml("b")), "c": change(xml("c")), "d": xml("d")})
    with pytest.raises(Refusal) as found:
        read(tmp_path)
    assert words in str(found.value)
    assert "b.xml" in str(found.value)
    data = read(tmp_path, on_bad="skip")
    assert sum(map(len, data.targets)) == 2
    assert "b.xml" in data.problems[0].where


@pytest.mark.parametrize("name", REFUSED)
def test_one_bad_file_stops_nothing(tmp_path, name):
    change, words = REFUSED[name]
    write(tmp_path, {"a": xml("a"), "b": change(xml("b")), "c": xml("c")})
    data = read(tmp_path)
    assert sum(map(len, data.targets)) == 2
    assert [words in problem.reason for problem in data.problems] == [True]


def test_there_are_no_masks(tmp_path):
    assert recognise(write(tmp_path, {"a": xml("a")})) == "voc"
    with pytest.raises(Refusal, match="--task detect"):
        read(tmp_path, "segment")


def test_no_mutation_gives_a_traceback(tmp_path):
    objects = [GOOD, ("cat", (3, 5, 30, 9), 1)]
    write(tmp_path, {"a": xml("a"), "b": xml("b", objects)}, {"train": ["a", "b"]})
    files = [tmp_path / "Annotations" / "b.xml", tmp_path / "ImageSets" / "Main" / "train.txt"]
    rng = np.random.default_rng(0)
    read_well, sentences = 0, []
    for i in range(300):
        file = files[i % 10 == 0]
        text = file.read_bytes()
        raw = bytearray(text)
        a, b = sorted(rng.integers(0, len(raw), 2))
        kind = i % 4
        if kind == 0:
            raw[a] = rng.integers(0, 256)
        elif kind == 1:
            del raw[a : a + int(rng.integers(1, 20))]
        elif kind == 2:
            raw[a:a] = raw[a:b][:60]
        else:
            odd = [b"nan", b"-1e999", b"", b"-5", b"1" * 400, b"&#0;", b"\xff", b"<x/>"][rng.integers(8)]
            at = raw.index(b">", a) if b">" in raw[a:] else a
            end = raw.index(b"<", at) if b"<" in raw[at:] else at
            raw[at + 1 : end] = odd
        file.write_bytes(raw)
        try:
            found = voc.open(tmp_path, DataConfig(path=str(tmp_path)))
            read_well += 1
            assert all(one.boxes.isfinite().all() for one in found.targets)
        except Refusal as refused:
            sentences.append(str(refused))
        file.write_bytes(text)
    assert 20 < read_well < 300
    assert not [sentence for sentence in sentences if "\n" in sentence]
