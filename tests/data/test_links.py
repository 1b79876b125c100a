"""Links and paths in annotations do not lead out of the data folder without --follow-links."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from danlu.config import DataConfig
from danlu.data.dataset import Dataset
from danlu.data.formats import open_dataset
from danlu.refuse import Refusal

SECRET = (200, 10, 10)
IMAGES = 30


def draw(file: Path, colour: tuple[int, int, int] = (10, 60, 90)) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 20), colour).save(file, "PNG")
    return file


def read(path: Path, **settings: object) -> Dataset:
    return open_dataset(DataConfig(path=str(path), **settings))  # type: ignore[arg-type]


def inside(dataset: Dataset, root: Path) -> bool:
    return all(os.path.realpath(file).startswith(os.path.realpath(root) + os.sep) for file in dataset.inputs.paths)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    return draw(tmp_path / "elsewhere" / "secret.png", SECRET)


# --- formats whose annotations name images: (folder, names) -> writes annotations with a box or label for each name


def coco(folder: Path, names: list[str]) -> None:
    images = [{"id": k, "file_name": name, "width": 20, "height": 20} for k, name in enumerate(names)]
    boxes = [{"id": k, "image_id": k, "category_id": 1, "bbox": [2, 2, 9, 9]} for k in range(len(names))]
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "cell"}]}
    (folder / "boxes.json").write_text(json.dumps(content))


def voc(folder: Path, names: list[str]) -> None:
    for k, name in enumerate(names):
        box = "<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
        text = f"<annotation><filename>{name}</filename><object><name>cell</name>{box}</object></annotation>"
        (folder / f"entry{k}.xml").write_text(text)


def csv_images(folder: Path, names: list[str]) -> None:
    rows = [f"{name},{'ab'[k % 2]}" for k, name in enumerate(names)]
    (folder / "labels.csv").write_text("\n".join(["image,label", *rows]) + "\n")


def csv_boxes(folder: Path, names: list[str]) -> None:
    rows = [f"{name},2,2,9,9,cell" for name in names]
    (folder / "boxes.csv").write_text("\n".join(["image,x1,y1,x2,y2,label", *rows]) + "\n")


def via(folder: Path, names: list[str]) -> None:
    shape = {"name": "rect", "x": 2, "y": 2, "width": 9, "height": 9}
    regions = [{"shape_attributes": shape, "region_attributes": {"class": "cell"}}]
    content = {name: {"filename": name, "size": 1, "regions": regions, "file_attributes": {}} for name in names}
    (folder / "via_region_data.json").write_text(json.dumps(content))


def yolo_list(folder: Path, names: list[str]) -> None:
    (folder / "train.txt").write_text("".join(f"{name}\n" for name in names))
    (folder / "data.yaml").write_text("train: train.txt\nval: train.txt\nnames: [cell]\n")
    for name in names:
        label = (folder / name).with_suffix(".txt")
        if label.parent.is_dir() and len(label.name) < 200:
            label.write_text("0 0.5 0.5 0.4 0.4\n")


WRITERS = {"coco": coco, "voc": voc, "csv images": csv_images, "csv boxes": csv_boxes, "via": via, "yolo": yolo_list}
Writer = Callable[[Path, list[str]], None]


@pytest.mark.parametrize("named", ["../elsewhere/secret.png", "absolute", "sub/../../elsewhere/secret.png"])
@pytest.mark.parametrize("form", WRITERS)
def test_paths_in_annotations(form: str, named: str, secret: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    names = [draw(folder / f"{k}.png").name for k in range(IMAGES)]
    (folder / "sub").mkdir()
    named = str(secret) if named == "absolute" else named
    WRITERS[form](folder, [*names, named])
    data = read(folder)
    assert len(set(data.inputs.paths)) == IMAGES
    assert inside(data, folder)
    problems = [one for one in data.problems if "outside the data folder" in one.reason]
    assert problems
    assert named in problems[0].where
    assert "--follow-links" in problems[0].reason
    followed = read(folder, follow_links=True)
    assert os.path.realpath(secret) in {os.path.realpath(file) for file in followed.inputs.paths}


@pytest.mark.parametrize("form", WRITERS)
def test_only_paths_outside_are_refused_with_the_flag(form: str, secret: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    draw(folder / "own.png")
    names = [str(draw(secret.parent / f"{k}.png")) for k in range(6)]
    WRITERS[form](folder, names)
    with pytest.raises(Refusal, match="--follow-links"):
        read(folder)
    assert len(set(read(folder, follow_links=True).inputs.paths)) == 6


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("form", WRITERS)
def test_absolute_paths_inside_are_read(form: str, linked: bool, tmp_path: Path) -> None:
    """Also where the data folder is itself a link, and the paths are those behind it or through it."""
    folder = tmp_path / "real" / "set"
    names = [str(draw(folder / f"{k}.png")) for k in range(4)]
    WRITERS[form](folder, names)
    if linked:
        (tmp_path / "set").symlink_to(folder)
        folder = tmp_path / "set"
    data = read(folder)
    assert len(set(data.inputs.paths)) == 4
    assert not [one for one in data.problems if "outside" in one.reason]


@pytest.mark.parametrize("form", [*WRITERS, "folder"])
def test_one_long_name_or_loop_costs_one_entry(form: str, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    names = [str(draw(folder / "ab"[k % 2] / f"{k}.png").relative_to(folder)) for k in range(IMAGES)]
    (folder / "a" / "loop.png").symlink_to("loop.png")
    (folder / "a" / "self").symlink_to("self")
    os.mkfifo(folder / "a" / "pipe.png")
    if form != "folder":
        WRITERS[form](folder, [*names, "x" * 5000 + ".png"])
    data = read(folder)
    assert len(set(data.inputs.paths)) == IMAGES
    reasons = {one.where: one.reason for one in data.problems}
    assert reasons["a/loop.png"] == reasons["a/self"] == "a link that leads back to itself"
    assert reasons["a/pipe.png"] == "neither a file nor a folder"


def test_links_to_files(secret: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for k in range(IMAGES):
        draw(folder / "ab"[k % 2] / f"{k}.png")
    (folder / "a" / "in.png").symlink_to("../a/0.png")
    (folder / "a" / "out.png").symlink_to(secret)
    data = read(folder)
    assert len(data) == IMAGES + 1
    assert inside(data, folder)
    (problem,) = data.problems
    assert (problem.where, problem.done) == ("a/out.png", "skipped")
    assert str(secret) in problem.reason
    assert len(read(folder, follow_links=True)) == IMAGES + 2
    for k in range(9):
        (folder / "b" / f"out{k}.png").symlink_to(secret)
    with pytest.raises(Refusal, match=r"a/out.png is a link to .*--follow-links reads it \(and 9 more such links\)"):
        read(folder)
    assert len(read(folder, on_bad="skip")) == IMAGES + 1


def test_links_to_folders_and_annotations(secret: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for k in range(IMAGES):
        draw(folder / "ab"[k % 2] / f"{k}.png")
    (folder / "c").symlink_to(secret.parent)
    with pytest.raises(Refusal, match=r"c is a link to .*elsewhere, outside the data folder; --follow-links reads it"):
        read(folder)
    assert read(folder, on_bad="skip").classes == ("a", "b")
    assert read(folder, follow_links=True).classes == ("a", "b", "c")
    other = tmp_path / "boxes"
    coco(secret.parent, [draw(other / "1.png").name])
    (other / "boxes.json").symlink_to(secret.parent / "boxes.json")
    with pytest.raises(Refusal, match=r"boxes.json is a link .*--follow-links"):
        read(other)
    assert len(read(other, follow_links=True)) == 1


@pytest.mark.parametrize("on_bad", ["stop", "skip"])
def test_links_to_tables(on_bad: str, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "table.csv").write_text("size,label\n" + "".join(f"{k},{k % 2}\n" for k in range(40)))
    (tmp_path / "set" / "table.csv").symlink_to(tmp_path / "table.csv")
    with pytest.raises(Refusal, match=r"--follow-links|known format"):
        read(tmp_path / "set", on_bad=on_bad)
    assert len(read(tmp_path / "set", follow_links=True)) == 40


@pytest.mark.parametrize("key", ["train", "path"])
def test_folders_in_a_description(key: str, secret: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    draw(folder / "images" / "1.png")
    (secret.parent / "secret.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    lines = {"train": "../elsewhere"} if key == "train" else {"path": str(secret.parent.parent), "train": "elsewhere"}
    text = "".join(f"{k}: {v}\n" for k, v in lines.items())
    (folder / "data.yaml").write_text(f"{text}val: {lines['train']}\nnames: [cell]\n")
    for path in (folder, folder / "data.yaml"):
        with pytest.raises(Refusal, match=r"data.yaml: train must be inside the data folder .*--follow-links"):
            read(path)
        assert str(secret) in {os.path.realpath(file) for file in read(path, follow_links=True).inputs.paths}
