"""Twenty layouts of annotated images, as tools and published sets have them, with the objects in each.

A layout is a function that writes files below a folder and returns its truth: image name ->
[(class, x1, y1, x2, y2)], in continuous pixels from 0. All images are 48 x 32 pixels.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 48, 32
Truth = dict[str, list[tuple[str, float, float, float, float]]]
LAYOUTS: dict[str, Callable[[Path], Truth]] = {}


def layout(write: Callable[[Path], Truth]) -> Callable[[Path], Truth]:
    LAYOUTS[write.__name__] = write
    return write


def _image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(sum(map(ord, path.as_posix()[-12:]))).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def _voc(path: Path, filename: str, *objects: tuple[str, float, float, float, float]) -> None:
    """Pascal VOC counts pixels from 1 and includes both ends."""
    rows = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax>"
        f"<ymax>{y2}</ymax></bndbox></object>"
        for name, x1, y1, x2, y2 in objects
    )
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    _write(path, f"<annotation><filename>{filename}</filename>{size}{rows}</annotation>")


def _coco(path: Path, names: list[str], change: Callable[[list[dict]], None] = lambda rows: None) -> Truth:
    """One box per image: a cat on even images, a dog on odd ones."""
    images = [{"id": i, "file_name": name, "width": WIDTH, "height": HEIGHT} for i, name in enumerate(names, 1)]
    rows = [
        {"id": i, "image_id": i, "category_id": 1 + i % 2, "bbox": [2, 3, 18, 10], "area": 180, "iscrowd": 0}
        for i in range(1, len(names) + 1)
    ]
    change(rows)
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    _write(path, {"images": images, "annotations": rows, "categories": categories})
    return {name: [("cat" if i % 2 == 0 else "dog", 2, 3, 20, 13)] for i, name in enumerate(names, 1)}


@layout
def voc(root: Path) -> Truth:
    """JPEGImages, Annotations and a list of the training images."""
    for i in range(6):
        _image(root / f"JPEGImages/{i}.jpg")
        _voc(root / f"Annotations/{i}.xml", f"{i}.jpg", ("cat", 2, 3, 20, 13))
    _write(root / "ImageSets/Main/train.txt", "".join(f"{i}\n" for i in range(6)))
    return {f"{i}.jpg": [("cat", 2, 3, 20, 13)] for i in range(6)}


@layout
def voc_in_images_and_annotations(root: Path) -> Truth:
    """As many Kaggle sets: images/ and annotations/, no lists."""
    for i in range(6):
        _image(root / f"images/{i}.jpg")
        _voc(root / f"annotations/{i}.xml", f"{i}.jpg", ("cat", 2, 3, 20, 13))
    return {f"{i}.jpg": [("cat", 2, 3, 20, 13)] for i in range(6)}


@layout
def voc_in_subfolders(root: Path) -> Truth:
    """Two cameras whose files have the same names."""
    truth: Truth = {}
    for k, camera in enumerate(("cam1", "cam2")):
        for i in range(2):
            _image(root / f"JPEGImages/{camera}/{i}.jpg")
            _voc(root / f"Annotations/{camera}/{i}.xml", f"{camera}/{i}.jpg", ("cat", 2 + k, 2, 20, 20))
            truth[f"{camera}/{i}.jpg"] = [("cat", 2 + k, 2, 20, 20)]
    return truth


@layout
def coco(root: Path) -> Truth:
    """images/train and annotations/instances_train.json."""
    for i in range(6):
        _image(root / f"images/train/{i}.jpg")
    return _coco(root / "annotations/instances_train.json", [f"{i}.jpg" for i in range(6)])


@layout
def coco_of_roboflow(root: Path) -> Truth:
    """_annotations.coco.json beside the images of each split."""
    truth: Truth = {}
    for split in ("train", "valid"):
        names = [f"{split}{i}.jpg" for i in range(3)]
        for name in names:
            _image(root / split / name)
        truth |= _coco(root / split / "_annotations.coco.json", names)
    return truth


@layout
def coco_with_a_flat_polygon(root: Path) -> Truth:
    """A polygon that is one list instead of a list of lists."""
    for i in range(2):
        _image(root / f"images/{i}.jpg")

    def flat(rows: list[dict]) -> None:
        rows[0]["segmentation"] = [[2, 3, 20, 3, 20, 13, 2, 13]]
        rows[1]["segmentation"] = [2, 3, 20, 3, 20, 13, 2, 13]

    return _coco(root / "annotations/instances_default.json", ["0.jpg", "1.jpg"], flat)


@layout
def coco_with_an_empty_box(root: Path) -> Truth:
    """One of twenty objects has no box: the other nineteen are there."""
    names = [f"{i}.jpg" for i in range(20)]
    for name in names:
        _image(root / "images" / name)

    def empty(rows: list[dict]) -> None:
        rows[3]["bbox"] = []

    truth = _coco(root / "annotations/instances_default.json", names, empty)
    return truth | {"3.jpg": []}


@layout
def yolo(root: Path) -> Truth:
    """data.yaml with images and labels of two splits."""
    truth: Truth = {}
    for split in ("train", "val"):
        for i in range(6):
            _image(root / f"images/{split}/{split}{i}.jpg")
            _write(root / f"labels/{split}/{split}{i}.txt", f"{i % 2} 0.5 0.5 0.25 0.5\n")
            truth[f"{split}{i}.jpg"] = [(("cat", "dog")[i % 2], 18, 8, 30, 24)]
    _write(root / "data.yaml", "path: .\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n")
    return truth


@layout
def yolo_with_names_on_and_off(root: Path) -> Truth:
    """Names that YAML 1.1 takes as truth values."""
    truth = yolo(root)
    _write(root / "data.yaml", "path: .\ntrain: images/train\nval: images/val\nnames: [on, off]\n")
    names = {"cat": "on", "dog": "off"}
    return {image: [(names[name], *box) for name, *box in rows] for image, rows in truth.items()}  # type: ignore[misc]


@layout
def yolo_without_a_yaml(root: Path) -> Truth:
    """images/ and labels/ with a folder per subject; classes have numbers only."""
    truth: Truth = {}
    for k, kind in enumerate(("farm", "town")):
        for i in range(2):
            _image(root / f"images/train/{kind}/{kind}{i}.jpg")
            _write(root / f"labels/train/{kind}/{kind}{i}.txt", f"{k} 0.5 0.5 0.25 0.5\n")
            truth[f"{kind}{i}.jpg"] = [(str(k), 18, 8, 30, 24)]
    return truth


@layout
def darknet(root: Path) -> Truth:
    """obj.data, obj.names and a list of images, as CVAT and Roboflow export it."""
    for i in range(6):
        _image(root / f"obj_train_data/{i}.jpg")
        _write(root / f"obj_train_data/{i}.txt", f"{i % 2} 0.5 0.5 0.25 0.5\n")
    _write(root / "obj.names", "cat\ndog\n")
    _write(root / "obj.data", "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n")
    _write(root / "train.txt", "".join(f"data/obj_train_data/{i}.jpg\n" for i in range(6)))
    return {f"{i}.jpg": [(("cat", "dog")[i % 2], 18, 8, 30, 24)] for i in range(6)}


@layout
def labelme(root: Path) -> Truth:
    """A json with one polygon beside each image."""
    for name in "ab":
        _image(root / f"{name}.jpg")
        shape = {"label": "cat", "points": [[2, 3], [20, 3], [20, 13]], "shape_type": "polygon", "flags": {}}
        fields = {"version": "5.4.1", "flags": {}, "shapes": [shape | {"group_id": None}], "imagePath": f"{name}.jpg"}
        _write(root / f"{name}.json", fields | {"imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH})
    return {f"{name}.jpg": [("cat", 2, 3, 20, 13)] for name in "ab"}


@layout
def cvat(root: Path) -> Truth:
    """CVAT for images 1.1."""
    rows = ""
    for i in range(4):
        _image(root / f"images/{i}.jpg")
        box = '<box label="cat" source="manual" occluded="0" xtl="2" ytl="3" xbr="20" ybr="13" z_order="0"></box>'
        rows += f'<image id="{i}" name="{i}.jpg" width="{WIDTH}" height="{HEIGHT}">{box}</image>'
    labels = "<labels><label><name>cat</name><attributes></attributes></label></labels>"
    meta = f"<meta><task><id>1</id><name>t</name><size>4</size><mode>annotation</mode>{labels}</task></meta>"
    _write(root / "annotations.xml", f"<annotations><version>1.1</version>{meta}{rows}</annotations>")
    return {f"{i}.jpg": [("cat", 2, 3, 20, 13)] for i in range(4)}


@layout
def via(root: Path) -> Truth:
    """VGG Image Annotator: a json of regions per split."""
    for split in ("train", "val"):
        _image(root / split / f"{split}.jpg")
        shape = {"name": "rect", "x": 2, "y": 3, "width": 18, "height": 10}
        regions = [{"shape_attributes": shape, "region_attributes": {"kind": kind}} for kind in ("cat", "dog")]
        one = {"filename": f"{split}.jpg", "size": 99, "regions": regions, "file_attributes": {}}
        _write(root / split / "via_region_data.json", {f"{split}.jpg99": one})
    return {f"{split}.jpg": [("cat", 2, 3, 20, 13), ("dog", 2, 3, 20, 13)] for split in ("train", "val")}


@layout
def createml(root: Path) -> Truth:
    """Roboflow's CreateML export: centres and sizes in pixels."""
    for split in ("train", "valid", "test"):
        _image(root / split / f"{split}.jpg")
        box = {"label": "cat", "coordinates": {"x": 12, "y": 10, "width": 20, "height": 12}}
        _write(root / split / "_annotations.createml.json", [{"image": f"{split}.jpg", "annotations": [box]}])
    return {f"{split}.jpg": [("cat", 2, 4, 22, 16)] for split in ("train", "valid", "test")}


