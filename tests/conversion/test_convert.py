"""Every set is the same after a conversion: images, splits, classes, boxes within rounding, masks to the pixel."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import danlu
from danlu.config import DataConfig
from danlu.conversion.outlines import mask_of, ring_of, run_lengths
from danlu.data.annotations import Polygons, Raster, RunLengths
from danlu.data.canvas import Placement
from danlu.data.formats import open_dataset
from danlu.refuse import Refusal

HEIGHT, WIDTH = 40, 60
CLASSES = ("dog", "cat", "a bird")  # not sorted
BOXES = {"voc": 0.51, "coco": 0.01, "yolo": 0.01}  # largest difference of a corner in pixels


def _image(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def _coco(root, segmentation=None, splits=("train", "val", "test"), crowd=False):
    """A COCO set written by hand, its boxes of fractional pixels."""
    random = np.random.default_rng(1)
    for s, split in enumerate(splits):
        images, annotations = [], []
        for i in range(4 - s):
            _image(root / "images" / split / f"{split}{i}.png", 10 * s + i)
            images.append({"id": i + 1, "file_name": f"{split}{i}.png", "height": HEIGHT, "width": WIDTH})
            for _ in range(i):  # the first has none
                x, y, w, h = random.uniform(0, 25), random.uniform(0, 15), random.uniform(3, 30), random.uniform(3, 20)
                one = {"id": len(annotations) + 1, "image_id": i + 1, "category_id": int(random.integers(1, 4))}
                one |= {"bbox": [x, y, w, h], "iscrowd": int(crowd and not annotations)}
                if segmentation:
                    one["segmentation"] = segmentation(x, y, w, h)
                annotations.append(one)
        categories = [{"id": k, "name": name} for k, name in enumerate(CLASSES, 1)]
        file = root / "annotations" / f"instances_{split}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return root


def _polygons(x, y, w, h):
    return [[x, y, x + w, y, x + w, y + h], [x, y + h - 1, x + 2, y + h - 1, x + 1, y + h]]


def _read(path, task=None):
    """Image name -> (split, boxes with class names in a fixed order, masks)."""
    dataset = open_dataset(DataConfig(path=str(path)), task)
    found = {}
    for i, target in enumerate(dataset.targets):
        rows = [(dataset.classes[label], *box) for label, box in zip(target.labels.tolist(), target.boxes.tolist())]
        order = sorted(range(len(rows)), key=lambda k: (rows[k][0], np.round(rows[k][1:])[0], rows[k][2]))
        masks = None
        if target.shapes is not None:
            canvas = Placement(target.size, target.size, (1.0, 1.0))
            masks = [target.masks(canvas)[k].numpy() for k in order]
        split = None if dataset.given is None else int(dataset.given[i])
        name = dataset.inputs.paths[i].name
        found[name] = (split, [rows[k] for k in order], masks, dataset.inputs.paths[i].read_bytes())
    return dataset, found


def _same(before, after, tolerance):
    assert before.keys() == after.keys()
    for name, (split, rows, _, content) in before.items():
        assert after[name][0] == split
        assert after[name][3] == content
        assert [row[0] for row in after[name][1]] == [row[0] for row in rows]
        for old, new in zip(rows, after[name][1]):
            assert new[1:] == pytest.approx(old[1:], abs=tolerance)


@pytest.mark.parametrize("first", ["coco", "yolo", "voc"])
@pytest.mark.parametrize("second", ["coco", "yolo", "voc"])
def test_boxes_are_the_same_after_each_pair_of_conversions(tmp_path, first, second):
    source = _coco(tmp_path / "source")
    one = danlu.convert(source, to=first, out=tmp_path / "one", task="detect")
    danlu.convert(tmp_path / "one", to=second, out=tmp_path / "two", task="detect")
    dataset, before = _read(source)
    middle, between = _read(tmp_path / "one")
    last, after = _read(tmp_path / "two")
    assert (one.images, one.counts) == (9, {"train": 4, "val": 3, "test": 2})
    assert one.objects == sum(map(len, dataset.targets)) == sum(map(len, last.targets))
    assert set(middle.classes) == set(last.classes) <= set(CLASSES)
    _same(before, between, BOXES[first])
    _same(between, after, BOXES[second])
    if "voc" not in (first, second):
        assert last.classes == CLASSES


@pytest.mark.parametrize("to", ["coco", "yolo"])
@pytest.mark.parametrize("segmentation", [_polygons, lambda *box: _rings_with_hole(box)], ids=["polygons", "runs"])
def test_masks_are_the_same_to_the_pixel(tmp_path, to, segmentation):
    source = _coco(tmp_path / "source", segmentation)
    danlu.convert(source, to=to, out=tmp_path / "made")
    before, after = _read(source, "segment")[1], _read(tmp_path / "made", "segment")[1]
    assert before.keys() == after.keys()
    for name, (split, rows, masks, _) in before.items():
        assert after[name][0] == split
        assert len(after[name][1]) == len(rows)
        kept = sorted(mask.tobytes() for mask in masks)
        assert sorted(mask.tobytes() for mask in after[name][2]) == kept


def _rings_with_hole(box):
    x, y, w, h = (int(value) for value in box)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[y : y + h, x : x + w] = 1
    mask[y + 1 : y + 2, x + 1 : x + 2] = 0
    mask[-1, -1] = 1  # a second part
    return {"size": [HEIGHT, WIDTH], "counts": run_lengths(mask)}


@pytest.mark.parametrize("to", ["coco", "yolo", "voc"])
def test_a_set_without_splits_stays_one(tmp_path, to):
    source = _coco(tmp_path / "source", splits=("all",))
    danlu.convert(source, to=to, out=tmp_path / "made")
    before, after = _read(source), _read(tmp_path / "made")
    assert before[0].given is None
    assert after[0].given is None
    _same(before[1], after[1], BOXES[to])


def test_ignored_objects_stay_ignored_where_the_format_can_say_so(tmp_path):
    source = _coco(tmp_path / "source", crowd=True)
    count = sum(int(one.ignore.sum()) for one in _read(source)[0].targets)
    assert count == 3
    for to in ("coco", "voc"):
        danlu.convert(source, to=to, out=tmp_path / to, task="detect")
        assert sum(int(one.ignore.sum()) for one in _read(tmp_path / to)[0].targets) == count
    done = danlu.convert(source, to="yolo", out=tmp_path / "yolo", task="detect")
    assert any(f"{count} objects that are ignored" in note for note in done.notes)
    assert sum(map(len, _read(tmp_path / "yolo")[0].targets)) == done.objects


def test_classes_of_images_in_folders_and_back(tmp_path):
    for split in ("train", "val", "test"):
        for k, name in enumerate(("cat", "dog", "新")):
            for i in range(3):
                _image(tmp_path / "source" / split / name / f"{i}.png", 10 * k + i)
    done = danlu.convert(tmp_path / "source", to="folder", out=tmp_path / "made")
    before, after = (open_dataset(DataConfig(path=str(tmp_path / name))) for name in ("source", "made"))
    assert (done.images, done.counts) == (27, {"train": 9, "val": 9, "test": 9})
    assert after.classes == before.classes
    assert torch.bincount(after.targets).tolist() == [9, 9, 9]
    assert torch.bincount(after.given.long()).tolist() == [9, 9, 9]
    assert {path.read_bytes() for path in after.inputs.paths} == {path.read_bytes() for path in before.inputs.paths}


def test_images_in_memory_are_written_as_png(tmp_path):
    danlu.convert("digits", to="folder", out=tmp_path / "made")
    before, after = open_dataset(DataConfig(path="digits")), open_dataset(DataConfig(path=str(tmp_path / "made")))
    assert len(after) == len(before) == 1797
    assert torch.bincount(after.targets).tolist() == torch.bincount(before.targets).tolist()


def test_links_are_the_same_file(tmp_path):
    source = _coco(tmp_path / "source", splits=("all",))
    danlu.convert(source, to="voc", out=tmp_path / "made", link=True)
    assert (tmp_path / "made/JPEGImages/all1.png").samefile(source / "images/all/all1.png")


def test_two_images_of_one_name_are_renamed(tmp_path):
    rows = ["filename,xmin,ymin,xmax,ymax,class"]
    for k, folder in enumerate(("a", "b")):
        _image(tmp_path / "source" / folder / "1.png", k)
        rows.append(f"{folder}/1.png,2,3,20,{13 + k},cat")
    (tmp_path / "source/boxes.csv").write_text("\n".join(rows) + "\n")
    done = danlu.convert(tmp_path / "source", to="voc", out=tmp_path / "made")
    found = _read(tmp_path / "made")[1]
    assert {name: rows[0][4] for name, (_, rows, *_) in found.items()} == {"1.png": 13, "b_1.png": 14}
    assert any("renamed" in note for note in done.notes)


@pytest.mark.parametrize(
    ("make", "to", "words"),
    [
        (lambda root: _coco(root, _polygons), "voc", "task='detect'"),
        (_coco, "folder", "use to coco or yolo or voc"),
        (lambda root: "digits", "coco", "use to='folder'"),
        (lambda root: "iris", "coco", "a table"),
    ],
    ids=["masks to voc", "boxes to folder", "classes to coco", "table"],
)
def test_what_a_format_cannot_hold_is_refused_in_one_sentence(tmp_path, make, to, words):
    data = make(tmp_path / "source")
    with pytest.raises(Refusal, match=words) as refused:
        danlu.convert(data, to=to, out=tmp_path / "made")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "made").exists()


def test_a_folder_with_content_is_never_written_to(tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made/note.txt").write_text("mine")
    with pytest.raises(Refusal, match="a new or empty folder"):
        danlu.convert("digits", to="folder", out=tmp_path / "made")
    assert [one.name for one in (tmp_path / "made").iterdir()] == ["note.txt"]


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("danlu.conversion.convert.write_image", fail)
    with pytest.raises(Exception, match="space"):
        danlu.convert("digits", to="folder", out=tmp_path / "made")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", range(8))
def test_a_ring_encloses_the_pixels_of_any_mask(seed):
    mask = (np.random.default_rng(seed).random((9, 12)) < 0.2 + 0.08 * seed).astype(np.uint8)
    ring = ring_of(Raster(mask), mask.shape)
    assert (mask_of(Polygons((ring,)), mask.shape) == mask).all()
    assert (mask_of(RunLengths(np.array(run_lengths(mask)), mask.shape), mask.shape) == mask).all()


def test_run_lengths_are_those_of_pycocotools_or_of_the_definition():
    mask = np.array([[1, 0], [1, 1]], np.uint8)
    assert run_lengths(mask) == [0, 2, 1, 1]
    assert run_lengths(1 - mask) == [2, 1, 1]


def test_the_command_prints_one_line(tmp_path):
    source = _coco(tmp_path / "source")
    command = [
        sys.executable,
        "-m",
        "danlu",
        "convert",
        str(source),
        "--to",
        "yolo",
        "--out",
        str(tmp_path / "made"),
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["images"] == 9
    assert "9 images" in done.stderr
