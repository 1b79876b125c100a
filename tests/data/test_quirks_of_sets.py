"""Quirks of tables, boxes, masks and folders that were once misread: read right, or refused with the reason."""

import base64
import json
import os

import numpy as np
import pytest
from layout_files import HEIGHT, WIDTH, boxes, image, images, labels, read, refused, rows, text
from PIL import Image

from danlu.data.dataset import TEST

NAMES = [f"p{i}" for i in range(12)]
KINDS = ("cat", "dog")
BOX = "4,4,24,14"


def said(data, words):
    return any(words in note for note in data.notes)


# --- labels of images ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["csv", "map"])
@pytest.mark.parametrize("count", [30, 12])
def test_integers_that_hardly_recur_are_no_classes(tmp_path, form, count):
    images(tmp_path / "images", [f"p{i}" for i in range(30)])
    if form == "csv":
        rows(tmp_path / "faces.csv", "file,age", *(f"p{i}.jpg,{18 + i % count}" for i in range(30)))
    else:
        text(tmp_path / "faces.json", {f"p{i}.jpg": 18 + i % (2 * count) for i in range(30)})
    data = read(tmp_path)
    assert (data.task, float(data.targets[3])) == ("regress", 21)
    assert said(data, "different integers, taken as numbers; --task classify takes them as classes")


def test_integers_that_recur_are_classes_and_said(tmp_path):
    images(tmp_path / "images", NAMES)
    rows(tmp_path / "wine.csv", "image,quality", *(f"{n}.jpg,{3 + i % 4}" for i, n in enumerate(NAMES)))
    data = read(tmp_path)
    assert (data.task, data.classes) == ("classify", ("3", "4", "5", "6"))
    assert said(data, "4 integers in quality are taken as classes; --task regress takes them as numbers")


def test_fractions_in_a_map_are_numbers(tmp_path):
    images(tmp_path / "images", NAMES)
    text(tmp_path / "scores.json", {f"{n}.jpg": i + 0.5 for i, n in enumerate(NAMES)})
    data = read(tmp_path)
    assert (data.task, float(data.targets[2])) == ("regress", 2.5)


def test_texts_of_their_own_are_no_classes(tmp_path):
    images(tmp_path / "images", NAMES)
    rows(tmp_path / "gt.txt", *(f"{n}.jpg Word{i}" for i, n in enumerate(NAMES)))
    assert "12 images have 12 different labels ('Word0', ...)" in refused(tmp_path)
    assert len(read(tmp_path, "classify").classes) == 12


def test_a_column_of_descriptions_is_no_label(tmp_path):
    images(tmp_path / "images", NAMES)
    rows(tmp_path / "captions.txt", "image,caption", *(f"{n}.jpg,a {KINDS[i % 2]}" for i, n in enumerate(NAMES)))
    assert "captions.txt names images" in (why := refused(tmp_path))
    assert "--target COLUMN" in why


def test_a_text_file_with_a_header_is_a_table(tmp_path):
    images(tmp_path / "images", NAMES)
    rows(tmp_path / "labels.txt", "filename\tclass", *(f"{n}.jpg\t{KINDS[i % 2]}" for i, n in enumerate(NAMES)))
    assert labels(read(tmp_path)) == {f"{n}.jpg": KINDS[i % 2] for i, n in enumerate(NAMES)}


@pytest.mark.parametrize("label", ["?", "-1", "0", ""])
@pytest.mark.parametrize("form", ["files", "column"])
def test_placeholders_of_a_test_set_are_no_class(tmp_path, label, form):
    images(tmp_path / "images", NAMES)
    lines = [f"{n}.jpg,{1 + i % 2 if i < 8 else label}" for i, n in enumerate(NAMES)]
    if form == "files":
        rows(tmp_path / "train.csv", "image,label", *lines[:8])
        rows(tmp_path / "test.csv", "image,label", *lines[8:])
    else:
        rows(tmp_path / "all.csv", "image,label,split", *(f"{one},{'train' if i < 8 else 'test'}"
                                                         for i, one in enumerate(lines)))  # fmt: skip
    data = read(tmp_path)
    assert (data.classes, len(data), data.unlabelled) == (("1", "2"), 8, (TEST,))
    assert said(data, "the 4 images of")


