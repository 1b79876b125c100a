"""Layouts of published sets and tools that were once misread: read as they are, or refused with the reason."""

import json
import os
import struct
import unicodedata
import zipfile

import numpy as np
import pytest
from layout_files import boxes, image, images, labels, read, refused, rows, splits, text
from PIL import Image

from danlu.data.dataset import TEST, TRAIN, VAL

BOX = "4,4,24,14"


def masks(folder, names, suffix=".png", values=(1, 2), tail=""):
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((30, 40), np.uint8)
    pixels[4:12, 4:14], pixels[18:28, 20:38] = values
    for name in names:
        Image.fromarray(pixels).save(folder / f"{name}{tail}{suffix}")


def voc(path, name, label, head="", encoding="utf-8"):
    box = "<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>24</xmax><ymax>14</ymax></bndbox>"
    text(path, f"{head}<annotation><filename>{name}</filename><object><name>{label}</name>{box}</object></annotation>",
         encoding)  # fmt: skip


def coco(path, names):
    entries = [{"id": i, "file_name": name} for i, name in enumerate(names, 1)]
    objects = [{"id": i, "image_id": i, "category_id": 1, "bbox": [4, 4, 20, 10]} for i in range(1, len(names) + 1)]
    text(path, {"images": entries, "annotations": objects, "categories": [{"id": 1, "name": "cat"}]})


# --- new formats ---------------------------------------------------------------------------------------------------


@pytest.fixture
def aircraft(tmp_path):
    """FGVC-Aircraft: three variants of two manufacturers, one image of each in each split."""
    variants = [("707-320", "Boeing"), ("A300B4", "Airbus"), ("747 SP", "Boeing")]
    for split, first in (("train", 0), ("val", 3), ("test", 6)):
        for level in (0, 1):
            lines = [f"{1000000 + first + i} {names[level]}" for i, names in enumerate(variants)]
            rows(tmp_path / f"data/images_{('variant', 'manufacturer')[level]}_{split}.txt", *lines)
            if split == "train":
                rows(tmp_path / f"data/images_{('variant', 'manufacturer')[level]}_trainval.txt", *lines)
        images(tmp_path / "data/images", [f"{1000000 + first + i}" for i in range(3)])
    rows(tmp_path / "data/variants.txt", *(one for one, _ in variants))
    rows(tmp_path / "data/images_box.txt", *(f"{1000000 + i} 4 4 24 14" for i in range(9)))
    return tmp_path


def test_fgvc_aircraft(aircraft):
    data = read(aircraft)
    assert (data.format, len(data), data.classes) == ("fgvc aircraft", 9, ("707-320", "747 SP", "A300B4"))
    assert labels(data)["1000002.jpg"] == "747 SP"
    assert {name: splits(data)[f"100000{name}.jpg"] for name in (0, 3, 8)} == {0: TRAIN, 3: VAL, 8: TEST}


def test_manufacturers_of_fgvc_aircraft(aircraft):
    assert read(aircraft, target="manufacturer").classes == ("Airbus", "Boeing")
    assert "must be one of variant, manufacturer" in refused(aircraft, target="engine").replace("'", "")


def test_mot(tmp_path):
    for split in ("train", "test"):
        images(tmp_path / split / "MOT17-02/img1", ["000001", "000002"])
    rows(
        tmp_path / "train/MOT17-02/gt/gt.txt", "1,1,5,5,20,10,1,1,0.9", "1,2,26,5,10,10,0,7,0.9", "2,1,6,5,20,10,1,3,1"
    )
    text(tmp_path / "train/MOT17-02/seqinfo.ini", "[Sequence]\nname=MOT17-02\n")
    data = read(tmp_path)
    assert (data.format, len(data)) == ("mot", 2)
    assert boxes(data) == {"000001.jpg": [("pedestrian", 4, 4, 24, 14)], "000002.jpg": [("car", 5, 4, 25, 14)]}
    assert any("1 boxes with the confidence 0" in note for note in data.notes)


# --- folders that are no classes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", ["image_id,dx,age,sex", "Image Index,Findings,Patient Age,View"])
def test_parts_of_a_set_are_no_classes(tmp_path, columns):
    for part in (1, 2):
        images(tmp_path / f"images_part_{part}", [f"p{part}{i}" for i in range(3)])
    rows(
        tmp_path / "metadata.csv",
        columns,
        *(f"p{part}{i}.jpg,{'ab'[i % 2]},4{i},M" for part in (1, 2) for i in range(3)),
    )
    said = refused(tmp_path)
    assert "metadata.csv" in said
    assert "--target COLUMN" in said
    assert "parts of one set" in said
    assert read(tmp_path, target=columns.split(",")[1]).classes == ("a", "b")


