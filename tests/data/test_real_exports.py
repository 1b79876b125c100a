"""Shapes of real exports and public sets, rebuilt small: what tools write beside the annotations must not mislead."""

import json

import numpy as np
import pytest
from PIL import Image

from danlu.config import DataConfig
from danlu.data.formats import open_dataset
from danlu.refuse import Refusal


def image(path, seed, size=(40, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)).save(path)


def text(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def read(root, **config):
    return open_dataset(DataConfig(path=str(root), **config))


def refusal(root):
    with pytest.raises(Refusal) as caught:
        read(root)
    return str(caught.value)


def labelme(path, *shapes, name=None):
    own = name or f"{path.stem}.jpg"
    text(path, {"version": "5.4.1", "shapes": list(shapes), "imagePath": own, "imageData": None})


def rectangle(label, x1=2, y1=3, x2=20, y2=18):
    return {"label": label, "points": [[x1, y1], [x2, y2]], "shape_type": "rectangle", "group_id": None}


def voc_object(name):
    return f"<object><name>{name}</name><bndbox><xmin>3</xmin><ymin>4</ymin><xmax>20</xmax><ymax>18</ymax></bndbox></object>"


def test_drawings_of_labelme2voc_are_not_taken_for_the_images(tmp_path):
    for i in range(3):
        image(tmp_path / f"JPEGImages/{i}.jpg", i)
        image(tmp_path / f"AnnotationsVisualization/{i}.jpg", 50 + i)
        xml = f"<annotation><filename>{i}.jpg</filename>{voc_object('cat')}</annotation>"
        text(tmp_path / f"Annotations/{i}.xml", xml)
    data = read(tmp_path)
    assert [path.parent.name for path in data.inputs.paths] == ["JPEGImages"] * 3
    assert any("AnnotationsVisualization" in note for note in data.notes)


def test_labelme_regions_to_ignore_are_no_class(tmp_path):
    for i in range(2):
        image(tmp_path / f"{i}.jpg", i)
        labelme(tmp_path / f"{i}.json", rectangle("cat"), rectangle("__ignore__", 5, 5, 30, 25))
    data = read(tmp_path)
    assert data.classes == ("cat",)
    assert any("__ignore__" in note for note in data.notes)


def test_labelme_in_two_folders_with_equal_names_keeps_each_beside_its_image(tmp_path):
    for k, folder in enumerate(("images", "more")):
        for i in range(3):
            image(tmp_path / folder / f"{i}.jpg", 10 * k + i)
            labelme(tmp_path / folder / f"{i}.json", rectangle(f"{folder}{i}"))
    data = read(tmp_path)
    assert data.format == "labelme"
    named = {data.name_of(i).replace("\\", "/"): data.classes[int(one.labels[0])] for i, one in enumerate(data.targets)}
    assert named == {f"{folder}/{i}.jpg": f"{folder}{i}" for folder in ("images", "more") for i in range(3)}


@pytest.mark.parametrize("folders", [("train", "Test"), ("batch1", "batch2")])
def test_labelme_files_of_a_folder_beside_the_images_keep_to_their_own_folder(tmp_path, folders):
    for k, folder in enumerate(folders):
        for i in range(25):
            if (k, i) != (1, 7):
                image(tmp_path / folder / "images" / f"{i}.jpg", 25 * k + i)
            labelme(tmp_path / folder / "json" / f"{i}.json", rectangle(f"c{k}"), name=f"..\\images\\{i}.jpg")
    data = read(tmp_path)
    for i, one in enumerate(data.targets):
        folder = data.name_of(i).replace("\\", "/").split("/")[0]
        assert [data.classes[k] for k in one.labels.tolist()] == [f"c{folders.index(folder)}"]
    assert (len(data), len(data.problems)) == (49, 1)
    assert "missing image" in data.problems[0].reason


def test_two_xml_files_of_one_image_are_named(tmp_path):
    for folder in ("a", "b"):
        for i in range(30):
            body = voc_object(folder)
            xml = f"<annotation><filename>{i}.jpg</filename>{body}</annotation>"
            text(tmp_path / folder / "Annotations" / f"{i}.xml", xml)
            if (folder, i) != ("b", 3):
                image(tmp_path / folder / "JPEGImages" / f"{i}.jpg", i + 100 * (folder == "b"))
    data = read(tmp_path)
    assert [len(one) for one in data.targets] == [1] * 59
    assert ["3.xml" in problem.where for problem in data.problems] == [True]


def test_a_cut_labelme_file_is_named(tmp_path):
    for i in range(30):
        image(tmp_path / f"{i}.jpg", i)
        labelme(tmp_path / f"{i}.json", rectangle("cat"))
    file = tmp_path / "7.json"
    file.write_text(file.read_text()[:60])
    data = read(tmp_path)
    assert len(data) == 29
    assert [problem.where for problem in data.problems] == ["7.json"]


def test_oriented_boxes_beside_a_data_yaml(tmp_path):
    """Roboflow's oriented boxes: DOTA's lines in labelTxt/, and a data.yaml."""
    for split in ("train", "valid"):
        for i in range(2):
            image(tmp_path / split / f"images/{split}{i}.jpg", i + 10 * len(split))
            text(tmp_path / split / f"labelTxt/{split}{i}.txt", "4 6 20 6 20 18 4 18 cat 0\n")
    text(tmp_path / "data.yaml", "train: train/images\nval: valid/images\nnc: 1\nnames: ['cat']\n")
    data = read(tmp_path)
    assert data.format == "dota"
    assert data.targets[0].boxes.tolist() == [[4, 6, 20, 18]]
    assert data.given.tolist() == [0, 0, 1, 1]


def test_csv_of_boxes_without_its_images_is_no_table(tmp_path):
    rows = "".join(f"{i}.jpg,40,30,{'cat' if i % 2 else 'dog'},2,3,20,18\n" for i in range(30))
    text(tmp_path / "labels.csv", "filename,width,height,class,xmin,ymin,xmax,ymax\n" + rows)
    assert "names images" in refusal(tmp_path)


def test_csv_per_split_beside_folders_of_equal_names(tmp_path):
    for k, split in enumerate(("train", "test")):
        for i in range(4):
            image(tmp_path / split / f"{i}.jpg", 10 * k + i)
        rows = "".join(f"{i}.jpg,{'ab'[(i + k) % 2]}\n" for i in range(4))
        text(tmp_path / f"{split}.csv", "filename,label\n" + rows)
    data = read(tmp_path)
    found = {data.name_of(i): (data.classes[k], int(data.given[i])) for i, k in enumerate(data.targets.tolist())}
    assert found == {
        f"{split}/{i}.jpg": ("ab"[(i + k) % 2], 2 * k) for k, split in enumerate(("train", "test")) for i in range(4)
    }


@pytest.mark.parametrize("missing", ["csv", "coco"])
def test_an_image_of_another_split_does_not_stand_in_for_a_missing_one(tmp_path, missing):
    for k, split in enumerate(("train", "test")):
        for i in range(4):
            if (split, i) != ("train", 0):
                image(tmp_path / split / f"{i}.jpg", 10 * k + i)
        names = [f"{i}.jpg" for i in range(4)]
        if missing == "csv":
            text(
                tmp_path / split / "labels.csv",
                "filename,label\n" + "".join(f"{n},{'ab'[int(n[0]) % 2]}\n" for n in names),
            )
        else:
            images = [{"id": i, "file_name": f"/home/me/{n}", "width": 40, "height": 30} for i, n in enumerate(names)]
            rows = [{"id": i + 1, "image_id": i, "category_id": 1, "bbox": [2, 3, 9, 9]} for i in range(4)]
            content = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "cat"}]}
            text(tmp_path / f"annotations/{split}.json", content)
    data = read(tmp_path, on_bad="skip")
    assert data.given.tolist().count(0) == 3
    assert data.given.tolist().count(2) == 4
    assert any("0.jpg" in f"{p.where} {p.reason}" for p in data.problems)


