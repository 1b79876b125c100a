"""Layouts and quirks of YOLO, VOC, COCO and class folders: read as they are meant, or refused with the reason."""

import math

import pytest
from layout_files import boxes, image, images, labels, read, refused, rows, splits, text

from danlu.data.dataset import TEST

NAMES = [f"p{i}" for i in range(6)]
LINE = "0 0.5 0.5 0.25 0.5"  # of YOLO: (15, 7.5, 25, 22.5) of an image of 40 x 30
BOX = (15, 7.5, 25, 22.5)


def yolo(root, *lines):
    images(root / "images", NAMES)
    for name in NAMES:
        rows(root / f"labels/{name}.txt", *(lines or (LINE,)))
    rows(root / "classes.txt", "ant", "bee")


def coco(root, *objects, area=None):
    """objects: bbox as it is written, one on each image."""
    images(root / "images", NAMES[: len(objects)])
    listed = [{"id": i, "file_name": f"p{i}.jpg", "width": 40, "height": 30} for i in range(1, len(objects))]
    listed.insert(0, {"id": 99, "file_name": "p0.jpg", "width": 40, "height": 30})
    marks = [
        {"id": i + 1, "image_id": i or 99, "category_id": 1, "bbox": list(box), "area": area or box[2] * box[3]}
        for i, box in enumerate(objects)
    ]
    text(root / "a.json", {"images": listed, "annotations": marks, "categories": [{"id": 1, "name": "ant"}]})


def voc(path, body, size="<size><width>40</width><height>30</height></size>"):
    text(path, f"<annotation><filename>{path.stem}.jpg</filename>{size}{body}</annotation>")


def bounded(name, x1, y1, x2, y2):
    box = f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
    return f"<object><name>{name}</name><bndbox>{box}</bndbox></object>"


# --- files of systems ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["@eaDir/a.jpg", "$RECYCLE.BIN", "lost+found", "__pycache__", ".thumbnails"])
def test_folders_of_systems_are_no_data(tmp_path, folder):
    for kind in ("ant", "bee"):
        images(tmp_path / kind, [f"{kind}{i}" for i in range(3)])
        image(tmp_path / kind / folder / "thumb.jpg")
    image(tmp_path / folder / "thumb.jpg")
    data = read(tmp_path)
    assert (data.classes, len(data), list(data.problems)) == (("ant", "bee"), 6, [])


# --- class folders -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["unknown", "test", "images"])
def test_a_test_set_in_one_folder_of_no_class_is_for_prediction(tmp_path, folder):
    for kind in ("ant", "bee"):
        images(tmp_path / "train" / kind, [f"{kind}{i}" for i in range(3)])
    images(tmp_path / "test" / folder, ["x", "y"])
    data = read(tmp_path)
    assert (len(data), data.unlabelled) == (6, (TEST,))


def test_spelling_of_a_class_in_another_split_is_named(tmp_path):
    for split, kinds in (("train", ("Ant", "Bee")), ("val", ("ant", "bee"))):
        for kind in kinds:
            images(tmp_path / split / kind, [f"{split}{kind}{i}" for i in range(3)])
    assert "'Ant'" in refused(tmp_path)


def test_images_alone_are_no_class(tmp_path):
    images(tmp_path / "images", NAMES)
    assert "neither class folders" in refused(tmp_path)


def test_splits_listed_in_text_files(tmp_path):
    """Food-101: meta/train.txt and meta/test.txt with CLASS/NAME in each line."""
    for kind in ("soup", "rice"):
        images(tmp_path / "images" / kind, [f"{kind}{i}" for i in range(5)])
    for name, numbers in (("train", range(3)), ("test", range(3, 5))):
        rows(tmp_path / f"meta/{name}.txt", *(f"{kind}/{kind}{i}" for kind in ("soup", "rice") for i in numbers))
    data = read(tmp_path)
    assert splits(data) == {f"{kind}{i}.jpg": 2 * (i > 2) for kind in ("soup", "rice") for i in range(5)}
    assert any("meta/train.txt" in note for note in data.notes)


