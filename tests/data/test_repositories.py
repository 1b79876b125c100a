"""Layouts and quirks of data sets in public repositories, rebuilt small."""

import numpy as np
import pytest
from layout_files import boxes, image, images, read, refused, text
from PIL import Image

from danlu.analysis.describe import describe

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


# --- files that are there twice, or not at all ------------------------------------------------------------------------


def coco(path, names, box=(4, 6, 20, 10), **other):
    text(path, {
        "images": [{"id": i, "file_name": name, "width": 40, "height": 30} for i, name in enumerate(names, 1)],
        "annotations": [{"id": i, "image_id": i, "category_id": 1, "bbox": box, "area": 200, "iscrowd": 0}
                        for i in range(1, len(names) + 1)],
        "categories": [{"id": 1, "name": "cat"}], **other,
    })  # fmt: skip


def test_a_copy_of_an_image_is_not_ambiguous(tmp_path):
    images(tmp_path, ["a", "b"])
    (tmp_path / "images").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "images" / name).write_bytes((tmp_path / name).read_bytes())
    coco(tmp_path / "annotations" / "instances_default.json", ["a.jpg", "b.jpg"])
    data = read(tmp_path)
    assert boxes(data) == {name: [("cat", 4, 6, 24, 16)] for name in ("a.jpg", "b.jpg")}
    assert any("2 images have copies in another folder" in str(note) for note in data.notes)


def test_another_image_of_the_name_is_ambiguous(tmp_path):
    images(tmp_path, ["a", "b"])
    images(tmp_path / "images", ["a", "b"])
    coco(tmp_path / "annotations" / "instances_default.json", ["a.jpg", "b.jpg"])
    assert "both have this name" in refused(tmp_path)


def test_a_mask_is_not_the_image_of_an_annotation(tmp_path):
    images(tmp_path / "train_images", ["a", "b"])
    images(tmp_path / "train_masks", ["a", "b"])
    coco(tmp_path / "annotations" / "all.json", ["a.jpg", "b.jpg"])
    data = read(tmp_path)
    assert {path.parent.name for path in data.inputs.paths} == {"train_images"}


def test_coco_files_of_other_images_beside_instances_are_read(tmp_path):
    images(tmp_path, ["a", "b", "c", "d"])
    coco(tmp_path / "annotations" / "instances_default.json", ["a.jpg", "b.jpg"])
    coco(tmp_path / "more.json", ["c.jpg", "d.jpg"])
    assert sorted(boxes(read(tmp_path))) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]


def test_annotations_without_their_images(tmp_path):
    images(tmp_path / "figures", ["x"])
    coco(tmp_path / "_annotations.coco.json", ["a.jpg", "b.jpg"])
    assert (
        "none of the 2 images that the annotations name is there (a.jpg (of _annotations.coco.json): missing image)"
        in refused(tmp_path)
    )


def test_labels_of_yolo_without_images(tmp_path):
    for i in range(4):
        text(tmp_path / "labels" / f"{i}.txt", "0 0.5 0.5 0.2 0.2\n")
    assert "4 .txt files (first: labels/0.txt) are YOLO's labels, but there are no images" in refused(tmp_path)


def test_names_without_an_ending_in_voc_are_not_others(tmp_path):
    box = "<bndbox><xmin>4</xmin><ymin>6</ymin><xmax>24</xmax><ymax>16</ymax></bndbox>"
    for name in ("a", "b"):
        image(tmp_path / f"{name}.jpg")
        tree = f"<annotation><filename>{name}</filename><object><name>cat</name>{box}</object></annotation>"
        text(tmp_path / f"{name}.xml", tree)
    assert not any("another name" in str(note) for note in read(tmp_path).notes)


# --- lists of YOLO ----------------------------------------------------------------------------------------------------


def test_a_data_yaml_of_another_machine(tmp_path):
    for split, name in (("train", "a"), ("train", "b"), ("val", "c")):
        image(tmp_path / "images" / split / f"{name}.jpg")
        text(tmp_path / "labels" / split / f"{name}.txt", "1 0.5 0.5 0.2 0.2\n")
    text(tmp_path / "data.yaml", "path: path\\to\\dataset\ntrain: path\\to\\x\nval: path\\to\\y\nnames: [cat, dog]\n")
    data = read(tmp_path)
    assert data.given is not None
    assert data.classes == ("cat", "dog")
    assert data.given.tolist() == [0, 0, 1]
    assert any("names folders that are not there" in str(note) for note in data.notes)


def test_lists_of_classes_that_contradict_each_other(tmp_path):
    for split, names in (("train", "cat\ndog\n"), ("val", "dog\ncat\n")):
        for name in ("a", "b"):
            image(tmp_path / split / f"{split}{name}.jpg")
            text(tmp_path / split / f"{split}{name}.txt", "1 0.5 0.5 0.2 0.2\n")
        text(tmp_path / split / "classes.txt", names)
    assert "list different classes" in refused(tmp_path)


