"""Layouts of public sets, rebuilt small: Supervisely, BDD100K, WIDER FACE, VisDrone, CUB-200, LVIS, CelebA, Tiny ImageNet."""

import base64
import io
import zlib

import numpy as np
import pytest
from layout_files import boxes, image, images, read, refused, rows, splits, text
from PIL import Image

from danlu.data.canvas import Placement
from danlu.data.dataset import TEST, TRAIN, VAL

PLAIN = Placement((30, 40), (30, 40), (1.0, 1.0), (0.0, 0.0))


# --- Supervisely -----------------------------------------------------------------------------------------------------


def figure(kind="rectangle", title="cat", points=((5, 6), (20, 25)), **other):
    exterior = [list(point) for point in points]
    return {"classTitle": title, "geometryType": kind, "points": {"exterior": exterior, "interior": []}, **other}


def bitmap(mask, origin):
    data = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(data, "PNG")
    return {"origin": list(origin), "data": base64.b64encode(zlib.compress(data.getvalue())).decode()}


def supervisely(root, *figures, count=3):
    text(root / "meta.json", {"classes": [{"title": "cat", "shape": "rectangle"}], "tags": []})
    for folder in ("ds0", "ds1"):
        images(root / folder / "img", [f"p{i}" for i in range(count)])
        for i in range(count):
            content = {"description": "", "tags": [], "size": {"height": 30, "width": 40}, "objects": list(figures)}
            text(root / folder / "ann" / f"p{i}.jpg.json", content)


def test_supervisely(tmp_path):
    mask = np.zeros((4, 6), bool)
    mask[1:3, 1:5] = True
    ring = ((1, 1), (10, 1), (10, 9))
    point = figure("point", "dot", ((3, 3),))
    supervisely(tmp_path, figure(), figure("polygon", "dog", ring), figure("bitmap", "sky", (), bitmap=bitmap(mask, (20, 10))), point)  # fmt: skip
    data = read(tmp_path, "segment")
    assert (data.format, len(data), data.classes) == ("supervisely", 6, ("cat", "dog", "sky"))
    assert boxes(data)["p1.jpg"] == [("cat", 5, 6, 20, 25), ("dog", 1, 1, 10, 9), ("sky", 21, 11, 25, 13)]
    assert data.targets[0].masks(PLAIN)[2].sum() == 8
    assert any("6 point" in note for note in data.notes)
    assert data.given is None


def test_supervisely_names_what_it_cannot_read(tmp_path):
    supervisely(tmp_path, *[figure()] * 10, count=4)
    bad = [
        figure("bitmap", bitmap={"origin": [0, 0], "data": "???"}),
        figure("polygon", points=((1, 1),)),
        figure(title=""),
    ]
    text(tmp_path / "ds0/ann/p0.jpg.json", {"size": {"height": 30, "width": 40}, "objects": [figure(), *bad]})
    (tmp_path / "ds1/img/p3.jpg").unlink()
    data = read(tmp_path, on_bad="skip")
    assert len(data) == 7
    reasons = " ".join(f"{problem.where} {problem.reason}" for problem in data.problems)
    for part in ("object 2 a bitmap that cannot be decoded", "object 3 a polygon of 1 points", "no label", "p3.jpg"):
        assert part in reasons


def test_a_bitmap_that_unpacks_to_terabytes_is_bounded(tmp_path):
    bomb = base64.b64encode(zlib.compress(b"\0" * (65 << 20))).decode()
    supervisely(tmp_path, figure(), figure("bitmap", bitmap={"origin": [0, 0], "data": bomb}), count=1)
    assert "unpacks to more" in refused(tmp_path)


# --- BDD100K ---------------------------------------------------------------------------------------------------------


BDD = [
    {"category": "car", "id": 1, "box2d": {"x1": 4.5, "y1": 5, "x2": 14, "y2": 17}},
    {"category": "lane", "id": 2, "poly2d": [{"vertices": [[1, 2], [3, 4]], "closed": False}]},
]


