"""YOLO folders, written by hand."""

import numpy as np
import pytest
import yaml
from PIL import Image

from danlu.config import DataConfig
from danlu.data.canvas import Placement
from danlu.data.dataset import TEST, TRAIN, VAL
from danlu.data.formats import open_dataset, recognise
from danlu.data.sources.objects import yolo
from danlu.refuse import Refusal

WIDTH, HEIGHT = 60, 40
BOX, POLYGON = "0 0.5 0.5 0.5 0.25", "1 0.1 0.1 0.6 0.1 0.6 0.6 0.1 0.6"


def write(folder, files, part="train", description=True, **keys):
    """files: stem -> text of its labels, or None for no file."""
    for stem, text in files.items():
        for kind in ("images", "labels"):
            (folder / kind / part).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "images" / part / f"{stem}.png")
        if text is not None:
            (folder / "labels" / part / f"{stem}.txt").write_text(text)
    if description:
        content = {"path": ".", "train": "images/train", "val": "images/train", "names": {0: "dog", 1: "ant"}} | keys
        (folder / "data.yaml").write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not None}))
    return folder


def read(path, task=None, **kw):
    return open_dataset(DataConfig(path=str(path), **kw), task)


def test_boxes_and_classes(tmp_path):
    data = read(write(tmp_path, {"a": f"{BOX}\n\n{POLYGON}\n", "b": "", "c": None}))
    assert (data.format, data.task, data.classes) == ("yolo", "detect", ("dog", "ant"))
    assert data.targets[0].labels.tolist() == [0, 1]
    assert np.allclose(data.targets[0].boxes, [[15, 15, 45, 25], [6, 4, 36, 24]])
    assert [len(t) for t in data.targets] == [2, 0, 0]
    assert any("1 image has no label file" in note for note in data.notes)
    assert data.given is None  # train and val are the same folder
    assert not data.problems
    assert len(read(tmp_path / "data.yaml")) == 3


def test_polygons_are_masks(tmp_path):
    data = read(write(tmp_path, {"a": POLYGON}), "segment")
    mask = data.targets[0].masks(Placement((HEIGHT, WIDTH), (HEIGHT, WIDTH), (1.0, 1.0)))[0]
    assert mask[4:24, 6:36].all()
    assert mask.sum() == 20 * 30
    (tmp_path / "labels" / "train" / "a.txt").write_text(BOX)
    with pytest.raises(Refusal, match="--task detect"):
        read(tmp_path, "segment")


def test_unread_keys_of_data_yaml_are_noted_and_misspelt_ones_refused(tmp_path):
    write(tmp_path, {"a": BOX}, license="CC BY 4.0", roboflow={"version": 1})
    assert "data.yaml: keys that are not read: license, roboflow" in read(tmp_path).notes
    write(tmp_path, {"a": BOX}, vall="images/val")
    with pytest.raises(Refusal, match=r"vall.*did you mean 'val'"):
        read(tmp_path)


def test_parts_of_data_yaml(tmp_path):
    write(tmp_path, {"a": BOX}, "train")
    write(tmp_path, {"b": BOX}, "val")
    write(tmp_path, {"c": BOX, "d": BOX}, "more")
    listing = tmp_path / "test.txt"
    listing.write_text("./images/more/d.png\n")
    write(tmp_path, {}, train=["images/train"], val="images/val", test="test.txt", names=["dog", "ant"], nc=2)
    data = read(tmp_path)
    assert data.given.tolist() == [TRAIN, VAL, TEST]
    assert [data.name_of(i) for i in range(3)] == ["images/train/a.png", "images/val/b.png", "images/more/d.png"]


@pytest.mark.parametrize("entry", ["../images/train", "/content/set/images/train", "images\\train"])
def test_paths_of_another_machine(tmp_path, entry):
    write(tmp_path, {"a": BOX}, path="/content/set", train=entry, val=None, test="../nowhere")
    assert len(read(tmp_path)) == 1


def test_without_data_yaml(tmp_path):
    write(tmp_path, {"a": BOX}, "train", description=False)
    write(tmp_path, {"b": POLYGON}, "val", description=False)
    data = read(tmp_path)
    assert data.classes == ("0", "1")
    assert data.given.tolist() == [TRAIN, VAL]
    (tmp_path / "classes.txt").write_text("dog\nant\n")
    assert read(tmp_path).classes == ("dog", "ant")
    for part in ("train", "valid"):
        for kind in ("images", "labels"):
            (tmp_path / "other" / part / kind).mkdir(parents=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "other" / part / "images" / "a.png")
        (tmp_path / "other" / part / "labels" / "a.txt").write_text(BOX)
    assert read(tmp_path / "other").given.tolist() == [TRAIN, VAL]


FAULTS = {
    "reversed": ("0 0.5 0.5 -0.1 0.2", "reversed", "skipped"),
    "empty": ("0 0.5 0.5 0 0.2", "empty", "skipped"),
    "outside": ("0 1.5 0.5 0.1 0.2", "outside", "skipped"),
    "not finite": ("0 nan 0.5 0.1 0.2", "not finite", "skipped"),
    "unknown class": ("2 0.5 0.5 0.1 0.2", "unknown class: 2 of 2", "skipped"),
    "negative class": ("-1 0.5 0.5 0.1 0.2", "unknown class: -1", "skipped"),
    "beyond": ("0 0.9 0.5 0.5 0.2", "beyond the image", "clipped"),
    "twice": (BOX, "a second time", "kept"),
}


