"""Exports of annotation tools, each in the shape that the tool writes: LabelMe, CVAT, VIA, CreateML, Label Studio, KITTI, DOTA."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from danlu.config import DataConfig
from danlu.data.canvas import Placement
from danlu.data.dataset import TEST, TRAIN, VAL
from danlu.data.formats import open_dataset
from danlu.refuse import Refusal

WIDTH, HEIGHT = 48, 32
THERE = Placement((HEIGHT, WIDTH), (HEIGHT, WIDTH), (1.0, 1.0))


def draw(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT)).save(path)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")


def read(path, task=None, **kw):
    return open_dataset(DataConfig(path=str(path), **kw), task)


def objects(data):
    """{image: [(class, box)]}"""
    return {
        data.name_of(i): [
            (data.classes[k], [round(v, 2) for v in box]) for k, box in zip(one.labels, one.boxes.tolist())
        ]
        for i, one in enumerate(data.targets)
    }


def labelme(image, shapes, **other):
    return {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": image, "imageData": None,
            "imageHeight": HEIGHT, "imageWidth": WIDTH} | other  # fmt: skip


def shape(label, points, kind="polygon", group=None):
    return {"label": label, "points": points, "group_id": group, "shape_type": kind, "flags": {}}


def test_labelme(tmp_path):
    for name in "ab":
        draw(tmp_path / f"{name}.jpg")
    first = [
        shape("cat", [[2, 3], [20, 3], [20, 13]]),
        shape("dog", [[30, 20], [10, 5]], "rectangle"),
        shape("sun", [[24, 16], [24, 12]], "circle"),
        shape("nose", [[5, 5]], "point"),
    ]
    second = [shape("cat", [[0, 0], [4, 0], [4, 4]], group=1), shape("cat", [[10, 10], [14, 10], [14, 14]], group=1)]
    write(tmp_path / "a.json", labelme("..\\images\\a.jpg", first))
    write(tmp_path / "b.json", labelme("b.jpg", second))
    data = read(tmp_path, "segment")
    assert (data.format, data.classes) == ("labelme", ("cat", "dog", "sun"))
    found = objects(data)
    assert found["a.jpg"][:2] == [("cat", [2, 3, 20, 13]), ("dog", [10, 5, 30, 20])]
    assert found["a.jpg"][2] == ("sun", [20, 12, 28, 20])
    assert found["b.jpg"] == [("cat", [0, 0, 14, 14])]  # one object of two parts
    assert data.targets[1].masks(THERE).sum() == 2 * 10  # of the two triangles alone, pixels on the diagonal included
    assert any("1 point" in note for note in data.notes)


def test_labelme_bad_shape_costs_itself_only(tmp_path):
    for i in range(3):
        draw(tmp_path / f"{i}.jpg")
        write(tmp_path / f"{i}.json", labelme(f"{i}.jpg", [shape("cat", [[2, 3], [20, 3], [20, 13]])]))
    write(tmp_path / "1.json", labelme("1.jpg", [shape("cat", [[2, 3]]), shape("cat", [[2, 3], [20, 3], [20, 13]])]))
    data = read(tmp_path)
    assert [len(one) for one in data.targets] == [1, 1, 1]
    assert [p.where for p in data.problems] == ["1.json shape 1"]


def png(pixels):
    """A mask as LabelMe writes it: a PNG file of 0 and 1 in base64."""
    file = io.BytesIO()
    Image.fromarray(np.array(pixels, np.uint8)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_labelme_masks(tmp_path):
    """LabelMe 5's shapes of its AI tools: the first and the last pixel, and the pixels between them."""
    rows = [[0, 1, 1], [0, 1, 0]]
    ant = shape("ant", [[5, 6], [7, 7]], "mask") | {"mask": png(rows)}
    parts = [ant | {"label": "bee", "group_id": 1, "points": [[x, 6], [x + 2, 7]]} for x in (5, 20)]
    for i in range(3):
        draw(tmp_path / f"{i}.jpg")
        write(tmp_path / f"{i}.json", labelme(f"{i}.jpg", [ant, *parts]))
    write(tmp_path / "0.json", labelme("0.jpg", [ant, shape("ant", [[5, 6], [7, 7]], "mask"), *parts]))
    data = read(tmp_path, "segment", on_bad="skip")
    assert objects(data)["1.jpg"] == [("ant", [6, 6, 8, 8]), ("bee", [6, 6, 23, 8])]
    masks = data.targets[1].masks(THERE).numpy()
    assert np.argwhere(masks[0]).tolist() == [[6, 6], [6, 7], [7, 6]]
    assert masks[1].sum() == 6
    assert [str(p.where) for p in data.problems] == ["0.json shape 2"]


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><name>t</name></task></meta>
<image id="0" name="a.jpg" subset="Train" width="48" height="32">
  <box label="cat" occluded="0" xtl="2.5" ytl="3" xbr="20" ybr="13.5" z_order="0"></box>
  <box label="cat" occluded="0" xtl="20" ytl="10" xbr="30" ybr="20" rotation="90" z_order="0"></box>
  <polygon label="dog" points="1.0,1.0;5.0,1.0;5.0,9.0"></polygon>
  <points label="nose" points="3,3"></points>
</image>
<image id="1" name="sub/b.jpg" subset="Validation" width="48" height="32">
  <mask label="dog" rle="1, 2, 1, 2" left="10" top="4" width="3" height="2"></mask>
