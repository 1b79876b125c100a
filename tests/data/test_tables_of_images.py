"""Tables and lists that name images: separators, encodings, missing headers, columns of splits, forms of boxes."""

import pytest
from layout_files import boxes, image, images, labels, read, refused, rows, splits

NAMES = [f"p{i}" for i in range(6)]
KINDS = {f"{name}.jpg": ("ash", "oak")[i % 2] for i, name in enumerate(NAMES)}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_separators_and_encodings(tmp_path, separator, encoding):
    images(tmp_path / "bilder", NAMES)
    lines = [separator.join((f'"{name}"', kind.replace("oak", "Öl"))) for name, kind in KINDS.items()]
    rows(tmp_path / "labels.csv", separator.join(("filename", "label")), *lines, encoding=encoding)
    assert labels(read(tmp_path)) == {name: kind.replace("oak", "Öl") for name, kind in KINDS.items()}


def test_a_table_without_header_keeps_its_first_row(tmp_path):
    images(tmp_path / "photos", NAMES)
    rows(tmp_path / "labels.csv", *(f"photos/{name},{kind}" for name, kind in KINDS.items()))
    assert labels(read(tmp_path)) == KINDS


def test_index_column_of_pandas(tmp_path):
    images(tmp_path / "photos", NAMES)
    rows(tmp_path / "labels.csv", ",filename,label", *(f"{i},{n},{k}" for i, (n, k) in enumerate(KINDS.items())))
    assert labels(read(tmp_path)) == KINDS


@pytest.mark.parametrize("column", ["split", "set", "data set", "Subset"])
def test_column_of_splits(tmp_path, column):
    images(tmp_path / "photos", NAMES)
    parts = ["train", "train", "train", "valid", "valid", "test"]
    lines = [f"{name},{kind},{part}" for (name, kind), part in zip(KINDS.items(), parts)]
    rows(tmp_path / "all.csv", f"filename,label,{column}", *lines)
    data = read(tmp_path)
    assert labels(data) == KINDS
    assert splits(data) == dict(zip(KINDS, (0, 0, 0, 1, 1, 2)))


def test_column_of_splits_of_boxes(tmp_path):
    images(tmp_path / "photos", NAMES)
    lines = [f"{name}.jpg,ant,1,2,21,12,{'TRAIN' if i < 4 else 'TEST'}" for i, name in enumerate(NAMES)]
    rows(tmp_path / "boxes.csv", "filename,class,xmin,ymin,xmax,ymax,partition", *lines)
    data = read(tmp_path)
    assert boxes(data)["p5.jpg"] == [("ant", 1, 2, 21, 12)]
    assert sorted(splits(data).values()) == [0, 0, 0, 0, 2, 2]


@pytest.mark.parametrize(
    ("columns", "numbers"),
    [
        ("xmin,ymin,xmax,ymax", (4, 6, 24, 16)),
        ("x_min,x_max,y_min,y_max", (4, 24, 6, 16)),
        ("Roi.X1,Roi.Y1,Roi.X2,Roi.Y2", (4, 6, 24, 16)),
        ("left,top,width,height", (4, 6, 20, 10)),
        ("bbox_x,bbox_y,bbox_width,bbox_height", (4, 6, 20, 10)),
        ("bbox_x1,bbox_y1,bbox_x2,bbox_y2", (4, 6, 24, 16)),
        ("x_center,y_center,width,height", (14, 11, 20, 10)),
        ("cx,cy,w,h", (14, 11, 20, 10)),
    ],
)
def test_forms_of_boxes(tmp_path, columns, numbers):
    images(tmp_path / "photos", NAMES)
    values = ",".join(map(str, numbers))
    rows(tmp_path / "boxes.csv", f"filename,class,{columns}", *(f"{name}.jpg,ant,{values}" for name in NAMES))
    assert boxes(read(tmp_path)) == {f"{name}.jpg": [("ant", 4, 6, 24, 16)] for name in NAMES}