def test_lists_of_labels_that_no_reader_knows_are_named(tmp_path):
    """CelebA: folders of images, and their labels in text files."""
    for folder in ("a", "b"):
        for i in range(4):
            image(tmp_path / folder / f"{folder}{i}.jpg", i)
    text(tmp_path / "identity.txt", "".join(f"{k}{i}.jpg {i % 3}\n" for k in "ab" for i in range(4)))
    assert "identity.txt" in refusal(tmp_path)
    assert read(tmp_path, format="folder").classes == ("a", "b")


@pytest.mark.parametrize("folders", [("HR", "LR"), ("DepthLeft", "RGBLeft")])
def test_folders_of_one_scene_are_no_classes(tmp_path, folders):
    for k, folder in enumerate(folders):
        for i in range(3):
            image(tmp_path / folder / f"{i}.jpg", 10 * k + i)
    assert "same file names" in refusal(tmp_path)


def test_split_folders_beside_another_are_no_classes(tmp_path):
    """Market-1501: bounding_box_train/, bounding_box_test/ and query/, with the identity in each file's name."""
    for k, folder in enumerate(("bounding_box_train", "bounding_box_test", "query")):
        for i in range(3):
            image(tmp_path / folder / f"{k}{i}.jpg", 10 * k + i)
    assert "neither class folders" in refusal(tmp_path)


def test_an_annotation_file_that_is_cut_does_not_make_classes_of_its_folders(tmp_path):
    for folder in ("images", "previews"):
        for i in range(3):
            image(tmp_path / folder / f"{folder[0]}{i}.jpg", i)
    tasks = [{"id": i, "data": {"image": f"/data/upload/i{i}.jpg"}, "annotations": []} for i in range(3)]
    text(tmp_path / "export.json", json.dumps(tasks)[:-20])
    assert "export.json" in refusal(tmp_path)