def test_a_few_stray_labels_do_not_outweigh_a_list_of_boxes(tmp_path):
    names = [f"i{k}" for k in range(30)]
    images(tmp_path / "train", names)
    text(
        tmp_path / "train" / "_annotations.txt",
        "".join(f"{name}.jpg 4,6,24,16,{k % 2}\n" for k, name in enumerate(names)),
    )
    text(tmp_path / "train" / "_classes.txt", "cat\ndog")
    image(tmp_path / "test" / "shot.jpg")
    text(tmp_path / "test" / "shot.txt", "15 0.5 0.5 0.2 0.2\n")
    text(tmp_path / "test" / "classes.txt", "button\n")
    assert "--format yolo or --format csv-boxes" in refused(tmp_path)
    data = read(tmp_path, format="csv-boxes")
    assert data.classes == ("cat", "dog")


# --- folders that are no classes --------------------------------------------------------------------------------------


def mask(path, box):
    """A mask of 0 and 255."""
    pixels = np.zeros((30, 40), np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_masks_beside_augmented_copies_and_an_unlabelled_test_set(tmp_path):
    train = tmp_path / "data" / "membrane" / "train"
    for k in range(6):
        image(train / "image" / f"{k}.png")
        mask(train / "label" / f"{k}.png", (k, 5, 30 - k, 20))
    images(train / "aug", [f"{kind}_{k}_{n}" for kind in ("image", "mask") for k in range(6) for n in range(4)], ".png")
    images(tmp_path / "data" / "membrane" / "test", [str(k) for k in range(30)], ".png")
    data = read(tmp_path, task="semantic")
    assert len(data) == 6
    assert data.classes == ("background", "object")


def test_a_mask_per_object_named_after_its_image_is_no_class(tmp_path):
    for k in range(4):
        image(tmp_path / "train" / "shapes_train2018" / f"100{k}.jpeg")
        for name in ("square_0", "circle_1"):
            mask(tmp_path / "train" / "annotations" / f"100{k}_{name}.png", (2, 2, 12 + k, 12))
    message = refused(tmp_path)
    assert "annotations/ is called like a folder of masks" in message
    assert "move those of each image to annotations/1000/" in message


def test_a_folder_called_test_beside_classes_is_for_prediction(tmp_path):
    for name in ("fir", "cherry"):
        images(tmp_path / name, [f"{name}{k}" for k in range(6)])
    images(tmp_path / "Test", ["t"])
    data = read(tmp_path)
    assert data.classes == ("cherry", "fir")
    assert data.unlabelled == (2,)
    assert any("Test/ has no class folder: used for prediction" in str(note) for note in data.notes)


def test_folders_of_programs_are_no_classes(tmp_path):
    for name in ("fir", "cherry"):
        images(tmp_path / name, [f"{name}{k}" for k in range(6)])
    text(tmp_path / "utils" / "tool.py", "print()\n")
    data = read(tmp_path)
    assert data.classes == ("cherry", "fir")
    assert any("utils/ holds programs and no image" in str(note) for note in data.notes)


def test_the_images_of_a_program_are_no_classes(tmp_path):
    images(tmp_path / "doc" / "img", ["a", "b", "c"])
    images(tmp_path / "static", ["d", "e"])
    text(tmp_path / "app.py", "print()\n")
    assert "doc/, static/ are called like folders of the images of a program" in refused(tmp_path)


def test_masks_of_which_few_have_an_image(tmp_path):
    images(tmp_path / "images", ["1", "2"], ".png")
    for k in range(20):
        mask(tmp_path / "masks" / f"{k}.png", (5, 5, 20, 20))
    assert "but only 2 of 20 masks have the name of an image" in refused(tmp_path)


# --- sets that are too small to train on ------------------------------------------------------------------------------


def test_a_set_of_two_images_is_described(tmp_path):
    images(tmp_path, ["a", "b"])
    coco(tmp_path / "_annotations.coco.json", ["a.jpg", "b.jpg"])
    report = describe(tmp_path)
    assert report.counts == {"train": 2, "val": 0, "test": 0}
    assert report.problems[0]["done"] == "training stops at"


# --- label masks ------------------------------------------------------------------------------------------------------


def test_lists_of_two_sets_of_voc_are_kept_apart(tmp_path):
    for name, split in (("fox", {"train": "01", "val": "2"}), ("lion", {"train": "12", "val": "0"})):
        for k in range(3):
            image(tmp_path / name / "JPEGImages" / f"{k}.png")
            mask(tmp_path / name / "SegmentationClass" / f"{k}.png", (2, 2, 12, 12))
        for part, names in split.items():
            text(tmp_path / name / "ImageSets" / "Segmentation" / f"{part}.txt", "\n".join(names))
    data = read(tmp_path, task="semantic")
    found = {(path.parts[-3], path.stem): int(split) for path, split in zip(data.inputs.paths, data.given)}
    assert {key for key, split in found.items() if split == 1} == {("fox", "2"), ("lion", "0")}
    assert len(found) == 6


def test_names_of_voc_are_said(tmp_path):
    for k in range(4):
        image(tmp_path / "JPEGImages" / f"{k}.jpg")
        pixels = np.zeros((30, 40), np.uint8)
        pixels[5:20, k : 20 + k] = 1
        (tmp_path / "SegmentationClass").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "SegmentationClass" / f"{k}.png")
    data = read(tmp_path)
    assert data.classes[1] == "aeroplane"
    assert any("they have the names of Pascal VOC" in str(note) for note in data.notes)