@layout
def kitti(root: Path) -> Truth:
    """training/image_2 and label_2."""
    for i in range(3):
        _image(root / f"training/image_2/{i:06d}.png")
        row = "Car 0.00 0 -1.57 2.00 3.00 20.00 13.00 1.6 1.6 3.2 1.0 1.6 8.4 -1.4\n"
        _write(root / f"training/label_2/{i:06d}.txt", row)
    return {f"{i:06d}.png": [("Car", 2, 3, 20, 13)] for i in range(3)}


@layout
def dota(root: Path) -> Truth:
    """Oriented boxes by four corners: the boxes that enclose them."""
    for split in ("train", "val"):
        _image(root / split / f"images/{split}1.png")
        rows = "imagesource:GoogleEarth\ngsd:0.14\n10 2 20 8 14 16 4 10 ship 0\n30 5 40 5 40 9 30 9 plane 1\n"
        _write(root / split / f"labelTxt/{split}1.txt", rows)
    return {f"{split}1.png": [("ship", 4, 2, 20, 16), ("plane", 30, 5, 40, 9)] for split in ("train", "val")}


@layout
def csv_of_boxes(root: Path) -> Truth:
    """A csv with a row per object, as TensorFlow's object detection tutorials have it."""
    rows = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
    for i in range(6):
        _image(root / f"images/{i}.jpg")
        rows += f"{i}.jpg,{WIDTH},{HEIGHT},cat,2,3,20,13\n"
    _write(root / "labels.csv", rows)
    return {f"{i}.jpg": [("cat", 2, 3, 20, 13)] for i in range(6)}


@layout
def open_images(root: Path) -> Truth:
    """Open Images' csv of boxes in fractions of the image, with its csv of class names."""
    rows = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,"
    rows += "IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
    for i in range(4):
        _image(root / f"train/{i:04x}.jpg")
        rows += f"{i:04x},x,/m/01g317,1,0.25,0.75,0.5,0.75,0,0,0,0,0\n"
    _write(root / "train-annotations-bbox.csv", rows)
    _write(root / "class-descriptions-boxable.csv", "/m/01g317,Person\n")
    return {f"{i:04x}.jpg": [("Person", 12, 16, 36, 24)] for i in range(4)}


@layout
def mask_per_object(root: Path) -> Truth:
    """A mask file per object, as the Data Science Bowl of 2018 has it; the class has no name in the files."""
    truth: Truth = {}
    for i in range(6):
        _image(root / f"id{i}/images/id{i}.png")
        for k in range(3):
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            mask[8 * k + 2 : 8 * k + 8, 4:12] = 255
            file = root / f"id{i}/masks/{i}m{k}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(file)
        truth[f"id{i}.png"] = [("", 4, 8 * k + 2, 12, 8 * k + 8) for k in range(3)]
    return truth
