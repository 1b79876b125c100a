"""Layouts of published sets and of annotation tools, one of each kind: read as they are meant, or refused by name."""

import json

import numpy as np
import pytest
from layout_files import HEIGHT, WIDTH, boxes, image, images, labels, read, refused, rows, splits, text
from PIL import Image, ImageFilter

from danlu.cli import main
from danlu.data.dataset import TEST, TRAIN, VAL

NAMES = [f"p{i}" for i in range(6)]
KINDS = ("ant", "bee")


def two_kinds(root, *names, count=4):
    """Images of two kinds, in folders of the given names."""
    for name in names:
        for kind in KINDS:
            images(root / name / kind, [f"{kind}{i}" for i in range(count)])


def frames(root, folder, count=4):
    """Images that are nearly the same, as the frames of a clip."""
    base = np.random.default_rng(len(str(folder))).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    (root / folder).mkdir(parents=True)
    for i in range(count):
        Image.fromarray(base + np.uint8(i)).save(root / folder / f"x{i}.png")


def mask(path, value=255, corners=False, mode="L"):
    """A mask of one square in the middle; corners: of all but it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[8:20, 10:30] = 1
    pixels = (pixels == 0) * np.uint8(value) if corners else pixels * np.uint8(value)
    Image.fromarray(pixels).convert(mode).save(path)


# --- folders that are no classes -----------------------------------------------------------------------------------


def test_kinds_within_kinds_are_no_clips(tmp_path):
    for folder in ("animals/cat", "animals/dog", "vehicles/car", "vehicles/truck"):
        frames(tmp_path, folder)
    assert "contain only folders (cat, dog)" in refused(tmp_path)


def test_classes_within_patients_are_named(tmp_path):
    two_kinds(tmp_path, "8863", "8864", "8865")
    assert "bring those of one name together" in refused(tmp_path)


def test_annotations_of_whole_folders_are_named(tmp_path):
    for name in ("MVI_1", "MVI_2"):
        images(tmp_path / "frames" / name, NAMES)
        text(tmp_path / f"xml/{name}.xml", f'<sequence name="{name}"><frame num="1"/></sequence>')
    assert "xml/MVI_1.xml annotates whole folders of images (MVI_1/)" in refused(tmp_path)


def test_a_table_of_folders_is_named(tmp_path):
    """MURA: a row for each study of a patient."""
    for k, kind in enumerate(("negative", "positive", "negative")):
        images(tmp_path / f"train/patient{k}/study1_{kind}", ["image1", "image2"])
    rows(tmp_path / "studies.csv", *(f"train/patient{k}/study1_{kind}/,{k % 2}" for k, kind in
                                    enumerate(("negative", "positive", "negative"))))  # fmt: skip
    assert "studies.csv annotates whole folders" in refused(tmp_path)


def test_names_of_classes_in_a_table_are_no_labels_of_folders(tmp_path):
    two_kinds(tmp_path, ".")
    rows(tmp_path / "classes.csv", "name,number", "ant,0", "bee,1")
    assert read(tmp_path).classes == KINDS


def test_pairs_of_images_are_no_classes(tmp_path):
    for name in NAMES:
        image(tmp_path / f"HR/{name}.png")
        image(tmp_path / f"LR/{name}x4.png")
    assert "'x4' behind them" in refused(tmp_path)
    assert read(tmp_path, format="folder").classes == ("HR", "LR")


def test_a_folder_of_figures_does_not_make_the_dataset_a_class(tmp_path):
    two_kinds(tmp_path, "dataset")
    image(tmp_path / "figures/plot.png")
    assert "dataset/ contain only folders" in refused(tmp_path)


def test_texts_with_a_word_before_the_name_of_their_image_are_named(tmp_path):
    images(tmp_path / "images", NAMES)
    for name in NAMES:
        rows(tmp_path / f"gt/gt_{name}.txt", "4,4,20,4,20,20,4,20,WORD")
    assert "gt/gt_p0.txt" in refused(tmp_path)


# --- masks ---------------------------------------------------------------------------------------------------------


def test_smoothed_masks_hold_no_classes(tmp_path):
    images(tmp_path / "images", NAMES)
    for name in NAMES:
        mask(tmp_path / f"masks/{name}.png")
        blurred = Image.open(tmp_path / f"masks/{name}.png").filter(ImageFilter.GaussianBlur(2))
        blurred.save(tmp_path / f"masks/{name}.png")
    assert "smoothed" in refused(tmp_path)
    assert "smoothed" in refused(tmp_path, "semantic")
    assert "smoothed" in refused(tmp_path, format="instance-masks")


@pytest.mark.parametrize("form", ["instance-masks", "label-masks", "binary-masks"])
def test_masks_named_unlike_their_images_say_so(tmp_path, form):
    images(tmp_path / "images", NAMES)
    for i in range(6):
        mask(tmp_path / f"masks/other{i}.png")
    assert "no mask with the name of an image" in refused(tmp_path, format=form)


def test_many_classes_are_not_called_smoothed(tmp_path):
    images(tmp_path / "images", NAMES)
    for name in NAMES:
        (tmp_path / "masks").mkdir(exist_ok=True)
        tiles = np.arange(12, dtype=np.uint8).reshape(3, 4).repeat(10, 0).repeat(10, 1) * 20
        Image.fromarray(tiles).save(tmp_path / f"masks/{name}.png")
    assert len(read(tmp_path, "semantic").classes) == 12


def test_two_folders_of_masks_are_ambiguous(tmp_path):
    """DRIVE: the vessels, and the field of view."""
    images(tmp_path / "images", NAMES)
    for name in NAMES:
        mask(tmp_path / f"mask/{name}.png")
        mask(tmp_path / f"1st_manual/{name}_manual1.png", 1)
    assert "1st_manual/" in refused(tmp_path)
    assert "1st_manual/" in refused(tmp_path, "semantic")
    assert len(read(tmp_path, format="instance-masks")) == 6


def test_masks_of_the_background_are_named(tmp_path):
    images(tmp_path / "images", NAMES)
    for name in NAMES:
        mask(tmp_path / f"masks/{name}.png", corners=True)
    assert "covers the corners" in refused(tmp_path)
    assert len(read(tmp_path, format="instance-masks")) == 6


def test_class_names_of_cvat_masks(tmp_path):
    rows(tmp_path / "labelmap.txt", "# label:color_rgb:parts:actions", "background:0,0,0::", "ant:250,50,83::")
    images(tmp_path / "JPEGImages", NAMES)
    for name in NAMES:
        mask(tmp_path / f"SegmentationClass/{name}.png", 1)
        pixels = np.array(Image.open(tmp_path / f"SegmentationClass/{name}.png"))[..., None]
        coloured = pixels * np.array([250, 50, 83], np.uint8)
        Image.fromarray(coloured).save(tmp_path / f"SegmentationClass/{name}.png")
    assert read(tmp_path, "semantic").classes == ("background", "ant")


# --- numbers and names ---------------------------------------------------------------------------------------------


def test_decimal_commas_of_a_column_of_labels(tmp_path):
    images(tmp_path / "houses", NAMES)
    rows(tmp_path / "houses.csv", "path;price;rooms", *(f"houses/p{i}.jpg;{100 + i},5;{i}" for i in range(6)))
    assert "houses.csv names images, but which of its columns" in refused(tmp_path)
    data = read(tmp_path, target="price")
    assert (data.task, data.targets.flatten().tolist()) == ("regress", [100.5 + i for i in range(6)])
    assert read(tmp_path, "multilabel", target="price").task == "multilabel"


@pytest.mark.parametrize("form", ["csv", "jsonl", "clear"])
def test_a_column_of_labels_is_chosen_on_the_command_line(tmp_path, capsys, form):
    """HAM10000: one of several columns is the label."""
    images(tmp_path / "data/train", NAMES)
    found = [{"file_name": f"p{i}.jpg", "dx": KINDS[i % 2], "sex": "fm"[i % 2]} for i in range(6)]
    if form == "clear":
        found = [{"file_name": one["file_name"], "label": one["sex"], "dx": one["dx"]} for one in found]
    if form == "jsonl":
        rows(tmp_path / "data/train/metadata.jsonl", *map(json.dumps, found))
    else:
        rows(tmp_path / "data/train/meta.csv", ",".join(found[0]), *(",".join(one.values()) for one in found))
    out = ["--out", str(tmp_path / "sheet.png")]
    assert main(["data", str(tmp_path / "data"), "--target", "dx", "--json", *out]) == 0
    assert list(json.loads(capsys.readouterr().out)["classes"]) == list(KINDS)
    assert main(["data", str(tmp_path / "data"), "--target", "dy", "--json", *out]) == 2
    said = capsys.readouterr().err
    assert "dx" in said or "--target KEY names it" in said


def test_numbers_of_a_table_name_images_with_zeros(tmp_path):
    images(tmp_path / "train", [f"{i:05}" for i in range(1, 9)])
    rows(tmp_path / "train.csv", "id,label", *(f"{i},{KINDS[i % 2]}" for i in range(1, 9)))
    data = read(tmp_path)
    assert labels(data) == {f"{i:05}.jpg": KINDS[i % 2] for i in range(1, 9)}
    assert any("zeros" in note for note in data.notes)


def test_an_exact_name_is_preferred_to_one_with_zeros(tmp_path):
    images(tmp_path / "train", [*(f"{i}" for i in range(1, 7)), *(f"{i:03}" for i in range(1, 7))])
    rows(tmp_path / "train.csv", "id,label", *(f"{i},{KINDS[i % 2]}" for i in range(1, 7)))
    assert labels(read(tmp_path)) == {f"{i}.jpg": KINDS[i % 2] for i in range(1, 7)}


def test_splits_of_a_table_in_lists_beside_it(tmp_path):
    images(tmp_path / "images", NAMES)
    rows(tmp_path / "labels.csv", "image,label", *(f"p{i}.jpg,{KINDS[i % 2]}" for i in range(6)))
    rows(tmp_path / "train_val_list.txt", *(f"p{i}.jpg" for i in range(4)))
    rows(tmp_path / "test_list.txt", "p4.jpg", "p5.jpg")
    assert splits(read(tmp_path)) == {f"p{i}.jpg": TRAIN if i < 4 else TEST for i in range(6)}


def test_attributes_and_partition_of_celeba(tmp_path):
    images(tmp_path / "img_align_celeba", NAMES)
    signs = [(1, -1), (-1, 1), (1, 1), (-1, -1), (1, -1), (-1, 1)]
    rows(tmp_path / "list_attr_celeba.txt", "6", "Male Smiling", *(f"p{i}.jpg {a:2} {b:2}" for i, (a, b) in
                                                                  enumerate(signs)))  # fmt: skip
    rows(tmp_path / "list_eval_partition.txt", *(f"p{i}.jpg {max(0, i - 3)}" for i in range(6)))
    rows(tmp_path / "list_landmarks.txt", "6", "eye_x eye_y", *(f"p{i}.jpg 1 2" for i in range(6)))
    data = read(tmp_path)
    assert (data.task, data.classes) == ("multilabel", ("Male", "Smiling"))
    assert data.targets.tolist() == [[float(a > 0), float(b > 0)] for a, b in signs]
    assert data.given.tolist() == [TRAIN, TRAIN, TRAIN, TRAIN, VAL, TEST]


# --- boxes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_bad", [None, "skip"])
def test_boxes_in_pixels_where_fractions_are_expected(tmp_path, on_bad):
    images(tmp_path / "images", NAMES)
    for name in NAMES:
        rows(tmp_path / f"labels/{name}.txt", "0 5 5 25 20")
    rows(tmp_path / "data.yaml", "train: images", "names: [ant, bee]")
    found = {} if on_bad is None else {"on_bad": on_bad}
    assert "pixels instead of fractions" in refused(tmp_path, **found)


def test_lines_of_a_box_with_semicolons(tmp_path):
    """GTSDB: gt.txt beside the images."""
    images(tmp_path, NAMES, ".ppm")
    rows(tmp_path / "gt.txt", *(f"p{i}.ppm;4;5;24;20;{7 + i % 2}" for i in range(6)))
    assert boxes(read(tmp_path)) == {f"p{i}.ppm": [(str(7 + i % 2), 4, 5, 24, 20)] for i in range(6)}


def test_the_task_chooses_between_two_ways_to_read(tmp_path):
    """GTSRB: a folder per class, in each a csv of the box of each image."""
    for kind in KINDS:
        images(tmp_path / kind, [f"{kind}{i}" for i in range(6)])
        rows(tmp_path / f"{kind}/GT-{kind}.csv", "Filename;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId",
             *(f"{kind}{i}.jpg;4;5;24;20;{kind}" for i in range(6)))  # fmt: skip
    assert (read(tmp_path).task, read(tmp_path).classes) == ("detect", KINDS)
    data = read(tmp_path, "classify")
    assert labels(data) == {f"{kind}{i}.jpg": kind for kind in KINDS for i in range(6)}


# --- json ----------------------------------------------------------------------------------------------------------


def coco_of_labels(root, split, pairs):
    """pairs: of an image and the number of its category."""
    listed = [{"id": i, "file_name": f"{split}/{name}.jpg"} for i, (name, _) in enumerate(pairs)]
    marks = [{"id": i, "image_id": i, "category_id": k} for i, (_, k) in enumerate(pairs)]
    kinds = [{"id": k, "name": kind} for k, kind in enumerate(KINDS)]
    text(root / f"{split}.json", {"images": listed, "annotations": marks, "categories": kinds})


def test_coco_json_of_labels(tmp_path):
    """iNaturalist: a json file for each split, with a category for each image."""
    for split in ("train", "val"):
        images(tmp_path / split, [f"{split}{i}" for i in range(6)])
        coco_of_labels(tmp_path, split, [(f"{split}{i}", i % 2) for i in range(6)])
    data = read(tmp_path)
    assert data.format == "coco labels"
    assert (data.task, sorted(data.given.tolist())) == ("classify", [TRAIN] * 6 + [VAL] * 6)
    assert labels(data) == {f"{split}{i}.jpg": KINDS[i % 2] for split in ("train", "val") for i in range(6)}


def test_coco_json_of_several_labels_and_faults(tmp_path):
    """Camera traps: several annotations of an image; one of an unknown category, one of an unknown image."""
    images(tmp_path / "train", [f"p{i}" for i in range(50)])
    coco_of_labels(tmp_path, "train", [(f"p{i}", i % 2) for i in range(50)])
    content = json.loads((tmp_path / "train.json").read_text())
    content["annotations"] += [{"id": 90, "image_id": 0, "category_id": 1}, {"id": 91, "image_id": 1,
                                "category_id": 7}, {"id": 92, "image_id": 77, "category_id": 1}]  # fmt: skip
    text(tmp_path / "train.json", content)
    data = read(tmp_path)
    assert (data.task, data.targets[0].tolist(), data.targets[1].tolist()) == ("multilabel", [1, 1], [0, 1])
    assert {"category_id 7" in p.reason or "image_id 77" in p.reason for p in data.problems} == {True}


def test_json_of_an_unknown_form_that_names_images_without_endings(tmp_path):
    images(tmp_path / "data", NAMES)
    text(tmp_path / "labels.json", {"classes": KINDS, "labels": {name: [{"label": 0}] for name in NAMES}})
    assert "labels.json may hold the labels of the 6 images" in refused(tmp_path)


def test_settings_with_keys_of_coco_are_no_annotations(tmp_path):
    two_kinds(tmp_path, ".")
    text(tmp_path / "config.json", {"images": 3, "annotations": "none"})
    assert read(tmp_path).classes == KINDS


# --- containers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("train/data.mdb", "LMDB"),
        ("train-00000-of-00004", "TensorFlow"),
        ("ant/drawing.svg", "vector"),
        ("ant/pages.pdf", "document"),
        ("train_X.bin", "raw numbers"),
    ],
)
def test_containers_are_named(tmp_path, name, what):
    text(tmp_path / name, "0" * 300)
    assert what in refused(tmp_path)