@pytest.mark.parametrize("folder", ["previews", "thumbs", "small"])
def test_copies_of_the_images_beside_the_data_are_no_class(tmp_path, folder):
    for split in ("train", "val"):
        for kind in ("ant", "bee"):
            names = [f"{split}{kind}{i}" for i in range(3)]
            images(tmp_path / "set/photos" / split / kind, names)
            images(tmp_path / folder, names)
    if folder == "small":  # a class may be called so
        assert "small/" in refused(tmp_path)
    else:
        data = read(tmp_path)
        assert (len(data), data.classes) == (12, ("ant", "bee"))
        assert any(f"{folder}/" in note for note in data.notes)


def test_images_of_a_list_that_are_missing_are_named(tmp_path):
    yolo(tmp_path)
    rows(tmp_path / "train.txt", *(f"images/{name}.jpg" for name in NAMES[:4]))
    rows(tmp_path / "val.txt", "images/p4.jpg", "images/p5.jpg", "images/gone.jpg")
    data = read(tmp_path)
    assert sorted(splits(data).values()) == [0, 0, 0, 0, 1, 1]
    assert any("gone.jpg" in problem.where for problem in data.problems)


def test_text_files_that_list_other_things_are_no_splits(tmp_path):
    for kind in ("soup", "rice"):
        images(tmp_path / kind, [f"{kind}{i}" for i in range(3)])
    rows(tmp_path / "train.txt", "lr 0.1", "epochs 3")
    rows(tmp_path / "test.txt", "accuracy 0.9")
    assert (read(tmp_path).given, len(read(tmp_path))) == (None, 6)


def test_annotations_are_named_before_missing_class_folders(tmp_path):
    for split in ("train", "val"):
        images(tmp_path / "images" / split, [f"{split}{i}" for i in range(4)])
        entries = [{"name": f"{split}{i}.jpg", "labels": [{"category": "car", "box2d": {}}]} for i in range(4)]
        text(tmp_path / f"labels/{split}_marks.json", entries)
    assert "_marks.json" in refused(tmp_path)


# --- YOLO ----------------------------------------------------------------------------------------------------------