def test_columns_of_a_test_set_without_the_label_are_no_classes(tmp_path):
    images(tmp_path / "train", NAMES)
    images(tmp_path / "test", ["q1", "q2"])
    rows(tmp_path / "train.csv", "Id,Eyes,Face,Score", *(f"{n},{i % 2},1,{17 + 5 * i}" for i, n in enumerate(NAMES)))
    rows(tmp_path / "test.csv", "Id,Eyes,Face", "q1,1,1", "q2,0,1")
    assert "which of its columns (Id, Eyes, Face, Score) is the label" in refused(tmp_path)
    data = read(tmp_path, target="Score")
    assert (data.task, len(data), data.unlabelled) == ("regress", 12, (TEST,))


def test_a_column_called_label_is_the_label_beside_another_of_0_and_1(tmp_path):
    images(tmp_path / "images", NAMES)
    rows(tmp_path / "l.csv", "image,label,male", *(f"{n}.jpg,{i % 2},{i // 2 % 2}" for i, n in enumerate(NAMES)))
    data = read(tmp_path)
    assert (data.task, data.classes) == ("classify", ("0", "1"))


def test_columns_of_labels_that_differ_are_ambiguous_or_said(tmp_path):
    images(tmp_path / "images", NAMES)
    lines = [f"{n}.jpg,{KINDS[i % 2]},{'xyz'[i % 3]}" for i, n in enumerate(NAMES)]
    rows(tmp_path / "l.csv", "image,species,breed", *lines)
    assert "--target COLUMN" in refused(tmp_path)
    assert read(tmp_path, target="breed").classes == ("x", "y", "z")
    rows(tmp_path / "l.csv", "image,class,category", *lines)
    data = read(tmp_path)
    assert data.classes == KINDS
    assert said(data, "the labels are those of the column class of l.csv; --target category reads others")


def test_pairs_of_images_are_refused(tmp_path):
    images(tmp_path / "images", NAMES)
    lines = (f"{n}.jpg,{NAMES[i - 1]}.jpg,{i % 2}" for i, n in enumerate(NAMES))
    rows(tmp_path / "pairs.csv", "image1,image2,label", *lines)
    assert "names several images in each row (also in image2)" in refused(tmp_path)
    assert read(tmp_path, target="label").classes == ("0", "1")


def test_a_column_of_masks_is_no_label(tmp_path):
    images(tmp_path / "images", NAMES)
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[4:9, 4:9] = 255
    (tmp_path / "masks").mkdir()
    for n in NAMES:
        Image.fromarray(pixels).save(tmp_path / "masks" / f"{n}.png")
    rows(tmp_path / "train.csv", "image,label", *(f"images/{n}.jpg,masks/{n}.png" for n in NAMES))
    assert read(tmp_path, "semantic").classes == ("background", "object")
    assert read(tmp_path).format == "instance masks"


def test_bars_separate_labels_of_few_combinations(tmp_path):
    images(tmp_path / "images", NAMES)
    texts = ("Mass|Edema", "No Finding", "Mass")
    rows(tmp_path / "l.csv", "Image Index,Finding Labels", *(f"{n}.jpg,{texts[i % 3]}" for i, n in enumerate(NAMES)))
    assert read(tmp_path).classes == ("Edema", "Mass", "No Finding")


def test_the_separator_line_of_excel(tmp_path):
    images(tmp_path / "images", NAMES)
    lines = ["image;label", *(f"{n}.jpg;{KINDS[i % 2]}" for i, n in enumerate(NAMES))]
    text(tmp_path / "l.csv", "\r\n".join(["sep=;", *lines, ""]), encoding="utf-8-sig")
    data = read(tmp_path)
    assert (len(data), data.problems) == (12, [])
    rows(tmp_path / "table/t.csv", "sep=;", "a;b;label", *(f"{i};{i % 7};{KINDS[i % 2]}" for i in range(40)))
    assert read(tmp_path / "table/t.csv").classes == KINDS


def test_comments_above_a_table_are_named(tmp_path):
    rows(tmp_path / "t.csv", "# exported", "a,b,label", *(f"{i},{i % 7},{KINDS[i % 2]}" for i in range(40)))
    assert "begins with comments (#)" in refused(tmp_path / "t.csv")


@pytest.mark.parametrize(("name", "words"), [("d.arff", "Weka"), ("d.libsvm", "LIBSVM")])
def test_tables_of_other_tools_are_named(tmp_path, name, words):
    rows(tmp_path / name, "@relation x", *("1 2" for _ in range(40)))
    assert words in refused(tmp_path / name)