def test_domains_of_class_folders_are_no_classes(tmp_path):
    for domain in ("amazon", "webcam"):
        for kind in ("bike", "mug"):
            images(tmp_path / domain / "images" / kind, [f"{domain}{kind}{i}" for i in range(3)])
    assert "amazon/, webcam/ contain only folders (bike, mug)" in refused(tmp_path).replace("'", "")


@pytest.mark.parametrize(
    "folders", [("imagesTr", "labelsTr"), ("images_train", "labels_train"), ("train_img", "train_gt")]
)
def test_folders_of_masks_by_their_split_are_no_classes(tmp_path, folders):
    images(tmp_path / folders[0], [f"case_{i}_0000" for i in range(4)], ".png")
    masks(tmp_path / folders[1], [f"case_{i}" for i in range(4)])
    assert "masks" in refused(tmp_path)


@pytest.mark.parametrize("tails", [("_rgb", "_label"), ("", "_mask")])
def test_masks_beside_the_images_of_two_folders_are_no_samples(tmp_path, tails):
    for folder in ("A1", "A2"):
        images(tmp_path / folder, [f"plant{i}{tails[0]}" for i in range(4)], ".png")
        masks(tmp_path / folder, [f"plant{i}" for i in range(4)], tail=tails[1])
    assert "masks lie beside their images" in refused(tmp_path)


def test_masks_of_the_same_stem_beside_the_images(tmp_path):
    images(tmp_path / "data", [f"{i}" for i in range(5)])
    masks(tmp_path / "data", [f"{i}" for i in range(5)])
    assert "masks lie beside their images" in refused(tmp_path)
    assert len(read(tmp_path, "semantic")) == 5


def test_images_and_masks_of_numbered_names_are_no_clips(tmp_path):
    for split in ("training", "validation"):
        images(tmp_path / "images" / split, [f"ADE_{split}_{i:04d}" for i in range(4)])
        masks(tmp_path / "annotations" / split, [f"ADE_{split}_{i:04d}" for i in range(4)])
    assert "--task semantic" in refused(tmp_path)
    assert sorted(read(tmp_path, "semantic").given.tolist()) == [TRAIN] * 4 + [VAL] * 4


def test_masks_without_an_object_are_refused(tmp_path):
    images(tmp_path / "images", [f"{i}" for i in range(4)])
    masks(tmp_path / "masks", [f"{i}" for i in range(4)], values=(0, 0))
    assert "hold no object" in refused(tmp_path)


def test_a_sample_of_the_training_set_is_not_read_twice(tmp_path):
    for kind in ("0", "1"):
        images(tmp_path / "trainingSet" / kind, [f"img_{kind}{i}" for i in range(4)])
        copy = tmp_path / "trainingSample" / kind / f"img_{kind}0.jpg"
        copy.parent.mkdir(parents=True)
        copy.write_bytes((tmp_path / "trainingSet" / kind / f"img_{kind}0.jpg").read_bytes())
    data = read(tmp_path)
    assert len(data) == 8
    assert any("trainingSample/ are not read: copies" in note for note in data.notes)


# --- tables ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runs", ["879386 40 881253 141", "4 10 36 10"])
def test_run_lengths_of_masks_are_no_labels(tmp_path, runs):
    images(tmp_path / "train", [f"p{i}" for i in range(4)])
    rows(tmp_path / "train.csv", "ImageId,EncodedPixels", *(f"p{i}.jpg,{runs}" for i in range(3)), "p3.jpg,")
    if runs.startswith("4 "):
        data = read(tmp_path)
        assert (data.format, data.task, [len(one) for one in data.targets]) == ("csv masks", "segment", [1, 1, 1, 0])
    else:
        assert "run lengths that leave the image of 40 x 30" in refused(tmp_path)


def test_numbers_of_labels_are_no_run_lengths(tmp_path):
    images(tmp_path / "train", [f"p{i}" for i in range(8)])
    rows(
        tmp_path / "train.csv",
        "Id,Target",
        *(f"p{i},{value}" for i, value in enumerate(["16 0", "0", "16", "7 0"] * 2)),
    )
    assert read(tmp_path).task == "multilabel"


def test_decimal_commas_of_boxes(tmp_path):
    images(tmp_path / "img", ["a", "b"])
    rows(
        tmp_path / "boxes.csv", "filename;xmin;ymin;xmax;ymax;class", *(f"{k}.jpg;4,5;4,0;24,5;14,0;cat" for k in "ab")
    )
    assert boxes(read(tmp_path))["a.jpg"] == [("cat", 4.5, 4, 24.5, 14)]