@pytest.mark.parametrize("single", [False, True])
def test_bdd100k(tmp_path, single):
    for split in ("train", "val"):
        names = [f"{split}{i}" for i in range(4)]
        images(tmp_path / "images/100k" / split, names)
        if single:
            for name in names:
                frames = [{"timestamp": 10000, "objects": BDD}]
                text(tmp_path / f"labels/{split}/{name}.json", {"name": name, "attributes": {}, "frames": frames})
        else:
            listed = [{"name": f"{name}.jpg", "attributes": {"weather": "clear"}, "labels": BDD} for name in names]
            text(tmp_path / f"labels/det_20/det_{split}.json", [*listed[:3], {"name": f"{names[3]}.jpg"}])
    data = read(tmp_path)
    assert (data.format, data.classes, len(data)) == ("bdd100k", ("car",), 8)
    assert boxes(data)["val1.jpg"] == [("car", 4.5, 5, 14, 17)]
    assert splits(data)["val1.jpg"] == 1
    assert len(boxes(data)["val3.jpg"]) == single
    assert any("lane" in note for note in data.notes)


# --- WIDER FACE ------------------------------------------------------------------------------------------------------


def wider(root, lines=("4 5 10 12 0 0 0 0 0 0 ", "20 5 10 12 2 0 0 1 0 0 "), count="2"):
    for split in ("train", "val"):
        listed = []
        for i in range(25):
            name = f"0--Parade/0_Parade_{split}_{i}.jpg"
            image(root / f"WIDER_{split}/images" / name)
            listed += (
                [name, "0", "0 0 0 0 0 0 0 0 0 0 "]
                if i == 3
                else [name, *((count, *lines) if i == 5 else ("1", "4 5 10 12 0 0 0 0 0 0 "))]
            )
        rows(root / f"wider_face_split/wider_face_{split}_bbx_gt.txt", *listed)
    image(root / "WIDER_test/images/0--Parade/0_Parade_t.jpg")
    rows(root / "wider_face_split/wider_face_test_filelist.txt", "0--Parade/0_Parade_t.jpg")


def test_wider_face(tmp_path):
    wider(tmp_path)
    data = read(tmp_path)
    assert (data.format, data.classes, len(data)) == ("wider face", ("face",), 50)
    found = boxes(data)
    assert found["0_Parade_train_0.jpg"] == [("face", 4, 5, 14, 17)]
    assert found["0_Parade_val_3.jpg"] == []
    assert splits(data)["0_Parade_val_5.jpg"] == 1
    place = list(found).index("0_Parade_val_5.jpg")
    assert data.targets[place].ignore.tolist() == [False, True]
    assert any("1 images are in no list" in note for note in data.notes)


def test_wider_face_with_a_wrong_count(tmp_path):
    wider(tmp_path, count="3")
    data = read(tmp_path)
    assert len(data) == 48
    assert "must have 3 lines of boxes, got 2" in data.problems[0].reason


# --- VisDrone --------------------------------------------------------------------------------------------------------


def test_visdrone(tmp_path):
    for split in ("train", "val"):
        for i in range(4):
            image(tmp_path / f"VisDrone2019-DET-{split}/images/{split}{i}.jpg")
            lines = (
                "4,5,10,12,1,4,0,1",
                "20,5,10,12,0,0,0,0",
                "9,9,4,6,1,1,0,2,",
                "9,2,4,6,0,11,0,2",
                "1,2,4,6,0,1,0,2",
            )
            rows(tmp_path / f"VisDrone2019-DET-{split}/annotations/{split}{i}.txt", *lines)
    data = read(tmp_path)
    assert (data.format, len(data)) == ("visdrone", 8)
    assert boxes(data)["val2.jpg"] == [("car", 4, 5, 14, 17), ("pedestrian", 9, 9, 13, 15), ("pedestrian", 1, 2, 5, 8)]
    assert data.targets[0].ignore.tolist() == [False, False, True]
    assert any("16 ignored regions" in note for note in data.notes)


# --- lists of splits -------------------------------------------------------------------------------------------------


def test_splits_of_cub(tmp_path):
    listed = []
    for kind in ("001.Albatross", "002.Gull"):
        images(tmp_path / "images" / kind, [f"{kind[4:]}_{i}" for i in range(5)])
        listed += [f"{kind}/{kind[4:]}_{i}.jpg" for i in range(5)]
    rows(tmp_path / "images.txt", *(f"{k} {name}" for k, name in enumerate(listed, 1)))
    rows(tmp_path / "train_test_split.txt", *(f"{k} {int(k % 5 < 3)}" for k in range(1, 11)))
    rows(tmp_path / "bounding_boxes.txt", *(f"{k} 4.0 5.0 10.0 12.0" for k in range(1, 11)))
    rows(tmp_path / "image_class_labels.txt", *(f"{k} {1 + (k > 5)}" for k in range(1, 11)))
    data = read(tmp_path)
    assert (data.format, data.classes, len(data)) == ("folder", ("001.Albatross", "002.Gull"), 10)
    found = splits(data)
    assert [found[name.split("/")[1]] for name in listed] == [TRAIN, TRAIN, TEST, TEST, TRAIN] * 2
    assert any("bounding_boxes.txt is not read" in note for note in data.notes)


