"""Layouts and quirks of data sets in public repositories, rebuilt small."""

from layout_files import boxes, images, read, refused, text

SQUARE = ((4, 6), (24, 6), (24, 16), (4, 16))
CLOSED = (*SQUARE, (4, 6))


def region(kind="polygon", points=SQUARE, **attributes):
    shape = {"name": kind, "all_points_x": [x for x, _ in points], "all_points_y": [y for _, y in points]}
    return {"shape_attributes": shape, "region_attributes": attributes}


def via(path, regions):
    """A file of VIA. regions: name of the image -> its regions."""
    text(path, {name: {"filename": name, "size": 1, "regions": own} for name, own in regions.items()})


# --- several annotation files of the same images ---------------------------------------------------------------------


def test_a_project_of_via_beside_its_export_is_read_once(tmp_path):
    images(tmp_path, ["a", "b"])
    regions = {name: [region(name="cat")] for name in ("a.jpg", "b.jpg")}
    via(tmp_path / "via_region_data.json", regions)
    content = {name: {"filename": name, "size": 1, "regions": own} for name, own in regions.items()}
    text(tmp_path / "project.json", {"_via_settings": {}, "_via_img_metadata": content, "_via_attributes": {}})
    data = read(tmp_path)
    assert boxes(data) == {name: [("cat", 4, 6, 24, 16)] for name in ("a.jpg", "b.jpg")}
    assert any("holds the objects of 2 images of project.json again" in str(note) for note in data.notes)
    assert not data.problems


def test_two_annotations_of_the_same_objects_are_refused(tmp_path):
    images(tmp_path, ["a", "b"])
    wider = tuple((x + 2, y) for x, y in SQUARE)
    via(tmp_path / "first.json", {name: [region(name="cat")] for name in ("a.jpg", "b.jpg")})
    via(tmp_path / "second.json", {name: [region(points=wider, name="cat")] for name in ("a.jpg", "b.jpg")})
    assert "first.json and second.json both hold the objects of 2 images, with other boxes" in refused(tmp_path)


def test_files_of_other_objects_are_joined(tmp_path):
    images(tmp_path, ["a", "b"])
    lower = tuple((x, y + 12) for x, y in SQUARE)
    via(tmp_path / "cats.json", {name: [region(name="cat")] for name in ("a.jpg", "b.jpg")})
    via(tmp_path / "dogs.json", {name: [region(points=lower, name="dog")] for name in ("a.jpg", "b.jpg")})
    data = read(tmp_path)
    assert boxes(data)["a.jpg"] == [("cat", 4, 6, 24, 16), ("dog", 4, 18, 24, 28)]
    assert any("cats.json and dogs.json both hold objects of 2 images" in str(note) for note in data.notes)


# --- shapes that are no areas ----------------------------------------------------------------------------------------


def test_closed_lines_are_outlines(tmp_path):
    images(tmp_path, ["a", "b"])
    via(tmp_path / "via.json", {name: [region("polyline", CLOSED, name="cat")] for name in ("a.jpg", "b.jpg")})
    data = read(tmp_path)
    assert boxes(data)["a.jpg"] == [("cat", 4, 6, 24, 16)]
    assert any("2 closed lines are read as polygons" in str(note) for note in data.notes)


def test_images_of_unread_shapes_alone_do_not_become_background(tmp_path):
    images(tmp_path, ["a", "b", "c"])
    via(tmp_path / "via.json", {
        "a.jpg": [region(name="cat")], "b.jpg": [region("polyline", SQUARE, name="cat")], "c.jpg": [],
    })  # fmt: skip
    data = read(tmp_path)
    assert {name: len(own) for name, own in boxes(data).items()} == {"a.jpg": 1, "c.jpg": 0}
    assert any("1 image with no other shapes is left out" in str(note) for note in data.notes)


def test_points_alone_are_named(tmp_path):
    images(tmp_path, ["a", "b"])
    for name in ("a", "b"):
        shape = {"label": "eye", "shape_type": "point", "points": [[4, 6]], "group_id": None, "flags": {}}
        text(tmp_path / f"{name}.json", {"version": "5", "flags": {}, "shapes": [shape], "imagePath": f"{name}.jpg"})
    assert "only shapes without an area (2 point), which are not read" in refused(tmp_path)


# --- attributes of VIA -----------------------------------------------------------------------------------------------


def test_attributes_that_are_equal_everywhere_are_one(tmp_path):
    images(tmp_path / "train", ["a", "b"])
    images(tmp_path / "val", ["c", "d"])
    via(tmp_path / "train" / "via.json", {f"{name}.jpg": [region(inseto="fly", insect="fly")] for name in "ab"})
    via(tmp_path / "val" / "via.json", {f"{name}.jpg": [region()] for name in "cd"})
    data = read(tmp_path)
    assert data.classes == ("fly",)
    assert any("taken as 'fly', the only class of the other files" in str(note) for note in data.notes)


def test_attributes_of_one_value_are_no_class(tmp_path):
    images(tmp_path, ["a", "b"])
    other = {"type": "unknown", "image_quality": {"good": True, "frontal": True}}
    via(tmp_path / "via.json", {"a.jpg": [region(name="cat", **other)], "b.jpg": [region(name="dog", **other)]})
    assert read(tmp_path).classes == ("cat", "dog")