@pytest.mark.parametrize("columns", ["filepath,label", "filepath,xmin,ymin,xmax,ymax,label"])
def test_splits_by_the_folders_of_the_images(tmp_path, columns):
    names = [f"{split}/{kind}/{kind}{split}{i}.jpg" for split in ("train", "val") for kind in "ab" for i in (0, 1)]
    for name in names:
        image(tmp_path / name)
    middle = f"{BOX}," if "xmin" in columns else ""
    rows(tmp_path / "all.csv", columns, *(f"{name},{middle}{name.split('/')[1]}" for name in names))
    assert {name[1:-5]: split for name, split in splits(read(tmp_path)).items()} == {"train": TRAIN, "val": VAL}


def test_class_numbers_get_the_names_of_the_folders_that_some_images_lie_in(tmp_path):
    for kind in ("n01", "n02"):
        images(tmp_path / "train" / kind, [f"{kind}_{i}" for i in range(3)])
    images(tmp_path / "val", [f"val_{i}" for i in range(4)])
    rows(tmp_path / "train.txt", *(f"n0{k + 1}/n0{k + 1}_{i}.jpg {k}" for k in (0, 1) for i in range(3)))
    rows(tmp_path / "val.txt", *(f"val_{i}.jpg {i % 2}" for i in range(4)))
    data = read(tmp_path)
    assert data.classes == ("n01", "n02")
    assert labels(data)["val_1.jpg"] == "n02"


def test_class_names_of_open_images_in_a_list_of_another_name(tmp_path):
    images(tmp_path / "train/data", ["a1", "a2"])
    rows(tmp_path / "train/labels/detections.csv", "ImageID,LabelName,XMin,XMax,YMin,YMax",
         *(f"{k},/m/01yrx,0.25,0.75,0.25,0.75" for k in ("a1", "a2")))  # fmt: skip
    rows(tmp_path / "train/metadata/classes.csv", "/m/01yrx,Cat")
    assert read(tmp_path).classes == ("Cat",)


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("labels.mat", "MATLAB 5.0 MAT-file", "MATLAB"),
        ("labels.xlsx", "PK\3\4", "spreadsheet"),
        ("output.manifest", '{"source-ref": "s3://b/p0.jpg"}\n', "SageMaker"),
        ("annotation_train.odgt", '{"ID": "p0"}\n', "CrowdHuman"),
        ("metadata.jsonl", '{"file_name": "p0.jpg", "text": "a photo"}\n', "lines of json"),
        ("train.csv", "id,label\n0,a\n1,b\n", "names no image"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("folder", ["images", "."])
def test_files_that_may_hold_the_labels_are_named(tmp_path, name, content, word, folder):
    images(tmp_path / folder, [f"p{i}" for i in range(4)])
    text(tmp_path / name, content)
    said = refused(tmp_path)
    assert name in said
    assert word in said


def test_images_without_annotation_are_counted(tmp_path):
    images(tmp_path / "images", [f"p{i}" for i in range(6)])
    for i in range(4):
        voc(tmp_path / f"annotations/p{i}.xml", f"p{i}.jpg", "cat")
    data = read(tmp_path)
    assert len(data) == 4
    assert any("2 images that no annotation names" in note for note in data.notes)


# --- names and encodings -----------------------------------------------------------------------------------------


def test_two_unicode_forms_of_a_class_are_one(tmp_path):
    for i, form in enumerate(("NFC", "NFD", "NFC", "NFD")):
        images(tmp_path, [f"p{i}"])
        voc(tmp_path / f"p{i}.xml", f"p{i}.jpg", unicodedata.normalize(form, "café"))
    assert read(tmp_path).classes == ("café",)


@pytest.mark.parametrize("encoding", ["gb2312", "shift_jis", "utf-16", "iso-8859-1"])
def test_xml_in_its_declared_encoding(tmp_path, encoding):
    name = "Käse" if encoding == "iso-8859-1" else "犬"
    images(tmp_path, ["a"])
    voc(tmp_path / "a.xml", "a.jpg", name, f'<?xml version="1.0" encoding="{encoding}"?>\n', encoding)
    assert read(tmp_path).classes == (name,)


def test_names_of_images_as_in_an_address(tmp_path):
    images(tmp_path / "images", ["my photo", "ü 2"])
    coco(tmp_path / "a.json", ["my%20photo.jpg", "%C3%BC%202.jpg"])
    assert sorted(boxes(read(tmp_path))) == ["my photo.jpg", "ü 2.jpg"]


def test_an_image_of_other_channels_is_named(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    for kind in "ab":
        images(tmp_path / kind, [f"{kind}{i}" for i in range(12)])
    tifffile.imwrite(
        tmp_path / "a/m.tif", np.zeros((30, 40, 5), np.uint8), photometric="minisblack", planarconfig="contig"
    )
    data = read(tmp_path)
    assert len(data) == 24
    assert [problem.where for problem in data.problems] == [os.path.join("a", "m.tif")]


# --- arrays and archives -----------------------------------------------------------------------------------------


def test_targets_of_several_labels_in_npz(tmp_path):
    hot = np.array([[0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0]] * 3, np.uint8)
    np.savez(tmp_path / "x.npz", x=np.zeros((12, 8, 8), np.uint8), y=hot)
    data = read(tmp_path / "x.npz")
    assert (data.task, data.classes, data.targets.tolist()) == ("multilabel", ("0", "1", "2"), hot.tolist())
    assert "exactly one 1" in refused(tmp_path / "x.npz", "classify")


@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.bool_])
def test_targets_with_one_1_per_row_in_npz_are_classes(tmp_path, kind):
    np.savez(tmp_path / "x.npz", x=np.zeros((9, 8, 8), np.uint8), y=np.eye(3)[[0, 2, 1] * 3].astype(kind))
    data = read(tmp_path / "x.npz")
    assert (data.task, data.targets.tolist()) == ("classify", [0, 2, 1] * 3)


