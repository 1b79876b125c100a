"""Labels and boxes of images in json: metadata.jsonl, lists of rows, and maps by the name of the image."""

import json

import pytest
from layout_files import boxes, images, labels, read, refused, rows, splits, text

NAMES = [f"p{i}" for i in range(6)]
KINDS = {f"{name}.jpg": ("ash", "oak")[i % 2] for i, name in enumerate(NAMES)}


def lines(path, *entries):
    rows(path, *(json.dumps(entry) for entry in entries))


@pytest.mark.parametrize("form", ["lines", "list", "map"])
def test_labels(tmp_path, form):
    images(tmp_path / "images", NAMES)
    entries = [{"file_name": name, "label": kind} for name, kind in KINDS.items()]
    if form == "lines":
        lines(tmp_path / "images/metadata.jsonl", *entries)
    else:
        text(tmp_path / "labels.json", KINDS if form == "map" else entries)
    data = read(tmp_path)
    assert (data.format, labels(data)) == ("json labels", KINDS)


def test_a_metadata_file_per_split(tmp_path):
    for split, names in (("train", NAMES[:4]), ("test", NAMES[4:])):
        images(tmp_path / split, names)
        entries = ({"file_name": f"{name}.jpg", "label": int(name[1]) % 2, "text": "a tree"} for name in names)
        lines(tmp_path / split / "metadata.jsonl", *entries)
    data = read(tmp_path)
    assert labels(data) == {f"p{i}.jpg": str(i % 2) for i in range(6)}
    assert sorted(splits(data).values()) == [0, 0, 0, 0, 2, 2]


def test_lists_of_labels(tmp_path):
    images(tmp_path / "images", NAMES)
    chosen = [["ash"], ["ash", "oak"], [], ["oak"], ["ash"], ["oak"]]
    text(tmp_path / "labels.json", [{"image": f"{n}.jpg", "labels": own or ["elm"]} for n, own in zip(NAMES, chosen)])
    data = read(tmp_path)
    assert (data.task, data.classes) == ("multilabel", ("ash", "elm", "oak"))
    assert data.targets.sum(0).tolist() == [3, 1, 3]


@pytest.mark.parametrize("listed", [True, False])
def test_boxes(tmp_path, listed):
    images(tmp_path / "train", NAMES)
    if listed:
        objects = [{"bbox": [4, 6, 20, 10], "category": "ash"}]
    else:
        objects = {"bbox": [[4, 6, 20, 10]], "categories": ["ash"]}
    entries = [{"file_name": f"{name}.jpg", "objects": objects if i else []} for i, name in enumerate(NAMES)]
    lines(tmp_path / "train/metadata.jsonl", *entries)
    data = read(tmp_path)
    assert data.format == "json boxes"
    assert boxes(data) == {f"{name}.jpg": [("ash", 4, 6, 24, 16)] if i else [] for i, name in enumerate(NAMES)}


def test_missing_images_and_broken_lines_are_named(tmp_path):
    names = [f"p{i}" for i in range(50)]
    images(tmp_path / "images", names)
    entries = [json.dumps({"file_name": f"{name}.jpg", "label": "ab"[i % 2]}) for i, name in enumerate(names)]
    entries[3] = entries[3][:-5]
    rows(tmp_path / "images/metadata.jsonl", *entries, json.dumps({"file_name": "gone.jpg", "label": "a"}))
    data = read(tmp_path)
    assert len(data) == 49
    assert [problem.where.split()[1:3] for problem in data.problems] == [["line", "4"], ["line", "51"]]


def test_a_split_without_its_images_is_named(tmp_path):
    for split, names in (("train", NAMES), ("val", ["q0", "q1"])):
        lines(tmp_path / split / "metadata.jsonl", *({"file_name": f"{n}.jpg", "label": n[1]} for n in names))
    images(tmp_path / "train", NAMES)
    assert "q0.jpg" in refused(tmp_path)
    assert len(read(tmp_path, on_bad="skip")) == 6


def test_json_of_other_things_is_no_list_of_labels(tmp_path):
    images(tmp_path / "images", NAMES)
    text(tmp_path / "captions.json", [{"image": f"{name}.jpg", "caption": "a tree"} for name in NAMES])
    assert "captions.json" in refused(tmp_path)