def test_a_list_of_partitions_is_no_list_of_labels(tmp_path):
    images(tmp_path / "img_align_celeba", [f"0{i}" for i in range(8)])
    rows(tmp_path / "list_eval_partition.txt", *(f"0{i}.jpg {i // 3}" for i in range(8)))
    refused(tmp_path)
    (tmp_path / "list_eval_partition.txt").rename(tmp_path / "parts.csv")
    rows(tmp_path / "parts.csv", "image_id,partition", *(f"0{i}.jpg,{i // 3}" for i in range(8)))
    refused(tmp_path)


def test_lvis_names_its_images_by_address(tmp_path):
    for split, home in (("train", "train2017"), ("val", "train2017")):
        listed, marks = [], []
        for i in range(4):
            name = f"{split}{i}.jpg"
            image(tmp_path / home / name)
            listed.append(
                {"id": i, "height": 30, "width": 40, "coco_url": f"http://images.cocodataset.org/{home}/{name}"}
            )
            marks.append({"id": i + 1, "image_id": i, "category_id": 2, "bbox": [4, 5, 10, 12], "area": 120})
        kinds = [{"id": 1, "name": "aerosol", "frequency": "r"}, {"id": 2, "name": "bee"}]
        text(tmp_path / f"lvis_v1_{split}.json", {"images": listed, "annotations": marks, "categories": kinds})
    data = read(tmp_path)
    assert (data.format, len(data)) == ("coco", 8)
    assert boxes(data)["val2.jpg"] == [("bee", 4, 5, 14, 17)]
    assert splits(data)["val2.jpg"] == 1


# --- Tiny ImageNet ---------------------------------------------------------------------------------------------------


def tiny_imagenet(root):
    for name in ("n01", "n02"):
        images(root / "train" / name / "images", [f"{name}_{i}" for i in range(5)], ".JPEG")
        rows(root / "train" / name / f"{name}_boxes.txt", *(f"{name}_{i}.JPEG\t0\t10\t30\t28" for i in range(5)))
    images(root / "val" / "images", [f"val_{i}" for i in range(4)], ".JPEG")
    rows(root / "val" / "val_annotations.txt", *(f"val_{i}.JPEG\tn0{1 + i % 2}\t0\t1\t20\t20" for i in range(4)))
    images(root / "test" / "images", [f"test_{i}" for i in range(3)], ".JPEG")
    rows(root / "wnids.txt", "n01", "n02")
    rows(root / "words.txt", "n01\tgoldfish", "n02\tbullfrog", "n03\tother")


def test_tiny_imagenet(tmp_path):
    tiny_imagenet(tmp_path)
    data = read(tmp_path)
    assert (data.format, data.classes, len(data)) == ("tiny imagenet", ("n01", "n02"), 14)
    labels = {data.name_of(i).rpartition("/")[2]: data.classes[k] for i, k in enumerate(data.targets.tolist())}
    assert labels == {f"n0{k}_{i}.JPEG": f"n0{k}" for k in (1, 2) for i in range(5)} | {
        f"val_{i}.JPEG": f"n0{1 + i % 2}" for i in range(4)
    }
    given = splits(data)
    assert given["n01_0.JPEG"] == TRAIN
    assert given["val_3.JPEG"] == VAL
    assert any("3 images of the test split have no labels" in note for note in data.notes)


def test_tiny_imagenet_names_what_it_cannot_read(tmp_path):
    tiny_imagenet(tmp_path)
    listed = tmp_path / "val" / "val_annotations.txt"
    listed.write_text(listed.read_text() + "val_9.JPEG\tn01\t0\t0\t1\t1\nval_0.JPEG n01\n")
    assert "val_9.JPEG" in refused(tmp_path)
    problems = read(tmp_path, on_bad="skip").problems
    assert [problem.where for problem in problems] == [
        "val/val_annotations.txt line 6", "val/val_annotations.txt line 5 (val_9.JPEG)",
    ]  # fmt: skip