def test_a_list_of_mxnet_is_named(tmp_path):
    images(tmp_path / "images", NAMES)
    rows(tmp_path / "train.lst", *(f"{i}\t{i % 2}.000000\timages/{n}.jpg" for i, n in enumerate(NAMES)))
    assert "train.lst may hold the labels of the 12 images, but it is a list of MXNet" in refused(tmp_path)


# --- boxes -----------------------------------------------------------------------------------------------------------


def xml(name, label, numbers):
    corners = "".join(f"<{key}>{v}</{key}>" for key, v in zip(("xmin", "ymin", "xmax", "ymax"), numbers))
    head = f"<annotation><filename>{name}</filename>"
    return f"{head}<object><name>{label}</name><bndbox>{corners}</bndbox></object></annotation>"


def test_fractions_in_voc_are_refused(tmp_path):
    for n in NAMES:
        image(tmp_path / f"images/{n}.jpg")
        text(tmp_path / f"annotations/{n}.xml", xml(f"{n}.jpg", "cat", (0.1, 0.2, 0.6, 0.5)))
    assert "between 0 and 1, as fractions of the image instead of pixels" in refused(tmp_path)


def test_xml_that_names_another_image_is_said(tmp_path):
    for i, n in enumerate(NAMES):
        image(tmp_path / f"images/{n}.jpg")
        text(tmp_path / f"annotations/{n}.xml", xml(f"{NAMES[i - 1]}.jpg", KINDS[i % 2], (5, 5, 24, 14)))
    data = read(tmp_path)
    assert boxes(data)["p3.jpg"] == [("dog", 4, 4, 24, 14)]
    assert said(data, "12 xml files name an image of another name, which is there too")


def test_fractions_among_pixels_are_refused(tmp_path):
    images(tmp_path / "images", NAMES)
    fractions = f"{4 / WIDTH},{4 / HEIGHT},{24 / WIDTH},{14 / HEIGHT}"
    lines = (f"{n}.jpg,{BOX if i % 2 else fractions},cat" for i, n in enumerate(NAMES))
    rows(tmp_path / "b.csv", "image,xmin,ymin,xmax,ymax,label", *lines)
    assert "6 of 12 boxes lie between 0 and 1, as fractions of the image, the others are in pixels" in refused(tmp_path)


def test_rotated_boxes_of_coco_are_the_boxes_around_them(tmp_path):
    images(tmp_path / "images", ["a"])
    angle = {"occluded": False, "rotation": 90.0}
    objects = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 10], "attributes": angle}]
    entries = [{"id": 1, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT}]
    text(tmp_path / "a.json", {"images": entries, "annotations": objects, "categories": [{"id": 1, "name": "cat"}]})
    data = read(tmp_path)
    assert boxes(data)["a.jpg"] == [("cat", 15, 5, 25, 25)]
    assert said(data, "1 rotated boxes are read as the boxes around them")


def test_images_inside_labelme_files_are_named(tmp_path):
    image(tmp_path / "whole.jpg")
    inside = base64.b64encode((tmp_path / "whole.jpg").read_bytes()).decode()
    (tmp_path / "whole.jpg").unlink()
    shape = {"label": "cat", "points": [[4, 4], [24, 14]], "shape_type": "rectangle"}
    for n in NAMES:
        text(tmp_path / f"{n}.json", json.dumps({"shapes": [shape], "imagePath": f"{n}.jpg", "imageData": inside}))
    assert "the images are missing, but lie in the json files (imageData of p0.json)" in refused(tmp_path)


# --- masks -----------------------------------------------------------------------------------------------------------


def regions(values=(0, 1, 2)):
    pixels = np.full((HEIGHT, WIDTH), values[0], np.uint8)
    pixels[2:10, 3:15], pixels[15:25, 20:36] = values[1:]
    return pixels


def masks(folder, pixels_of, palette_of=None):
    for i, n in enumerate(NAMES):
        path = folder / "masks" / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image(folder / "images" / f"{n}.jpg")
        mask = Image.fromarray(pixels_of(i))
        if palette_of is not None:
            mask.putpalette([part for colour in palette_of(i) for part in colour])
        mask.save(path)