@pytest.mark.parametrize("parts", [("",), ("train", "valid")])
@pytest.mark.parametrize("above", ["", "images"])
def test_labels_beside_the_images(tmp_path, parts, above):
    """Files as labelImg and Darknet write them; other text files in the folder are ignored."""
    root = tmp_path / above / "set"
    for part in parts:
        (root / part).mkdir(parents=True)
        for stem, text in {"a": "", "图 b": f"{BOX}\n", "c": None}.items():
            Image.new("RGB", (WIDTH, HEIGHT)).save(root / part / f"{stem}.JPG")
            if text is not None:
                (root / part / f"{stem}.txt").write_text(text)
        (root / part / "gone.txt").write_text(BOX)
        (root / part / "notes.txt").write_text("made by hand\n")
    (root / parts[0] / "classes.txt").write_text("dog\nant\n")
    assert recognise(root) == "yolo"
    data = read(root)
    assert data.classes == ("dog", "ant")
    assert [len(t) for t in data.targets] == [0, 0, 1] * len(parts)
    assert {problem.reason for problem in data.problems} == {"missing image"}
    assert all(problem.where.endswith("gone.txt") for problem in data.problems)
    if len(parts) == 2:
        assert data.given.tolist() == [TRAIN] * 3 + [VAL] * 3


def test_images_with_captions_are_no_labels(tmp_path):
    for stem, text in {"a": "a dog on a hill", "b": "1 dog 2 hills 3 clouds"}.items():
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / f"{stem}.png")
        (tmp_path / f"{stem}.txt").write_text(text)
    assert recognise(tmp_path) is None


def test_labels_without_their_image_are_named(tmp_path):
    write(tmp_path, {"a": BOX, "b": BOX})
    labels = tmp_path / "labels" / "train"
    (labels / "gone.txt").write_text(BOX)
    (labels / "classes.txt").write_text("dog\nant\n")
    data = read(tmp_path)
    assert len(data) == 2
    assert [(p.where, p.reason) for p in data.problems] == [("labels/train/gone.txt", "missing image")]


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_named(tmp_path, name):
    line, reason, done = FAULTS[name]
    data = read(write(tmp_path, {"a": BOX, "b": f"{BOX}\n{line}\n"}))
    assert [(p.where, p.done) for p in data.problems] == [("labels/train/b.txt line 2", done)]
    assert reason in data.problems[0].reason


REFUSED = {
    "too few": (BOX + "\n0 0.5 0.5", "a.txt line 2", {}),
    "odd polygon": ("0 " + "0.5 " * 7, "8 numbers", {}),
    "words": ("dog 0.5 0.5 0.1 0.1", "a class and numbers", {}),
    "half a class": ("0.5 0.5 0.5 0.1 0.1", "integer", {}),
    "nc": (BOX, "data.yaml: nc", {"nc": 3}),
    "no names": (BOX, "data.yaml: names", {"names": "dog"}),
    "gaps": (BOX, "data.yaml: names", {"names": {0: "a", 2: "b"}}),
    "names twice": (BOX, "data.yaml: names", {"names": ["a", "a"]}),
    "no folder": (BOX, "data.yaml: train", {"train": "images/trian"}),
    "number": (BOX, "data.yaml: train", {"train": 3}),
    "no label at all": (None, "a.txt", {}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_one_sentence_for_a_broken_file(tmp_path, name):
    text, words, keys = REFUSED[name]
    with pytest.raises(Refusal) as found:
        read(write(tmp_path, {"a": text}, **keys))
    assert words in str(found.value)
    assert "\n" not in str(found.value)


def test_broken_line_is_skipped_on_request(tmp_path):
    data = read(write(tmp_path, {"a": BOX, "b": "0 0.5"}), on_bad="skip")
    assert [len(one) for one in data.targets] == [1, 0]
    assert "line 1" in data.problems[0].where
    assert recognise(tmp_path) == "yolo"


def test_no_mutation_gives_a_traceback(tmp_path):
    write(tmp_path, {"a": f"{BOX}\n{POLYGON}\n", "b": BOX}, val=None)
    files = [tmp_path / "labels" / "train" / "a.txt", tmp_path / "data.yaml"]
    odd = [b"nan", b"-1e999", b"", b"-5", b"1" * 400, b"\0", b"\xff", b"[", b"{}", b"2020-99-99", b"!!python/x", b"~"]
    rng = np.random.default_rng(0)
    read_well, sentences = 0, []
    for i in range(400):
        file = files[i % 2]
        text = file.read_bytes()
        raw = bytearray(text)
        a = int(rng.integers(0, len(raw)))
        kind = rng.integers(0, 4)
        if kind == 0:
            raw[a] = rng.integers(0, 256)
        elif kind == 1:
            del raw[a : a + int(rng.integers(1, 20))]
        elif kind == 2:
            raw[a:a] = raw[a : a + 20]
        else:
            words = raw.split(b" ")
            words[rng.integers(len(words))] = odd[rng.integers(len(odd))]
            raw = bytearray(b" ".join(words))
        file.write_bytes(raw)
        for task in ("detect", "segment"):
            try:
                found = yolo.open(tmp_path / "data.yaml", DataConfig(path=str(tmp_path), on_bad="skip"), task)
                read_well += 1
                assert all(one.boxes.isfinite().all() for one in found.targets)
            except Refusal as refused:
                sentences.append(str(refused))
        file.write_bytes(text)
    assert 40 < read_well < 760
    assert not [sentence for sentence in sentences if "\n" in sentence]