</image></annotations>"""


def test_cvat_for_images(tmp_path):
    draw(tmp_path / "images/a.jpg")
    draw(tmp_path / "images/sub/b.jpg")
    write(tmp_path / "annotations.xml", CVAT)
    data = read(tmp_path, "segment", on_bad="skip")
    assert (data.format, data.classes, data.given.tolist()) == ("cvat", ("cat", "dog"), [TRAIN, VAL])
    assert objects(data)["images/a.jpg"] == [
        ("cat", [2.5, 3, 20, 13.5]), ("cat", [20, 10, 30, 20]), ("dog", [1, 1, 5, 9])]  # fmt: skip
    mask = data.targets[1].masks(THERE)[0].numpy()
    assert np.argwhere(mask).tolist() == [[4, 11], [4, 12], [5, 11], [5, 12]]


def test_cvat_for_video_is_named(tmp_path):
    draw(tmp_path / "a.jpg")
    write(tmp_path / "annotations.xml", '<annotations><track id="0" label="cat"><box frame="0"/></track></annotations>')
    with pytest.raises(Refusal, match="CVAT for video"):
        read(tmp_path)


def via(name, *regions):
    return {"filename": name, "size": 99, "regions": list(regions), "file_attributes": {}}


@pytest.mark.parametrize("project", [False, True])
def test_via(tmp_path, project):
    for part in ("train", "val"):
        draw(tmp_path / part / f"{part}.jpg")
        box = {
            "shape_attributes": {"name": "rect", "x": 2, "y": 3, "width": 10, "height": 8},
            "region_attributes": {"kind": "cat"},
        }
        xs, ys = [1, 9, 9], [1, 1, 7]
        polygon = {"shape_attributes": {"name": "polygon", "all_points_x": xs, "all_points_y": ys},
                   "region_attributes": {"kind": {"dog": True}}}  # fmt: skip
        content = {f"{part}.jpg99": via(f"{part}.jpg", box, polygon)}
        whole = {"_via_settings": {}, "_via_img_metadata": content, "_via_attributes": {}}
        write(tmp_path / part / "via_region_data.json", whole if project else content)
    data = read(tmp_path)
    assert (data.format, data.given.tolist()) == ("via", [TRAIN, VAL])
    assert objects(data)["val/val.jpg"] == [("cat", [2, 3, 12, 11]), ("dog", [1, 1, 9, 7])]


def test_createml(tmp_path):
    for part in ("train", "valid", "test"):
        draw(tmp_path / part / f"{part}.jpg")
        box = {"label": "on", "coordinates": {"x": 12, "y": 10, "width": 20, "height": 12}}
        write(tmp_path / part / "_annotations.createml.json", [{"image": f"{part}.jpg", "annotations": [box]}])
    data = read(tmp_path)
    assert (data.format, data.classes, sorted(data.given.tolist())) == ("createml", ("on",), [TRAIN, VAL, TEST])
    assert objects(data)["valid/valid.jpg"] == [("on", [2, 4, 22, 16])]


def test_label_studio_json(tmp_path):
    draw(tmp_path / "images/a.jpg")
    draw(tmp_path / "images/b.jpg")
    tasks = []
    for name in "ab":
        value = {"x": 25.0, "y": 50.0, "width": 50.0, "height": 25.0, "rotation": 0, "rectanglelabels": ["cat"]}
        result = {"type": "rectanglelabels", "original_width": WIDTH, "original_height": HEIGHT, "value": value}
        tasks.append({"id": 1, "annotations": [{"id": 7, "was_cancelled": False, "result": [result]}],
                      "data": {"image": f"/data/upload/1/0a1b2c3d-{name}.jpg"}})  # fmt: skip
    write(tmp_path / "project-1.json", tasks)
    data = read(tmp_path)
    assert data.format == "label studio"
    assert objects(data)["images/a.jpg"] == [("cat", [12, 16, 36, 24])]


def test_kitti(tmp_path):
    for part in ("training", "testing"):
        for i in range(3):
            draw(tmp_path / part / f"image_2/{i:06d}.png")
    line = "Car 0.00 0 -1.57 2.00 3.00 20.00 13.00 1.6 1.6 3.2 1.0 1.6 8.4 -1.4\nDontCare -1 -1 -10 30 5 40 9 -1 -1 -1 -1000 -1000 -1000 -10\n"
    for i in range(3):
        write(tmp_path / f"training/label_2/{i:06d}.txt", line)
    data = read(tmp_path)
    assert (data.format, len(data), data.classes) == ("kitti", 3, ("Car",))
    assert objects(data)["training/image_2/000002.png"] == [("Car", [2, 3, 20, 13])]


def test_dota(tmp_path):
    for part in ("train", "val"):
        draw(tmp_path / part / f"images/{part}1.png")
        text = "imagesource:GoogleEarth\ngsd:0.14\n10 2 20 8 14 16 4 10 ship 0\n30 5 40 5 40 9 30 9 plane 1\n"
        write(tmp_path / part / f"labelTxt/{part}1.txt", text)
    data = read(tmp_path)
    assert (data.format, data.given.tolist()) == ("dota", [TRAIN, VAL])
    assert objects(data)["val/images/val1.png"] == [("ship", [4, 2, 20, 16]), ("plane", [30, 5, 40, 9])]
    assert data.targets[0].ignore.tolist() == [False, True]