def test_palettes_that_differ_between_masks_are_refused(tmp_path):
    colours = [(0, 0, 0), (255, 0, 0), (0, 0, 255)]
    masks(tmp_path, lambda i: regions((2, 0, 1) if i % 2 else (0, 1, 2)),
          lambda i: (*colours[1:], colours[0]) if i % 2 else colours)  # fmt: skip
    assert "each mask has a palette of its own" in refused(tmp_path, "semantic")


def test_palettes_with_more_colours_in_some_masks_are_alike(tmp_path):
    colours = [(0, 0, 0), (255, 0, 0), (0, 0, 255)]
    masks(tmp_path, lambda i: regions(), lambda i: colours + [(9, 9, 9)] * (i % 2))
    assert read(tmp_path, "semantic").classes == ("0", "1", "2")


def test_grey_levels_up_to_255_are_classes(tmp_path):
    masks(tmp_path, lambda i: regions((0, 128, 255)))
    data = read(tmp_path, "semantic")
    assert data.classes == ("0", "128", "255")
    assert said(data, "--data.ignore 255 leaves its pixels out")
    assert read(tmp_path, "semantic", ignore=255).classes == ("background", "object")


@pytest.mark.parametrize("name", ["labels_class_dict.csv", "class_dict_seg.csv"])
def test_tables_of_colours_by_other_names(tmp_path, name):
    masks(tmp_path, lambda i: np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0]], np.uint8)[regions()])
    rows(tmp_path / name, "class_name, r, g, b", "background,0,0,0", "road,255,0,0", "tree,0,255,0")
    assert read(tmp_path, "semantic").classes == ("background", "road", "tree")


def test_masks_beside_images_without_class_folders_are_named(tmp_path):
    images(tmp_path, NAMES)
    for n in NAMES:
        Image.fromarray(regions((0, 255, 255))).save(tmp_path / f"{n}_mask.png")
    assert "12 masks lie beside their images" in refused(tmp_path)


def test_the_task_semantic_without_masks_says_what_is_missing(tmp_path):
    for kind in KINDS:
        images(tmp_path / kind, [f"{kind}{i}" for i in range(3)])
    assert "no mask with the name of an image" in refused(tmp_path, "semantic")


# --- folders and files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["plots", "pred", "brain/yes"])
def test_folders_of_results_and_copies_are_no_classes(tmp_path, folder):
    for kind in ("yes", "no"):
        images(tmp_path / kind, [f"{kind}{i}" for i in range(4)])
    images(tmp_path / folder, ["x1", "x2"])
    data = read(tmp_path)
    assert (data.classes, len(data)) == (("no", "yes"), 8)
    assert said(data, f"the 2 images of {os.path.dirname(folder) or folder}/ are not read")


@pytest.mark.parametrize("suffix", [".tif", ".gif"])
def test_files_of_several_images_are_counted(tmp_path, suffix):
    pages = [Image.fromarray(np.full((HEIGHT, WIDTH), 40 * i, np.uint8)) for i in range(3)]
    for kind in KINDS:
        images(tmp_path / kind, [f"{kind}{i}" for i in range(3)])
        pages[0].save(tmp_path / kind / f"stack{suffix}", save_all=True, append_images=pages[1:])
    data = read(tmp_path)
    assert said(data, f"2 files hold several images, as pages or frames (first: stack{suffix})")


# --- a second look: splits, several sets, forms of boxes, colours of objects -----------------------------------------


def test_splits_that_are_numbers_are_said(tmp_path):
    images(tmp_path / "images", NAMES)
    rows(tmp_path / "l.csv", "image,label,partition", *(f"{n}.jpg,{KINDS[i % 2]},{i % 3}" for i, n in enumerate(NAMES)))
    data = read(tmp_path)
    assert data.given is None
    assert said(data, "the column partition of l.csv is not used: 0, 1, 2 do not name the splits")


def test_folders_of_a_single_image_are_no_classes(tmp_path):
    for i in range(9):
        image(tmp_path / f"train/patient{i}/view.jpg")
    lines = (f"train/patient{i}/view.jpg,{'MF'[i % 2]},{40 + i},{i % 2}" for i in range(9))
    rows(tmp_path / "train.csv", "Path,Sex,Age,Edema", *lines)
    why = refused(tmp_path)
    assert "which of its columns (Path, Sex, Age, Edema) is the label" in why
    assert "9 of 9 folders hold a single image, as those of patients or persons" in why
    assert read(tmp_path, target="Edema").classes == ("0", "1")


