"""Layouts, names and values of real datasets: each is read correctly or refused with a reason."""

import json
import unicodedata
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from danlu.config import DataConfig
from danlu.data.formats import open_dataset
from danlu.data.split import split_dataset
from danlu.refuse import Refusal

WIDTH, HEIGHT = 48, 32


def image(path, size=(WIDTH, HEIGHT), seed=None, **save):
    """A noise image of (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32(path.name.encode()) if seed is None else seed)
    Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)).save(path, **save)


def grey(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def text(path, content, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((content if isinstance(content, str) else json.dumps(content)).encode(encoding))


def coco(path, names, annotations, **other):
    images = [{"id": i, "file_name": name, "width": WIDTH, "height": HEIGHT} for i, name in names]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    text(path, {"images": images, "annotations": annotations, "categories": categories} | other)


def annotation(number, image_id, category=1, bbox=(4, 4, 20, 10), **other):
    row = {"id": number, "image_id": image_id, "category_id": category, "bbox": list(bbox), "area": 200, "iscrowd": 0}
    return row | other


def voc(path, filename, *objects):
    """objects: (class, xmin, ymin, xmax, ymax)."""
    body = "".join(
        f"<object><name>{n}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for n, a, b, c, d in objects
    )
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    text(path, f"<annotation><filename>{filename}</filename>{size}{body}</annotation>")


def yolo(root, parts=("train", "val"), count=6, line="0 0.5 0.5 0.25 0.5\n", names="[cat, dog]"):
    for part in parts:
        for i in range(count):
            image(root / "images" / part / f"{part}{i}.jpg")
            text(root / "labels" / part / f"{part}{i}.txt", line)
    text(root / "data.yaml", "".join(f"{part}: images/{part}\n" for part in parts) + f"names: {names}\n")


def read(path, task=None, **config):
    return open_dataset(DataConfig(path=str(path), **config), task)


def refusal_of(path, task=None, **config):
    """The sentence with which the data is refused; the test fails where it is not."""
    try:
        found = read(path, task, **config)
    except Refusal as refused:
        return str(refused)
    raise AssertionError(f"read as {found.format} {found.classes}, {len(found)} samples")


def boxes(data):
    """Image -> [(class, x1, y1, x2, y2)], rounded to a tenth of a pixel."""
    return {
        data.name_of(i): [
            (data.classes[k], *(round(v, 1) for v in box)) for k, box in zip(one.labels.tolist(), one.boxes.tolist())
        ]
        for i, one in enumerate(data.targets)
    }


def count(data):
    return sum(map(len, data.targets))


NFC, NFD = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
MAC = "\0\5\x16\7Mac OS X"
SQUARE = [4, 4, 24, 4, 24, 14, 4, 14]


def two(root, *annotations, **other):
    for name in "ab":
        image(root / f"images/{name}.jpg")
    coco(root / "annotations.json", [(1, "a.jpg"), (2, "b.jpg")], list(annotations), **other)


# --- VOC -----------------------------------------------------------------------------------------------------------


def test_files_of_macos_are_not_read(tmp_path):
    for i in range(4):
        image(tmp_path / f"JPEGImages/p{i}.jpg")
        text(tmp_path / f"JPEGImages/._p{i}.jpg", MAC)
        voc(tmp_path / f"Annotations/p{i}.xml", f"p{i}.jpg", ("cat", 2, 2, 20, 20))
        text(tmp_path / f"Annotations/._p{i}.xml", MAC)
    data = read(tmp_path)
    assert (data.format, len(data), data.problems) == ("voc", 4, [])


def test_sets_below_a_voc_set_are_left_out_and_noted(tmp_path):
    for place in ("", "copy/"):
        image(tmp_path / f"{place}JPEGImages/a.jpg")
        voc(tmp_path / f"{place}Annotations/a.xml", "a.jpg", ("cat", 2, 2, 20, 20))
    data = read(tmp_path)
    assert len(data) == 1
    assert any("copy/" in note for note in data.notes)


def test_oxford_pets_layout(tmp_path):
    for i in range(8):
        name = f"{'Abyssinian' if i < 4 else 'beagle'}_{i}"
        image(tmp_path / f"images/{name}.jpg")
        voc(tmp_path / f"annotations/xmls/{name}.xml", f"{name}.jpg", ("cat" if i < 4 else "dog", 4, 4, 20, 20))
        grey(tmp_path / f"annotations/trimaps/{name}.png", np.random.default_rng(i).integers(1, 4, (32, 48), np.uint8))
    text(tmp_path / "annotations/list.txt", "Abyssinian_0 1 1 1\n")
    data = read(tmp_path)
    assert (data.format, count(data), data.classes) == ("voc", 8, ("cat", "dog"))


def test_voc_lists_with_extensions_and_windows_line_ends(tmp_path):
    for name in "abc":
        image(tmp_path / f"JPEGImages/{name}.jpg")
        voc(tmp_path / f"Annotations/{name}.xml", f"{name}.jpg", ("cat", 2, 2, 20, 20))
    text(tmp_path / "ImageSets/Main/train.txt", "a.jpg\r\nb.jpg\r\n")
    text(tmp_path / "ImageSets/Main/val.txt", "c.jpg\r\n")
    assert sorted(read(tmp_path).given.tolist()) == [0, 0, 1]


def test_double_extension_of_xml(tmp_path):
    for name in ("first.last-1", "first.last-2"):
        image(tmp_path / f"{name}.jpg")
        voc(tmp_path / f"{name}.xml.xml", f"{name}.jpg", ("cat", 2, 2, 20, 20))
    assert count(read(tmp_path)) == 2


def test_filename_without_extension_and_two_spellings_of_a_class(tmp_path):
    for name, label in (("a", "Cat"), ("b", "cat"), ("c", " cat ")):
        image(tmp_path / f"images/{name}.jpg")
        voc(tmp_path / f"annotations/{name}.xml", name, (label, 2, 2, 20, 20))
    data = read(tmp_path)
    assert (len(data), data.classes) == (3, ("Cat", "cat"))
    assert any("'Cat' and 'cat'" in note for note in data.notes)


def test_equal_names_in_subfolders_keep_their_own_annotation(tmp_path):
    for k, camera in enumerate(("cam1", "cam2")):
        for i in range(2):
            image(tmp_path / f"JPEGImages/{camera}/{i}.jpg", seed=i + 10 * k)
            voc(tmp_path / f"Annotations/{camera}/{i}.xml", f"{camera}/{i}.jpg", ("cat", 2 + k, 2, 20, 20))
    found = boxes(read(tmp_path))
    assert found["JPEGImages/cam1/0.jpg"] == [("cat", 1, 1, 20, 20)]
    assert found["JPEGImages/cam2/0.jpg"] == [("cat", 2, 1, 20, 20)]


def test_an_ambiguous_name_is_named_and_not_chosen(tmp_path):
    for i in range(30):
        image(tmp_path / f"images/{i}.jpg")
        voc(tmp_path / f"xml/{i}.xml", f"{i}.jpg", ("cat", 2, 2, 20, 20))
    image(tmp_path / "more/7.jpg", seed=1)
    data = read(tmp_path)
    assert len(data) == 29
    assert ["ambiguous" in problem.reason for problem in data.problems] == [True]


# --- COCO ----------------------------------------------------------------------------------------------------------


def test_box_is_computed_from_the_polygon(tmp_path):
    row = annotation(2, 2, segmentation=[SQUARE])
    del row["bbox"]
    two(tmp_path, annotation(1, 1), row)
    assert boxes(read(tmp_path))["images/b.jpg"] == [("cat", 4, 4, 24, 14)]


def test_one_empty_box_costs_itself_only(tmp_path):
    rows = [annotation(i + 1, i + 1) for i in range(20)]
    rows[3]["bbox"] = []
    for i in range(20):
        image(tmp_path / f"images/{i}.jpg")
    coco(tmp_path / "annotations.json", [(i + 1, f"{i}.jpg") for i in range(20)], rows)
    for on_bad in ("stop", "skip"):
        data = read(tmp_path, on_bad=on_bad)
        assert (len(data), count(data)) == (20, 19)
        assert "annotation 4" in data.problems[0].where


def test_polygon_without_outer_list(tmp_path):
    two(tmp_path, annotation(1, 1, segmentation=[SQUARE]), annotation(2, 2, segmentation=SQUARE))
    data = read(tmp_path, "segment")
    assert [one.ignore.tolist() for one in data.targets] == [[False], [False]]


def test_degenerate_polygon_is_dropped(tmp_path):
    two(tmp_path, annotation(1, 1, segmentation=[SQUARE]), annotation(2, 2, segmentation=[[30, 20, 31, 21], SQUARE]))
    data = read(tmp_path, "segment")
    assert [one.ignore.tolist() for one in data.targets] == [[False], [False]]
    assert "fewer than three corners" in data.problems[0].reason


def test_a_polygon_of_one_point_is_ignored(tmp_path):
    two(tmp_path, annotation(1, 1, segmentation=[SQUARE]), annotation(2, 2, segmentation=[[4, 4]]))
    assert [one.ignore.tolist() for one in read(tmp_path, "segment").targets] == [[False], [True]]


def test_a_file_of_all_images_beside_files_of_splits(tmp_path):
    for i in range(9):
        image(tmp_path / f"images/{i}.jpg")
    names, rows = [(i + 1, f"{i}.jpg") for i in range(9)], [annotation(i + 1, i + 1) for i in range(9)]
    for name, part in (("all", slice(0, 9)), ("train", slice(0, 6)), ("val", slice(6, 9))):
        coco(tmp_path / f"annotations/instances_{name}.json", names[part], rows[part])
    data = read(tmp_path)
    assert data.given.tolist() == [0] * 6 + [1] * 3
    assert any("instances_all.json is not read" in note for note in data.notes)


def test_an_image_turned_by_exif_is_named(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    image(tmp_path / "images/a.jpg", exif=exif)
    image(tmp_path / "images/b.jpg")
    coco(tmp_path / "annotations.json", [(1, "a.jpg"), (2, "b.jpg")], [annotation(1, 1), annotation(2, 2)])
    data = read(tmp_path)
    assert list(boxes(data)) == ["images/b.jpg"]
    assert any("turned" in problem.reason for problem in data.problems)


@pytest.mark.parametrize("category", ["1", 1.0, "1.0"])
def test_category_ids_of_another_type(tmp_path, category):
    two(tmp_path, annotation(1, 1, category), annotation(2, 2, 2))
    assert boxes(read(tmp_path)) == {"images/a.jpg": [("cat", 4, 4, 24, 14)], "images/b.jpg": [("dog", 4, 4, 24, 14)]}


def test_one_file_given_twice_is_named(tmp_path):
    for name in "ab":
        image(tmp_path / f"images/{name}.jpg")
    rows = [annotation(1, 1), annotation(2, 2, 2, (0, 0, 5, 5)), annotation(3, 3)]
    coco(tmp_path / "annotations.json", [(1, "a.jpg"), (2, "a.jpg"), (3, "b.jpg")], rows)
    data = read(tmp_path)
    assert any("twice" in problem.reason for problem in data.problems)
    assert len(boxes(data)["images/a.jpg"]) == 2


@pytest.mark.parametrize("value", ["0", 0.0, False, None, "false"])
def test_iscrowd_of_any_type(tmp_path, value):
    two(tmp_path, annotation(1, 1, iscrowd=value), annotation(2, 2, iscrowd="1"))
    assert [one.ignore.tolist() for one in read(tmp_path).targets] == [[False], [True]]


@pytest.mark.parametrize("name", ["sem_defects.json", "stuff_to_sort.json", "labels.json"])
def test_the_content_of_a_json_file_counts_not_its_name(tmp_path, name):
    two(tmp_path, annotation(1, 1), annotation(2, 2))
    (tmp_path / "annotations.json").rename(tmp_path / name)
    assert count(read(tmp_path)) == 2


def test_names_of_another_unicode_form(tmp_path):
    image(tmp_path / f"images/{NFD}.jpg")
    image(tmp_path / "images/b.jpg")
    coco(tmp_path / "annotations.json", [(1, f"{NFC}.jpg"), (2, "b.jpg")], [annotation(1, 1), annotation(2, 2)])
    assert count(read(tmp_path)) == 2


def test_names_of_another_case_or_extension(tmp_path):
    image(tmp_path / "images/IMG_a.JPG", format="JPEG")
    image(tmp_path / "images/b.jpg")
    coco(tmp_path / "annotations.json", [(1, "img_A.jpg"), (2, "b.png")], [annotation(1, 1), annotation(2, 2)])
    data = read(tmp_path)
    assert count(data) == 2
    assert any("2 images were found under a name with another case" in note for note in data.notes)


def test_windows_paths_of_another_machine(tmp_path):
    for part in ("left", "right"):
        image(tmp_path / f"images/{part}/0.jpg")
    names = [(1, "D:\\work\\images\\left\\0.jpg"), (2, "D:\\work\\images\\right\\0.jpg")]
    coco(tmp_path / "annotations.json", names, [annotation(1, 1), annotation(2, 2, 2)])
    assert {name: rows[0][0] for name, rows in boxes(read(tmp_path)).items()} == {
        "images/left/0.jpg": "cat",
        "images/right/0.jpg": "dog",
    }


# --- YOLO ----------------------------------------------------------------------------------------------------------


def test_byte_order_mark_and_windows_line_ends(tmp_path):
    for i in range(4):
        image(tmp_path / f"a/images/{i}.jpg")
        text(tmp_path / f"a/labels/{i}.txt", "\ufeff0 0.5 0.5 0.25 0.5\r\n")
    text(tmp_path / "a/classes.txt", "\ufeffcat\r\ndog\r\n")
    assert read(tmp_path / "a").classes == ("cat", "dog")
    yolo(tmp_path / "b")
    text(tmp_path / "b/data.yaml", "\ufeffnames: [cat, dog]\r\ntrain: images/train\r\nval: images/val\r\n")
    data = read(tmp_path / "b")
    assert (data.classes, data.given.tolist()) == (("cat", "dog"), [0] * 6 + [1] * 6)


@pytest.mark.parametrize("names", [("on", "off"), ("001", "010"), ("None", "NA"), ("12:30", "1e3"), ("yes", "null")])
def test_class_names_stay_as_written(tmp_path, names):
    yolo(tmp_path, names=f"[{', '.join(names)}]")
    assert read(tmp_path).classes == names


def test_a_split_without_labels_is_for_prediction(tmp_path):
    yolo(tmp_path)
    for i in range(6):
        image(tmp_path / f"images/test/test{i}.jpg")
    for file in ("train: images/train\nval: images/val\ntest: images/test\nnames: [cat, dog]\n", None):
        text(tmp_path / "data.yaml", file) if file else (tmp_path / "data.yaml").unlink()
        data = read(tmp_path)
        assert (len(data), data.given.tolist()) == (12, [0] * 6 + [1] * 6)
        assert any("test split" in note for note in data.notes)
        assert len(split_dataset(data, DataConfig(), 0).test) == 0  # no other test set is cut in its place


def test_nested_folders_without_data_yaml(tmp_path):
    for k, kind in enumerate(("cats", "dogs")):
        for i in range(2):
            image(tmp_path / f"images/train/{kind}/{i}.jpg", seed=10 * k + i)
            text(tmp_path / f"labels/train/{kind}/{i}.txt", f"{k} 0.5 0.5 0.25 0.5\n")
    found = {name: rows[0][0] for name, rows in boxes(read(tmp_path)).items()}
    assert found == {
        f"images/train/{kind}/{i}.jpg": str(k) for k, kind in enumerate(("cats", "dogs")) for i in range(2)
    }


@pytest.mark.parametrize("given", [True, False])
def test_darknet(tmp_path, given):
    for i in range(6):
        image(tmp_path / f"obj_train_data/{i}.jpg")
        text(tmp_path / f"obj_train_data/{i}.txt", f"{i % 2} 0.5 0.5 0.25 0.5\n")
    text(tmp_path / "obj.names", "cat\ndog\n")
    if given:
        text(tmp_path / "obj.data", "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n")
        text(tmp_path / "train.txt", "".join(f"data/obj_train_data/{i}.jpg\n" for i in range(6)))
    data = read(tmp_path)
    assert (data.format, data.classes, len(data), count(data)) == ("yolo", ("cat", "dog"), 6, 6)


def test_a_sixth_number_is_refused_by_its_count(tmp_path):
    yolo(tmp_path, line="0 0.5 0.5 0.25 0.5 0.87\n")
    assert "6 numbers" in refusal_of(tmp_path)


def test_boxes_barely_outside_are_clipped(tmp_path):
    yolo(tmp_path, line="0 0.51 0.5 1.0021 1.0004\n")
    data = read(tmp_path)
    assert count(data) == 12
    assert data.targets[0].boxes.max() <= 48


def test_labels_of_another_unicode_form(tmp_path):
    yolo(tmp_path)
    image(tmp_path / f"images/train/{NFD}.jpg")
    text(tmp_path / f"labels/train/{NFC}.txt", "1 0.5 0.5 0.25 0.5\n")
    assert count(read(tmp_path)) == 13


# --- folders -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "test"),
    [("seg_train/seg_train", "seg_test/seg_test"), ("training_set", "test_set"), ("Train2017", "Val2017"),
     ("set/train", "set/valid"), ("trainset", "testset"), ("train_images", "test_images")],
)  # fmt: skip
def test_split_names_as_people_write_them(tmp_path, train, test):
    for part in (train, test):
        for kind in ("forest", "sea"):
            for i in range(4):
                image(tmp_path / f"{part}/{kind}/{kind}{i}.jpg")
    data = read(tmp_path)
    assert (data.classes, len(data.given.unique())) == (("forest", "sea"), 2)


def test_a_class_called_train_is_a_class(tmp_path):
    for kind in ("bus", "car", "train"):
        for i in range(4):
            image(tmp_path / f"{kind}/{kind}{i}.jpg")
    assert read(tmp_path).classes == ("bus", "car", "train")


def test_classes_of_face_masks_are_classes(tmp_path):
    for kind in ("with_mask", "without_mask"):
        for i in range(6):
            image(tmp_path / f"{kind}/{i}.jpg", seed=i)
    assert read(tmp_path).classes == ("with_mask", "without_mask")


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("images", "labels"),
        ("image", "mask"),
        ("photos", "drawn"),
        ("images/train", "masks/train"),
        ("JPEGImages", "gt"),
    ],
)
def test_masks_are_no_class(tmp_path, images, masks):
    for i in range(8):
        image(tmp_path / images / f"{i}.png", (32, 32), seed=i)
        pixels = np.zeros((32, 32), np.uint8)
        pixels[4:12, 4:12], pixels[18:28, 18:28] = 1, 2
        grey(tmp_path / masks / f"{i}.png", pixels)
    assert "mask" in refusal_of(tmp_path)


def test_images_with_unknown_annotations_are_no_classes(tmp_path):
    for part in ("one", "more"):
        for i in range(4):
            image(tmp_path / f"{part}/{part}{i}.jpg")
            text(tmp_path / f"{part}/{part}{i}.json", {"thing": [1, 2]})
    assert "8 .json files" in refusal_of(tmp_path)
    assert read(tmp_path, format="folder").classes == ("more", "one")


def test_a_level_too_high_is_named(tmp_path):
    for place in ("berlin", "paris"):
        for kind in ("cat", "dog"):
            for i in range(3):
                image(tmp_path / f"{place}/{kind}/{i}.jpg", seed=i)
    assert "contain only folders" in refusal_of(tmp_path)


def test_loose_images_are_noted(tmp_path):
    for kind in ("cat", "dog"):
        for i in range(4):
            image(tmp_path / f"{kind}/{kind}{i}.jpg")
    for i in range(5):
        image(tmp_path / f"loose{i}.jpg")
    assert any("5 images outside the class folders" in note for note in read(tmp_path).notes)


def test_a_flat_test_folder_is_for_prediction(tmp_path):
    for kind in ("cat", "dog"):
        for i in range(5):
            image(tmp_path / f"train/{kind}/{kind}{i}.jpg")
    for i in range(5):
        image(tmp_path / f"test/{i}.jpg")
    data = read(tmp_path)
    assert len(data) == 10
    assert any("test/" in note for note in data.notes)


@pytest.mark.parametrize("readable", [6, 0])
def test_images_that_need_a_package_are_named(tmp_path, readable):
    for kind in ("cat", "dog"):
        for i in range(readable):
            image(tmp_path / f"{kind}/{kind}{i}.jpg")
        for i in range(6):
            text(tmp_path / f"{kind}/IMG_{i}.HEIC", "\0\0\0\x18ftypheic" + kind * 50)
    assert "HEIC" in refusal_of(tmp_path)


def test_files_of_file_managers_are_not_read(tmp_path):
    for kind in ("cat", "dog"):
        for i in range(4):
            image(tmp_path / f"{kind}/{kind}{i}.jpg")
            text(tmp_path / f"{kind}/._{kind}{i}.jpg", MAC)
        for junk in (".DS_Store", "Thumbs.db", "desktop.ini"):
            text(tmp_path / f"{kind}/{junk}", "junk")
        image(tmp_path / f".ipynb_checkpoints/{kind}0.jpg")
        text(tmp_path / f"__MACOSX/{kind}/._{kind}0.jpg", "junk")
    data = read(tmp_path)
    assert (len(data), data.classes, list(data.problems)) == (8, ("cat", "dog"), [])


def test_an_image_of_too_many_pixels_is_named(tmp_path):
    for kind in ("a", "b"):
        for i in range(12):
            image(tmp_path / f"{kind}/{i}.png", (16, 16))
    Image.new("1", (13500, 13500)).save(tmp_path / "a/slide.png")
    assert ["too many pixels" in problem.reason for problem in read(tmp_path).problems] == [True]


# --- masks ---------------------------------------------------------------------------------------------------------


def test_a_folder_of_masks_per_image(tmp_path):
    for i in range(6):
        image(tmp_path / f"id{i}/images/id{i}.png", (32, 32), seed=i)
        for k in range(3):
            pixels = np.zeros((32, 32), np.uint8)
            pixels[8 * k + 2 : 8 * k + 8, 4:12] = 255
            grey(tmp_path / f"id{i}/masks/{i}m{k}.png", pixels)
    data = read(tmp_path)
    assert (data.format, data.task, len(data), count(data)) == ("object masks", "segment", 6, 18)
    assert data.targets[0].boxes.tolist() == [[4, 2, 12, 8], [4, 10, 12, 16], [4, 18, 12, 24]]


def test_binary_masks_are_split_on_request_only(tmp_path):
    for i in range(8):
        image(tmp_path / f"images/{i}.png", (32, 32), seed=i)
        pixels = np.zeros((32, 32), np.uint8)
        for k in range(3):
            pixels[10 * k + 2 : 10 * k + 8, 4 + 8 * k : 10 + 8 * k] = 255
        grey(tmp_path / f"masks/{i}.png", pixels)
    assert "--format binary-masks" in refusal_of(tmp_path)
    assert count(read(tmp_path, format="binary-masks")) == 24
    assert count(read(tmp_path, format="instance-masks")) == 8


def test_instances_with_the_classes_of_another_mask(tmp_path):
    for i in range(6):
        image(tmp_path / f"JPEGImages/{i}.jpg", (32, 32))
        objects, kinds = np.zeros((32, 32), np.uint8), np.zeros((32, 32), np.uint8)
        objects[2:12, 2:12], kinds[2:12, 2:12] = 1, 2
        objects[16:28, 16:28], kinds[16:28, 16:28] = 2, 1
        grey(tmp_path / f"SegmentationObject/{i}.png", objects)
        grey(tmp_path / f"SegmentationClass/{i}.png", kinds)
    text(tmp_path / "class_names.txt", "_background_\naeroplane\nbus\n")
    data = read(tmp_path)
    assert (data.format, data.classes) == ("instance masks", ("aeroplane", "bus"))
    assert data.targets[0].labels.tolist() == [1, 0]


# --- csv -----------------------------------------------------------------------------------------------------------


def test_integers_of_a_column_called_label_are_classes(tmp_path):
    text(tmp_path / "t.csv", "a,label\n" + "".join(f"{i * 0.37:.3f},{i % 3}\n" for i in range(45)))
    assert (read(tmp_path / "t.csv").task, read(tmp_path / "t.csv").classes) == ("classify", ("0", "1", "2"))


@pytest.mark.parametrize("names", [("001", "010"), ("None", "NA"), ("12:30", "on")])
def test_labels_of_a_table_stay_as_written(tmp_path, names):
    text(tmp_path / "t.csv", "a,b,label\n" + "".join(f"{i},{i % 7},{names[i % 2]}\n" for i in range(60)))
    assert read(tmp_path / "t.csv").classes == tuple(sorted(names))


def test_category_named_na_is_not_missing(tmp_path):
    text(
        tmp_path / "t.csv",
        "region,b,label\n" + "".join(f"{('NA', 'EU')[i % 2]},{i},{'xy'[i % 2]}\n" for i in range(60)),
    )
    assert set(read(tmp_path / "t.csv").inputs["region"]) == {"NA", "EU"}


def test_na_among_numbers_is_a_gap(tmp_path):
    text(tmp_path / "t.csv", "a,b,label\n" + "".join(f"{'NA' if i == 3 else i},{i},{'xy'[i % 2]}\n" for i in range(60)))
    assert read(tmp_path / "t.csv").inputs["a"].isna().sum() == 1


@pytest.mark.parametrize("suffix", [".jpg", ""])
def test_csv_of_images_and_labels(tmp_path, suffix):
    rows = []
    for i in range(12):
        image(tmp_path / f"train_images/x{i}.jpg")
        image(tmp_path / f"test_images/y{i}.jpg")
        rows.append(f"x{i}{suffix},{i % 3}\n")
    text(tmp_path / "train.csv", "image_id,label\n" + "".join(rows))
    text(tmp_path / "sample_submission.csv", "image_id,label\n" + "".join(f"y{i}{suffix},0\n" for i in range(12)))
    data = read(tmp_path)
    assert (data.format, data.task, len(data), data.classes) == ("csv images", "classify", 12, ("0", "1", "2"))
    assert all(data.classes[int(data.targets[i])] == str(int(p.stem[1:]) % 3) for i, p in enumerate(data.inputs.paths))


def test_csv_of_boxes(tmp_path):
    rows = []
    for i in range(6):
        image(tmp_path / f"images/{i}.jpg")
        rows.append(f"{i}.jpg,48,32,{('cat', 'dog')[i % 2]},2,3,20,13\n")
    text(tmp_path / "labels.csv", "filename,width,height,class,xmin,ymin,xmax,ymax\n" + "".join(rows))
    data = read(tmp_path)
    assert (data.format, data.classes, count(data)) == ("csv boxes", ("cat", "dog"), 6)
    assert boxes(data)["images/1.jpg"] == [("dog", 2, 3, 20, 13)]
    assert boxes(read(tmp_path / "labels.csv"))["images/1.jpg"] == [("dog", 2, 3, 20, 13)]


def test_csv_with_one_column_of_boxes(tmp_path):
    for i in range(4):
        image(tmp_path / f"train/{i}.jpg")
    text(
        tmp_path / "train.csv",
        "image_id,width,height,bbox,source\n" + "".join(f'{i},48,32,"[2.0, 3.0, 18.0, 10.0]",x\n' for i in range(4)),
    )
    data = read(tmp_path)
    assert (data.format, data.classes) == ("csv boxes", ("object",))
    assert boxes(data)["train/0.jpg"] == [("object", 2, 3, 20, 13)]


def test_open_images_csv(tmp_path):
    rows = ""
    for i in range(4):
        image(tmp_path / f"train/{i:04x}.jpg")
        rows += f"{i:04x},xclick,/m/01g317,1,0.25,0.75,0.5,0.75,0,0,{i % 2},0,0\n"
    head = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
    text(tmp_path / "train-annotations-bbox.csv", head + rows)
    text(tmp_path / "class-descriptions-boxable.csv", "/m/01g317,Person\n/m/04yx4,Man\n")
    data = read(tmp_path)
    assert (data.format, data.classes) == ("csv boxes", ("Person",))
    assert boxes(data)["train/0000.jpg"] == [("Person", 12, 16, 36, 24)]
    assert [one.ignore.item() for one in data.targets] == [False, True, False, True]


def test_several_labels_per_image_are_told_from_one_class_each(tmp_path):
    for part in ("train", "valid"):
        for i in range(4):
            image(tmp_path / f"{part}/{part}{i}.jpg")
        text(
            tmp_path / f"{part}/_classes.csv",
            "filename, cat, dog\n" + "".join(f"{part}{i}.jpg, 1, {i % 2}\n" for i in range(4)),
        )
    data = read(tmp_path)
    assert (data.task, data.targets.tolist()) == ("multilabel", [[1, 0], [1, 1]] * 4)
    for part in ("train", "valid"):
        text(
            tmp_path / f"{part}/_classes.csv",
            "filename, cat, dog\n" + "".join(f"{part}{i}.jpg, {1 - i % 2}, {i % 2}\n" for i in range(4)),
        )
    data = read(tmp_path)
    assert (data.task, data.classes, data.given.tolist()) == ("classify", ("cat", "dog"), [0] * 4 + [1] * 4)


# --- recognition ---------------------------------------------------------------------------------------------------


def test_an_archive_is_refused_with_the_command_to_unpack_it(tmp_path):
    yolo(tmp_path / "set")
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as packed:
        for file in sorted((tmp_path / "set").rglob("*")):
            packed.write(file, file.relative_to(tmp_path / "set"))
    assert "unzip" in refusal_of(tmp_path / "export.zip")


def test_ambiguous_formats_are_refused_without_format_flag(tmp_path):
    yolo(tmp_path)
    for part in ("train", "val"):
        for i in range(6):
            voc(tmp_path / f"Annotations/{part}{i}.xml", f"{part}{i}.jpg", ("cat", 2, 2, 20, 20))
    said = refusal_of(tmp_path)
    assert "--format voc" in said
    assert "--format yolo" in said
    assert read(tmp_path, format="yolo").format == "yolo"
    assert read(tmp_path, format="VOC").format == "voc"
    assert "did you mean 'voc'" in refusal_of(tmp_path, format="vocs")


def test_a_csv_written_out_of_xml_files_is_noted(tmp_path):
    rows = ""
    for i in range(6):
        image(tmp_path / f"images/{i}.jpg")
        voc(tmp_path / f"annotations/{i}.xml", f"{i}.jpg", ("cat", 2, 2, 20, 20))
        rows += f"{i}.jpg,48,32,cat,2,2,20,20\n"
    text(tmp_path / "data/labels.csv", "filename,width,height,class,xmin,ymin,xmax,ymax\n" + rows)
    data = read(tmp_path)
    assert data.format == "voc"
    assert any("--format csv-boxes" in note for note in data.notes)


def test_a_level_too_low_names_the_folder_above(tmp_path):
    yolo(tmp_path)
    assert str(tmp_path) in refusal_of(tmp_path / "images/train")


# --- pixels --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [(1000, 1100), (32668, 32868)])
def test_a_narrow_range_of_16_bits_is_spread(tmp_path, values):
    from danlu.data.inputs import image_inputs

    for kind, value in zip("ab", values):
        for i in range(4):
            grey(tmp_path / kind / f"{i}.png", np.full((16, 16), value + i, np.uint16))
    data = read(tmp_path)
    assert any("16-bit" in note for note in data.notes)
    pixels = image_inputs(data, size=8, colour="grey").source.float().mean((1, 2, 3))
    assert abs(pixels[0] - pixels[-1]) > 200
    low = read(tmp_path, window=(0.0, 65535.0))
    assert low.inputs.window == (0, 65535)


def test_float_images_are_read_with_one_range(tmp_path):
    for kind, mean in (("a", -300), ("b", 300)):
        for i in range(6):
            grey(tmp_path / kind / f"{i}.tif", np.random.default_rng(i).normal(mean, 100, (16, 16)).astype(np.float32))
    data = read(tmp_path)
    assert len(data) == 12
    low, high = data.inputs.window
    assert -700 < low < -400
    assert 400 < high < 700