def test_outlines_stand_in_for_masks_that_cannot_be_read(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "masks").mkdir()
    for k in range(4):
        image(tmp_path / "images" / f"{k}.png")
        Image.fromarray(rng.integers(0, 255, (30, 40, 3), np.uint8)).save(tmp_path / "masks" / f"{k}.png")
    shape = '<polygon label="car" points="4,6;24,6;24,16;4,16" z_order="0"/>'
    entries = "".join(f'<image id="{k}" name="{k}.png" width="40" height="30">{shape}</image>' for k in range(4))
    text(tmp_path / "annotations.xml", f"<annotations><version>1.1</version>{entries}</annotations>")
    data = read(tmp_path, task="semantic")
    assert (data.format, data.classes) == ("cvat", ("background", "car"))
    assert any("the outlines of cvat are drawn instead" in str(note) for note in data.notes)


# --- splits and missing images ----------------------------------------------------------------------------------------


def test_a_mask_does_not_stand_in_for_a_missing_image(tmp_path):
    names = [f"{k}.jpg" for k in range(30)]
    images(tmp_path / "images" / "val", [f"{k}" for k in range(29)])
    for k in range(30):
        mask(tmp_path / "masks" / "val" / f"{k}.png", (2, 2, 12, 12))
    coco(tmp_path / "annotations" / "instances_default.json", [f"val/{name}" for name in names])
    data = read(tmp_path)
    assert {path.parts[-3] for path in data.inputs.paths} == {"images"}
    assert [problem.where.split()[0] for problem in data.problems if "missing" in problem.reason] == ["val/29.jpg"]


def test_a_file_without_a_split_beside_one_of_validation_is_the_training_set(tmp_path):
    images(tmp_path / "images", ["a", "b", "c"])
    coco(tmp_path / "annotations" / "instances_default.json", ["a.jpg", "b.jpg"])
    coco(tmp_path / "annotations" / "val_instances_default.json", ["c.jpg"])
    data = read(tmp_path)
    assert data.given is not None
    assert data.given.tolist() == [0, 0, 1]
    assert any("instances_default.json holds the training set" in str(note) for note in data.notes)


def test_lists_directly_in_image_sets(tmp_path):
    box = "<bndbox><xmin>4</xmin><ymin>6</ymin><xmax>24</xmax><ymax>16</ymax></bndbox>"
    for name in "abcd":
        image(tmp_path / "Images" / f"{name}.jpg")
        tree = f"<annotation><filename>{name}.jpg</filename><object><name>cat</name>{box}</object></annotation>"
        text(tmp_path / "Annotations" / f"{name}.xml", tree)
    text(tmp_path / "ImageSets" / "train.txt", "a\nb\nc\n")
    text(tmp_path / "ImageSets" / "test.txt", "d\n")
    data = read(tmp_path)
    assert {path.stem: int(split) for path, split in zip(data.inputs.paths, data.given)} == {
        "a": 0,
        "b": 0,
        "c": 0,
        "d": 2,
    }


def test_images_in_several_folders_are_named_as_such(tmp_path):
    images(tmp_path / "visible", ["a", "b"])
    images(tmp_path / "infrared", ["a", "b"])
    coco(tmp_path / "annotations" / "instances.json", ["a.jpg", "b.jpg"])
    assert "each of the 2 images that the annotations name lies in several folders" in refused(tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".csv"])
def test_pointers_of_git_lfs_are_named(tmp_path, suffix):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:7ca6188e\nsize 989545\n"
    for name in ("cat", "dog"):
        for k in range(3):
            text(tmp_path / name / f"{k}{suffix}", pointer)
    assert "are pointers of Git LFS instead of the data: run `git lfs pull`" in refused(tmp_path)


def test_masks_of_nnunet(tmp_path):
    for k in range(4):
        image(tmp_path / "imagesTr" / f"case{k}_0000.png", "L")
        pixels = np.zeros((30, 40), np.uint8)
        pixels[5:20, k : 20 + k], pixels[22:28, :9] = 1, 2
        (tmp_path / "labelsTr").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "labelsTr" / f"case{k}.png")
    text(tmp_path / "dataset.json", {"labels": {"background": 0, "kidney": 1, "cyst": 2, "stone": 3}})
    data = read(tmp_path)
    assert (len(data), data.classes) == (4, ("background", "kidney", "cyst", "stone"))
    assert np.unique(data.targets[0].read()).tolist() == [0, 1, 2]