def test_splits_of_yolo_listed_in_text_files(tmp_path):
    yolo(tmp_path)
    rows(tmp_path / "train.txt", *(f"./images/{name}.jpg" for name in NAMES[:4]))
    rows(tmp_path / "val.txt", *(f"./images/{name}.jpg" for name in NAMES[4:]))
    data = read(tmp_path)
    assert data.classes == ("ant", "bee")
    assert [splits(data)[f"{name}.jpg"] for name in NAMES] == [0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize("folders", [("images", "annotations"), ("train_images", "train_labels"), ("JPEGs", "boxes")])
def test_labels_in_a_folder_of_another_name(tmp_path, folders):
    images(tmp_path / folders[0], NAMES)
    for name in NAMES:
        rows(tmp_path / folders[1] / f"{name}.txt", LINE)
    data = read(tmp_path)
    assert (data.format, boxes(data)) == ("yolo", {f"{name}.jpg": [("0", *BOX)] for name in NAMES})


@pytest.mark.parametrize(
    "points", ["0.5 0.5 0.55 0.4 0.45 0.6", "0.5 0.5 2 0.55 0.4 1", "0.5 0.5 2 0.55 0.4 1 0 0 0 0.4 0.6 2"]
)
def test_keypoints_are_no_polygon(tmp_path, points):
    yolo(tmp_path, f"{LINE} {points}")
    data = read(tmp_path)
    assert boxes(data) == {f"{name}.jpg": [("ant", *BOX)] for name in NAMES}
    assert any("keypoints" in note for note in data.notes)


def test_polygons_of_one_length_stay_polygons(tmp_path):
    yolo(tmp_path, "0 0.2 0.2 0.6 0.1 0.8 0.5 0.5 0.9 0.1 0.6")
    assert boxes(read(tmp_path))["p0.jpg"] == [("ant", 4, 3, 32, 27)]


def test_class_numbers_from_1_are_refused(tmp_path):
    yolo(tmp_path, "1 0.5 0.5 0.25 0.5", "2 0.3 0.3 0.2 0.2")
    assert "0 to 1" in refused(tmp_path)
    assert "0 to 1" in refused(tmp_path, on_bad="skip")


def test_two_images_of_one_label_file_are_noted(tmp_path):
    yolo(tmp_path)
    image(tmp_path / "images/p0.png")
    data = read(tmp_path)
    assert len(data) == 7
    assert any("p0.jpg and p0.png" in note for note in data.notes)


def test_upper_case_endings_of_labels(tmp_path):
    yolo(tmp_path)
    for file in list((tmp_path / "labels").iterdir()):
        file.rename(file.with_suffix(".TXT"))
    assert boxes(read(tmp_path))["p3.jpg"] == [("ant", *BOX)]


def test_words_instead_of_class_numbers_are_refused(tmp_path):
    images(tmp_path / "images/train", NAMES)
    for name in NAMES:
        rows(tmp_path / f"labels/train/{name}.txt", "ant 4 6 24 16")
    assert ".txt files" in refused(tmp_path)


# --- COCO ----------------------------------------------------------------------------------------------------------


def test_corners_in_the_boxes_of_coco_by_the_area(tmp_path):
    coco(tmp_path, (2, 3, 12, 13), (4, 5, 14, 15), (6, 7, 16, 17), area=100)
    assert "x1, y1, x2, y2" in refused(tmp_path)
    assert len(read(tmp_path, on_bad="skip")) == 3


def test_corners_in_the_boxes_of_coco_by_their_images(tmp_path):
    coco(tmp_path, (15, 10, 35, 25), (20, 12, 38, 28), (18, 11, 30, 29))
    assert "x1, y1, x2, y2" in refused(tmp_path)


def test_boxes_that_only_reach_beyond_are_clipped(tmp_path):
    coco(tmp_path, (30, 20, 20, 9), (31, 21, 15, 8), (33, 20, 12, 12))
    assert boxes(read(tmp_path))["p0.jpg"] == [("ant", 30, 20, 40, 29)]


def test_fractions_in_the_boxes_of_coco(tmp_path):
    coco(tmp_path, (0.1, 0.2, 0.5, 0.5), (0.3, 0.3, 0.2, 0.4), (0.1, 0.1, 0.8, 0.8))
    assert "fractions" in refused(tmp_path)


# --- VOC -----------------------------------------------------------------------------------------------------------


def test_xml_without_an_extension(tmp_path):
    """Stanford Dogs: Annotation/BREED/NAME beside Images/BREED/NAME.jpg."""
    for kind in ("husky", "whippet"):
        for i in range(3):
            image(tmp_path / f"Images/{kind}/{kind}_{i}.jpg")
            voc(tmp_path / f"Annotation/{kind}/{kind}_{i}", bounded(kind, 3, 4, 20, 18))
    data = read(tmp_path)
    assert (data.format, data.classes) == ("voc", ("husky", "whippet"))
    assert boxes(data)["husky_1.jpg"] == [("husky", 2, 3, 20, 18)]
    assert labels(read(tmp_path, format="folder"))["whippet_2.jpg"] == "whippet"


def test_polygons_and_rotated_boxes_in_xml(tmp_path):
    points = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in ((4, 6), (24, 8), (20, 16)))
    turned = f"<cx>20</cx><cy>15</cy><w>10</w><h>6</h><angle>{math.pi / 2}</angle>"
    for name in "ab":
        image(tmp_path / f"Images/{name}.jpg")
        drawn = f"<object><name>ant</name><deleted>0</deleted><polygon>{points}</polygon></object>"
        gone = f"<object><name>bee</name><deleted>1</deleted><polygon>{points}</polygon></object>"
        voc(
            tmp_path / f"Annotations/{name}.xml",
            f"{drawn}{gone}<object><name>ship</name><robndbox>{turned}</robndbox></object>",
        )
    data = read(tmp_path)
    assert boxes(data)["a.jpg"] == [("ant", 4, 6, 24, 16), ("ship", 17, 10, 23, 20)]


def test_parts_of_an_object_are_no_objects(tmp_path):
    for name in "ab":
        image(tmp_path / f"JPEGImages/{name}.jpg")
        head = bounded("head", 5, 5, 9, 9).replace("object>", "part>")
        voc(
            tmp_path / f"Annotations/{name}.xml",
            bounded("person", 3, 4, 20, 18).replace("</object>", f"{head}</object>"),
        )
    assert boxes(read(tmp_path))["a.jpg"] == [("person", 2, 3, 20, 18)]