def test_boxes_in_an_unknown_form_are_no_labels(tmp_path):
    images(tmp_path / "photos", NAMES)
    lines = [f"{name},{kind},4,6,45" for name, kind in KINDS.items()]
    rows(tmp_path / "marks.csv", "filename,class,x,y,angle", *lines)
    assert "xmin, ymin, xmax, ymax" in refused(tmp_path)


def test_a_table_without_a_column_of_labels_asks_for_it(tmp_path):
    images(tmp_path / "images", NAMES)
    rows(
        tmp_path / "faces.csv", "filename,age,camera", *(f"{name}.jpg,{i % 3},c{i % 2}" for i, name in enumerate(NAMES))
    )
    assert "--target" in refused(tmp_path)
    data = read(tmp_path, format="csv-images", target="camera")
    assert data.classes == ("c0", "c1")


def test_a_table_of_properties_beside_class_folders_is_not_the_labels(tmp_path):
    for kind in ("ash", "oak"):
        images(tmp_path / kind, [f"{kind}{i}" for i in range(3)])
    lines = [f"{kind}{i}.jpg,{i},40" for kind in ("ash", "oak") for i in range(3)]
    rows(tmp_path / "info.csv", "filename,exposure,iso", *lines)
    assert (read(tmp_path).format, len(read(tmp_path))) == ("folder", 6)


def test_a_damaged_row_does_not_hide_a_file_of_boxes_without_header(tmp_path):
    for split, first in (("train", "p0.jpg,nan,4,9,9,bee"), ("test", "p6.jpg,4,5,20,19,bee")):
        images(tmp_path / split, [f"p{i}" for i in (range(6) if split == "train" else (6,))])
        more = [f"p{i}.jpg,4,5,20,19,ant" for i in range(1, 6)] if split == "train" else []
        rows(tmp_path / f"{split}.csv", first, *more)
    data = read(tmp_path)
    assert (data.format, data.classes, len(data)) == ("csv boxes", ("ant", "bee"), 7)
    assert "no four numbers" in data.problems[0].reason


def test_a_table_of_another_kind_that_names_images_is_named(tmp_path):
    images(tmp_path / "train", [f"p{i}" for i in range(4)])
    rows(tmp_path / "train.csv", "image,xmin,ymin,xmax,ymax,class", *(f"p{i}.jpg,4,5,20,19,ant" for i in range(4)))
    rows(tmp_path / "more.csv", "image,a,b,c", *(f"p{i}.jpg,4,5,x" for i in range(4)))
    data = read(tmp_path)
    assert ["more.csv" in problem.where for problem in data.problems] == [True]


def test_names_without_ending_that_fit_two_folders_are_ambiguous(tmp_path):
    for folder in ("images", "small"):
        images(tmp_path / folder, [f"{i}" for i in range(6)])
    rows(tmp_path / "labels.csv", "image,category", *(f"{i},c{i % 2}" for i in range(6)))
    assert "ambiguous" in refused(tmp_path)
    (tmp_path / "labels.csv").unlink()
    assert "small/ holds the names" in refused(tmp_path)


def test_boxes_without_header_by_keras_retinanet(tmp_path):
    images(tmp_path / "photos", NAMES)
    rows(
        tmp_path / "annotations.csv", *(f"photos/{name}.jpg,4,6,24,16,ant" for name in NAMES[:5]), "photos/p5.jpg,,,,,"
    )
    data = read(tmp_path)
    assert boxes(data) == {f"{name}.jpg": [("ant", 4, 6, 24, 16)] for name in NAMES[:5]} | {"p5.jpg": []}


def test_boxes_of_google_automl(tmp_path):
    images(tmp_path / "photos", NAMES)
    lines = [
        f"{('TRAIN', 'TEST')[i > 3]},gs://bucket/photos/{name}.jpg,ant,0.1,0.2,,,0.6,0.5,,"
        for i, name in enumerate(NAMES)
    ]
    rows(tmp_path / "import.csv", *lines)
    data = read(tmp_path)
    assert boxes(data)["p0.jpg"] == [("ant", 4, 6, 24, 15)]
    assert sorted(splits(data).values()) == [0, 0, 0, 0, 2, 2]