def test_idx_files_beside_folders_of_their_names(tmp_path):
    pixels, marks = struct.pack(">IIII", 2051, 4, 2, 2) + bytes(16), struct.pack(">II", 2049, 4) + bytes([0, 1, 2, 1])
    for name, content in (("train-images", pixels), ("train-labels", marks)):
        ending = f"idx{3 if 'images' in name else 1}-ubyte"
        for path in (tmp_path / f"{name}.{ending}", tmp_path / f"{name}-{ending}/{name}-{ending}"):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
    assert read(tmp_path).targets.tolist() == [0, 1, 2, 1]


def test_archives_beside_a_table_are_named(tmp_path):
    for name in ("train.zip", "test.zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as packed:
            packed.writestr("a.jpg", b"")
    rows(tmp_path / "labels.csv", "id,label", "1,a", "2,b")
    said = refused(tmp_path)
    assert "are archives" in said
    assert f"unzip {tmp_path / 'test.zip'} -d {tmp_path / 'test'}" in said


def test_a_zip_of_another_name_is_known_by_its_content(tmp_path):
    with zipfile.ZipFile(tmp_path / "download", "w") as packed:
        packed.writestr("a.jpg", b"")
    assert "is an archive" in refused(tmp_path / "download")


@pytest.mark.parametrize("names", [("mnist.npz",), ("train.csv", "test.csv")])
def test_a_folder_of_single_files_says_which_to_give(tmp_path, names):
    for name in names:
        text(tmp_path / name, "label,p0,p1\n1,2,3\n")
    assert f"give one file, such as {tmp_path / names[0]}" in refused(tmp_path)


# --- json -------------------------------------------------------------------------------------------------------


def test_class_numbers_by_fiftyone(tmp_path):
    images(tmp_path / "data", [f"{i:06d}" for i in range(4)])
    text(tmp_path / "labels.json", {"classes": ["cat", "dog"], "labels": {f"{i:06d}": i % 2 for i in range(4)}})
    assert labels(read(tmp_path)) == {f"{i:06d}.jpg": ("cat", "dog")[i % 2] for i in range(4)}


def test_labels_of_images_by_createml(tmp_path):
    images(tmp_path, ["a", "b"])
    text(
        tmp_path / "annotations.json",
        [{"image": "a.jpg", "annotation": "cat"}, {"image": "b.jpg", "annotation": "dog"}],
    )
    assert labels(read(tmp_path)) == {"a.jpg": "cat", "b.jpg": "dog"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"project": {}, "config": {}, "attribute": {}, "file": {}, "metadata": {}, "view": {}}, "VIA 3"),
        ({"name": "p", "assets": {"a": {"asset": {"name": "a.jpg"}, "regions": []}}}, "VoTT"),
        ([{"image_id": 1, "category_id": 1, "bbox": [4, 4, 20, 10], "score": 0.9}], "detections of a model"),
        ([{"id": 1, "data": {"image": "a.jpg"}, "annotations": [{"result": [{"type": "brushlabels"}]}]}], "brushlabels"),
    ],
)  # fmt: skip
def test_json_of_other_tools_is_named(tmp_path, content, words):
    images(tmp_path, ["a", "b"])
    text(tmp_path / "export.json", json.dumps(content))
    said = refused(tmp_path)
    assert "export.json" in said
    assert words in said


def test_a_missing_image_of_labelme_is_called_as_in_its_file(tmp_path):
    for name in "ab":
        shape = {"label": "cat", "points": [[4, 4], [24, 14]], "shape_type": "rectangle"}
        text(tmp_path / f"{name}.json", {"version": "5.0", "imagePath": f"{name}.png", "shapes": [shape]})
    assert "a.png (of a.json): missing image" in refused(tmp_path)