def test_a_table_of_videos_is_named(tmp_path):
    for i in range(4):
        images(tmp_path / f"frames/video{i}", ["1", "2", "3"])
    rows(tmp_path / "videos.csv", "video,label", *(f"video{i},{KINDS[i % 2]}" for i in range(4)))
    assert "videos.csv annotates whole folders of images (video0/)" in refused(tmp_path)


def test_two_yolo_sets_with_other_classes_are_named(tmp_path):
    for folder, names in (("a", "[cat, dog]"), ("b", "[dog, cat]")):
        images(tmp_path / folder / "train/images", [f"{folder}{n}" for n in NAMES])
        for n in NAMES:
            rows(tmp_path / folder / f"train/labels/{folder}{n}.txt", "0 0.5 0.5 0.25 0.5")
        text(tmp_path / folder / "data.yaml", f"train: train/images\nval: train/images\nnames: {names}\n")
    assert "a/data.yaml and b/data.yaml list different classes, as of two data sets" in refused(tmp_path)


def test_coco_keypoints_without_boxes_are_no_labels(tmp_path):
    images(tmp_path / "images", ["a"])
    objects = [{"id": 1, "image_id": 1, "category_id": 1, "keypoints": [5, 5, 2], "num_keypoints": 1}]
    entries = [{"id": 1, "file_name": "a.jpg"}]
    text(tmp_path / "a.json", {"images": entries, "annotations": objects, "categories": [{"id": 1, "name": "cat"}]})
    assert "keypoints without boxes" in refused(tmp_path)


def test_centres_called_like_corners_are_refused(tmp_path):
    images(tmp_path / "images", NAMES)
    lines = (f"{n}.jpg,{KINDS[i % 2]},0.7,0.6,0.5,0.7" for i, n in enumerate(NAMES))
    rows(tmp_path / "b.csv", "image,class,x,y,w,h", *lines)
    assert "the boxes fit their images as the centre, width, height but not as the corner" in refused(tmp_path)


def test_colours_of_objects_are_no_classes(tmp_path):
    def coloured(i):
        colours = np.random.default_rng(i).integers(30, 255, (3, 3)).astype(np.uint8)
        colours[0] = 0
        return colours[regions()]

    masks(tmp_path, coloured)
    assert "colours occur in one mask only, as of objects and not of classes" in refused(tmp_path, "semantic")


def test_spellings_of_a_class_in_a_table_are_said(tmp_path):
    rows(tmp_path / "t.csv", "a,b,label", *(f"{i},{i % 7},{('Yes', 'yes', 'No')[i % 3]}" for i in range(60)))
    assert said(read(tmp_path / "t.csv"), "classes 'Yes' and 'yes' differ only in spelling")


def test_bars_separate_fields(tmp_path):
    images(tmp_path / "images", NAMES)
    rows(tmp_path / "l.csv", "image|label", *(f"{n}.jpg|{KINDS[i % 2]}" for i, n in enumerate(NAMES)))
    assert labels(read(tmp_path))["p1.jpg"] == "dog"
    rows(tmp_path / "table/t.csv", "a|b|label", *(f"{i}|{i % 7}|{KINDS[i % 2]}" for i in range(40)))
    assert read(tmp_path / "table/t.csv").classes == KINDS


def test_rotated_boxes_of_voc_are_the_boxes_around_them(tmp_path):
    image(tmp_path / "images/a.jpg")
    angle = "<attributes><attribute><name>rotation</name><value>90.0</value></attribute></attributes></object>"
    text(tmp_path / "annotations/a.xml", xml("a.jpg", "cat", (11, 11, 30, 20)).replace("</object>", angle))
    data = read(tmp_path)
    assert boxes(data)["a.jpg"] == [("cat", 15, 5, 25, 25)]
    assert said(data, "1 rotated boxes are read as the boxes around them")


def test_fractions_in_a_column_called_like_classes_are_numbers(tmp_path):
    images(tmp_path / "images", NAMES)
    rows(tmp_path / "t.csv", "file,y", *(f"{n}.jpg,{-1.5 * i:.3e}" for i, n in enumerate(NAMES)))
    assert (read(tmp_path).task, float(read(tmp_path).targets[2])) == ("regress", -3)
