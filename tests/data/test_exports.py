"""Other exports of annotation tools: VIA's csv, and Label Studio's JSON-MIN, csv and choices."""

import csv
import json

import pytest
from layout_files import HEIGHT, WIDTH, boxes, images, labels, read, text

NAMES = [f"p{i}" for i in range(4)]
HEADER = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
RECTANGLE = {"x": 10, "y": 20, "width": 50, "height": 40, "rotation": 0}  # percent: (4, 6, 24, 18)
SIZES = {"original_width": WIDTH, "original_height": HEIGHT}


def table(path, header, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(lines)


@pytest.mark.parametrize("first", ["filename", "#filename"])
def test_csv_of_via(tmp_path, first):
    images(tmp_path, NAMES)
    shapes = [
        {"name": "rect", "x": 4, "y": 6, "width": 20, "height": 12},
        {"name": "polygon", "all_points_x": [4, 24, 14], "all_points_y": [6, 6, 18]},
        {"name": "circle", "cx": 14, "cy": 12, "r": 5},
    ]
    lines = [
        [f"p{i}.jpg", 1000, "{}", 1, 0, json.dumps(shape), json.dumps({"class": "ant"})]
        for i, shape in enumerate(shapes)
    ]
    lines.append(["p3.jpg", 1000, "{}", 0, 0, "{}", "{}"])
    table(tmp_path / "via_export_csv.csv", [first, *HEADER.split(",")[1:]], *lines)
    data = read(tmp_path)
    assert data.format == "via"
    assert boxes(data) == {
        "p0.jpg": [("ant", 4, 6, 24, 18)],
        "p1.jpg": [("ant", 4, 6, 24, 18)],
        "p2.jpg": [("ant", 9, 7, 19, 17)],
        "p3.jpg": [],
    }
    assert boxes(read(tmp_path / "via_export_csv.csv")) == boxes(data)


def upload(name):
    return f"/data/upload/3/0a1b2c3d-{name}.jpg"


@pytest.mark.parametrize("form", ["json-min", "csv"])
def test_rectangles_of_label_studio_in_short_forms(tmp_path, form):
    images(tmp_path / "images", NAMES)
    marks = [{**RECTANGLE, "rectanglelabels": ["ant"], **SIZES}]
    rows = [
        {"image": upload(name), "id": i, "label": marks, "annotator": 1, "annotation_id": i, "created_at": "2024",
         "updated_at": "2024", "lead_time": 2.5} for i, name in enumerate(NAMES)
    ]  # fmt: skip
    if form == "csv":
        lines = [[json.dumps(value) if isinstance(value, list) else value for value in row.values()] for row in rows]
        table(tmp_path / "project-1.csv", list(rows[0]), *lines)
    else:
        text(tmp_path / "project-1.json", rows)
    data = read(tmp_path)
    assert (data.format, data.task) == ("label studio", "detect")
    assert boxes(data) == {f"{name}.jpg": [("ant", 4, 6, 24, 18)] for name in NAMES}
    assert boxes(read(next(tmp_path.glob("project-1.*")))) == boxes(data)


def task(name, *results):
    return {"id": 1, "data": {"image": upload(name)}, "annotations": [{"id": 1, "result": list(results)}]}


def test_ellipses_are_read_and_other_kinds_counted(tmp_path):
    images(tmp_path / "images", NAMES)
    ellipse = {"x": 50, "y": 50, "radiusX": 25, "radiusY": 20, "rotation": 0, "ellipselabels": ["ant"]}
    turned = ellipse | {"rotation": 90}
    brush = {"format": "rle", "rle": [1, 2], "brushlabels": ["bee"]}
    tasks = [task(name, {"type": "ellipselabels", "value": ellipse, **SIZES}) for name in NAMES[:3]]
    tasks += [task("p3", {"type": "ellipselabels", "value": turned, **SIZES}, {"type": "brushlabels", "value": brush})]
    text(tmp_path / "project.json", tasks)
    data = read(tmp_path)
    (_, *box), (_, *upright) = boxes(data)["p0.jpg"][0], boxes(data)["p3.jpg"][0]
    assert box == pytest.approx([10, 9, 30, 21], abs=0.3)
    assert upright == pytest.approx([14, 5, 26, 25], abs=0.3)
    assert any("1 brushlabels" in note for note in data.notes)


@pytest.mark.parametrize("form", ["json", "json-min"])
def test_choices_of_label_studio_are_labels_of_the_image(tmp_path, form):
    images(tmp_path / "images", NAMES)
    kinds = ["ant", "bee", "ant", "bee"]
    if form == "json":
        rows = [task(name, {"type": "choices", "value": {"choices": [kind]}}) for name, kind in zip(NAMES, kinds)]
    else:
        rows = [{"image": upload(name), "id": i, "choice": kind, "annotator": 1, "annotation_id": i, "lead_time": 1.0}
                for i, (name, kind) in enumerate(zip(NAMES, kinds))]  # fmt: skip
    text(tmp_path / "project.json", rows)
    data = read(tmp_path)
    assert (data.format, data.task) == ("label studio choices", "classify")
    assert labels(data) == {f"{name}.jpg": kind for name, kind in zip(NAMES, kinds)}


def test_several_choices_are_several_labels(tmp_path):
    images(tmp_path / "images", NAMES)
    chosen = [["ant"], ["ant", "bee"], [], ["bee"]]
    rows = [task(name, {"type": "choices", "value": {"choices": own}}) for name, own in zip(NAMES, chosen)]
    text(tmp_path / "project.json", rows)
    data = read(tmp_path)
    assert data.task == "multilabel"
    assert data.targets.tolist() == [[float(kind in own) for kind in ("ant", "bee")] for own in chosen]