def test_true_and_false_in_the_column_of_a_class(tmp_path):
    images(tmp_path / "photos", NAMES)
    lines = [f"{name}.jpg,{i % 2 == 0},{i % 3 == 0}" for i, name in enumerate(NAMES)]
    rows(tmp_path / "tags.csv", "filename,ant,bee", *lines)
    data = read(tmp_path)
    assert data.targets.tolist() == [[i % 2 == 0, i % 3 == 0] for i in range(6)]


def test_attributes_of_minus_one_and_one(tmp_path):
    """CelebA's list_attr_celeba.csv."""
    images(tmp_path / "photos", NAMES)
    lines = [f"{name}.jpg,{1 if i % 2 else -1},{1 if i % 3 else -1}" for i, name in enumerate(NAMES)]
    rows(tmp_path / "list_attr.csv", "image_id,Smiling,Young", *lines)
    assert read(tmp_path).targets.tolist() == [[bool(i % 2), bool(i % 3)] for i in range(6)]


@pytest.mark.parametrize("separator", [" ", "\t", ","])
def test_text_lists_of_images_and_labels(tmp_path, separator):
    images(tmp_path / "photos", NAMES)
    lines = [f"photos/{name}{separator}{i % 2}" for i, name in enumerate(KINDS)]
    rows(tmp_path / "train_list.txt", *lines[:4])
    rows(tmp_path / "val_list.txt", *lines[4:])
    data = read(tmp_path)
    assert labels(data) == {name: str(i % 2) for i, name in enumerate(KINDS)}
    assert sorted(splits(data).values()) == [0, 0, 0, 0, 1, 1]
    rows(tmp_path / "classes.txt", "ash", "oak")
    assert labels(read(tmp_path)) == KINDS


def test_numbers_in_a_list_get_the_names_of_the_folders(tmp_path):
    for i, (name, kind) in enumerate(KINDS.items()):
        image(tmp_path / "train" / kind / name)
        KINDS[name] = kind
        assert i % 2 == ("ash", "oak").index(kind)
    rows(tmp_path / "train.txt", *(f"train/{kind}/{name} {('ash', 'oak').index(kind)}" for name, kind in KINDS.items()))
    data = read(tmp_path)
    assert (data.format, labels(data)) == ("csv images", KINDS)


def test_boxes_in_the_lines_of_a_text_file(tmp_path):
    """Keras-YOLO's lists, as Roboflow exports them."""
    for part, names in (("train", NAMES[:4]), ("valid", NAMES[4:])):
        images(tmp_path / part, names)
        rows(tmp_path / part / "_annotations.txt", *(f"{name}.jpg 4,6,24,16,0 1,2,9,8,1" for name in names))
        rows(tmp_path / part / "_classes.txt", "ant", "bee")
    data = read(tmp_path)
    assert boxes(data) == {f"{name}.jpg": [("ant", 4, 6, 24, 16), ("bee", 1, 2, 9, 8)] for name in NAMES}
    assert sorted(splits(data).values()) == [0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize("columns", ["filename,label", "filename,xmin,ymin,xmax,ymax,label"])
def test_a_table_without_any_of_its_images_is_named(tmp_path, columns):
    images(tmp_path / "train", NAMES)
    box = ",4,6,24,16" if "xmin" in columns else ""
    rows(tmp_path / "train.csv", columns, *(f"{name}{box},{kind}" for name, kind in KINDS.items()))
    rows(tmp_path / "val.csv", columns, f"gone.jpg{box},oak")
    data = read(tmp_path)
    assert len(data) == 6
    assert any("gone.jpg" in problem.where for problem in data.problems)
