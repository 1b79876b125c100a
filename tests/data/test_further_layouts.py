"""Layouts of published sets and of users, each with what it means: classes, splits, boxes and pixels."""

import numpy as np
import pytest
from layout_files import HEIGHT, WIDTH, boxes, image, images, labels, read, refused, rows, splits, text
from PIL import Image

from danlu.data.dataset import TEST, TRAIN, VAL

NAMES = [f"p{i}" for i in range(6)]
KINDS = ("ant", "bee")


def class_mask(path, palette=None):
    """A mask of three classes: one in the middle, and one in two separate corners."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[10:20, 10:20] = 1
    pixels[:5, :5] = pixels[-5:, -5:] = 2
    found = Image.fromarray(pixels)
    if palette:
        found.putpalette(palette)
    found.save(path)


def pixels_of(data, name):
    """Number of pixels of each class of the image."""
    place = next(i for i in range(len(data)) if data.name_of(i).endswith(name))
    return dict(
        zip(data.classes, np.bincount(data.targets[place].read().ravel(), minlength=len(data.classes)).tolist())
    )


# --- masks of classes ----------------------------------------------------------------------------------------------


def test_masks_whose_names_have_one_text_more_than_their_images(tmp_path):
    """CamVid as fastai packs it: labels/0001_P.png, codes.txt, and valid.txt without a list of the training set."""
    for name in NAMES:
        image(tmp_path / f"images/{name}.png")
        class_mask(tmp_path / f"labels/{name}_P.png")
    rows(tmp_path / "codes.txt", "Animal", "Car", "Road")
    rows(tmp_path / "valid.txt", "p4.png", "p5.png")
    data = read(tmp_path)
    assert (data.format, data.classes) == ("label masks", ("Animal", "Car", "Road"))
    assert pixels_of(data, "p0.png") == {"Animal": HEIGHT * WIDTH - 150, "Car": 100, "Road": 50}
    assert [splits(data)[f"{name}.png"] for name in NAMES] == [TRAIN] * 4 + [VAL] * 2
    assert any("valid.txt name the images of their split" in note for note in data.notes)


def test_lists_of_images_and_their_masks_are_no_labels(tmp_path):
    """CamVid as SegNet packs it: train.txt holds the path of an image and that of its mask in each line."""
    for split in ("train", "val"):
        for name in NAMES:
            image(tmp_path / f"{split}/{name}.png")
            class_mask(tmp_path / f"{split}annot/{name}.png")
        rows(
            tmp_path / f"{split}.txt",
            *(f"/SegNet/{split}/{name}.png /SegNet/{split}annot/{name}.png" for name in NAMES),
        )
    data = read(tmp_path)
    assert (data.format, len(data)) == ("label masks", 12)


def test_images_of_cityscapes_with_one_name_in_two_splits(tmp_path):
    for split in ("train", "val"):
        for i in range(3):
            image(tmp_path / f"leftImg8bit/{split}/aachen/aachen_{i}_leftImg8bit.png")
            mask = tmp_path / f"gtFine/{split}/aachen/aachen_{i}_gtFine_labelIds.png"
            mask.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((HEIGHT, WIDTH), 7 if split == "train" else 26, np.uint8)).save(mask)
    data = read(tmp_path)
    assert data.given.tolist().count(TRAIN) == data.given.tolist().count(VAL) == 3
    for i in range(6):
        assert pixels_of(data, data.name_of(i))["road"] == (HEIGHT * WIDTH if "train" in data.name_of(i) else 0)


def test_masks_of_ade20k_have_the_classes_of_its_list(tmp_path):
    for split in ("training", "validation"):
        for name in NAMES:
            image(tmp_path / f"images/{split}/{name}.jpg")
            class_mask(tmp_path / f"annotations/{split}/{name}.png")
    rows(
        tmp_path / "objectInfo150.txt",
        "Idx\tRatio\tTrain\tVal\tName",
        "1\t.2\t9\t9\twall",
        "2\t.1\t9\t9\tbuilding, edifice",
    )
    data = read(tmp_path)
    assert data.classes == ("wall", "building, edifice")
    values, counts = np.unique(data.targets[0].read(), return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist())) == {0: 100, 1: 50, 255: HEIGHT * WIDTH - 150}


def test_the_class_masks_of_voc_are_classes(tmp_path):
    """Also where their values could be numbers of objects, without lists or a folder of instances."""
    for name in NAMES:
        image(tmp_path / f"JPEGImages/{name}.jpg")
        class_mask(tmp_path / f"SegmentationClass/{name}.png", palette=[0, 0, 0, 128, 0, 0, 0, 128, 0])
    data = read(tmp_path)
    assert data.format == "label masks"
    assert pixels_of(data, "p0.jpg") | {"aeroplane": 100, "bicycle": 50} == pixels_of(data, "p0.jpg")


def test_folders_called_as_in_mmsegmentation(tmp_path):
    for split in ("train", "val"):
        for name in NAMES:
            image(tmp_path / f"img_dir/{split}/{name}.jpg")
            class_mask(tmp_path / f"ann_dir/{split}/{name}.png")
    data = read(tmp_path, "semantic")
    assert (len(data), data.given.tolist().count(VAL)) == (12, 6)


# --- tables --------------------------------------------------------------------------------------------------------


def table(path, header, *lines):
    rows(path, header, *(",".join(map(str, line)) for line in lines))


def test_flags_of_the_validation_set_are_splits(tmp_path):
    """fastai's is_valid, and is_test; is_train is true for the training set."""
    images(tmp_path, NAMES)
    for column, flag, other in (("is_valid", VAL, TRAIN), ("is_test", TEST, TRAIN), ("is_train", TRAIN, TEST)):
        lines = [(f"{name}.jpg", KINDS[i % 2], i < 2) for i, name in enumerate(NAMES)]
        table(tmp_path / "labels.csv", f"fname,label,{column}", *lines)
        data = read(tmp_path)
        assert data.classes == KINDS
        assert [splits(data)[f"{name}.jpg"] for name in NAMES] == [flag] * 2 + [other] * 4


def test_a_column_of_folds_is_named(tmp_path):
    images(tmp_path, NAMES)
    table(tmp_path / "t.csv", "image,label,kfold", *((f"{n}.jpg", KINDS[i % 2], i % 3) for i, n in enumerate(NAMES)))
    data = read(tmp_path)
    assert data.given is None
    assert any("kfold" in note and "--folds 3" in note for note in data.notes)


def test_the_column_whose_name_ends_like_one_of_labels_is_it(tmp_path):
    """The NIH's chest X-rays: Finding Labels beside further columns, several labels behind one another."""
    images(tmp_path, NAMES)
    found = ("Edema|Mass", "Edema", "Mass")
    lines = [(f"{name}.jpg", found[i % 3], i, "M") for i, name in enumerate(NAMES)]
    table(tmp_path / "Data_Entry.csv", "Image Index,Finding Labels,Follow-up #,Patient Gender", *lines)
    data = read(tmp_path)
    assert (data.task, data.classes) == ("multilabel", ("Edema", "Mass"))
    assert data.targets.tolist()[:3] == [[1, 1], [1, 0], [0, 1]]


@pytest.mark.parametrize(
    "header",
    [
        "Filename;Annotation tag;Upper left corner X;Upper left corner Y;Lower right corner X;Lower right corner Y;Frame",
        "Filename;Annotation tag;startX;startY;endX;endY;Frame",
        "Filename;Annotation tag;leftCol;topRow;rightCol;bottomRow;Frame",
    ],
)
def test_corners_by_other_names(tmp_path, header):
    """Columns of LISA's and of other sets of traffic signs."""
    images(tmp_path, NAMES)
    rows(tmp_path / "boxes.csv", header, *(f"{name}.jpg;stop;4;6;24;16;9" for name in NAMES))
    assert boxes(read(tmp_path)) == {f"{name}.jpg": [("stop", 4, 6, 24, 16)] for name in NAMES}


def test_rows_of_make_sense_without_a_header(tmp_path):
    images(tmp_path, NAMES)
    rows(tmp_path / "labels.csv", *(f"ant,4,6,20,10,{name}.jpg,{WIDTH},{HEIGHT}" for name in NAMES))
    assert boxes(read(tmp_path)) == {f"{name}.jpg": [("ant", 4, 6, 24, 16)] for name in NAMES}


@pytest.mark.parametrize(
    ("column", "outline"),
    [
        ("geometry", "[(4, 6), (24, 6), (24, 16), (4, 16), (4, 6)]"),
        ("segmentation", "[[4, 6, 24, 6, 24, 16, 4, 16]]"),
        ("polygon", "4,6 24,6 24,16 4,16"),
        ("vertices", "[{'x': 4, 'y': 6}, {'x': 24, 'y': 6}, {'x': 24, 'y': 16}, {'x': 4, 'y': 16}]"),
        ("shape", "POLYGON ((4 6, 24 6, 24 16, 4 16, 4 6))"),
    ],
)
def test_outlines_in_a_column(tmp_path, column, outline):
    images(tmp_path, NAMES)
    rows(
        tmp_path / "t.csv",
        f"id,image_id,{column},class",
        *(f'{i},{n}.jpg,"{outline}",ant' for i, n in enumerate(NAMES)),
    )
    assert boxes(read(tmp_path)) == {f"{name}.jpg": [("ant", 4, 6, 24, 16)] for name in NAMES}
    data = read(tmp_path, "segment")
    assert len(data.targets[0].shapes[0].rings[0]) in (4, 5)


def runs(by_rows=False):
    """Run lengths of the rectangle from (4, 6) to (24, 16)."""
    if by_rows:
        return " ".join(f"{y * WIDTH + 4 + 1} 20" for y in range(6, 16))
    return " ".join(f"{x * HEIGHT + 6 + 1} 10" for x in range(4, 24))


@pytest.mark.parametrize("by_rows", [False, True])
def test_run_lengths_of_masks(tmp_path, by_rows):
    """Kaggle's ships count down the columns, its neurons along the rows; images without runs have no object."""
    images(tmp_path / "train", [*NAMES, "empty"])
    lines = [(f"{name}.jpg", runs(by_rows)) for name in NAMES]
    table(tmp_path / "masks.csv", "ImageId,EncodedPixels", *lines, ("empty.jpg", ""))
    data = read(tmp_path)
    assert (data.format, data.task, data.classes) == ("csv masks", "segment", ("object",))
    expected = {f"{name}.jpg": [("object", 4, 6, 24, 16)] for name in NAMES}
    assert boxes(data) == expected | {"empty.jpg": []}
    assert data.targets[0].shapes[0].pixels.sum() == 200
    assert any("counted along the rows" in note for note in data.notes) == by_rows


def test_run_lengths_with_classes_and_a_bad_row(tmp_path):
    names = [f"q{i}" for i in range(30)]
    images(tmp_path, names)
    lines = [(f"{name}.jpg", i % 2 + 1, runs() if i else "5 999999") for i, name in enumerate(names)]
    table(tmp_path / "train.csv", "ImageId,ClassId,EncodedPixels", *lines)
    data = read(tmp_path)
    assert data.classes == ("1", "2")
    assert boxes(data)["q1.jpg"] == [("2", 4, 6, 24, 16)]
    assert boxes(data)["q0.jpg"] == []
    assert ["leave the image" in str(problem.reason) for problem in data.problems] == [True]
    assert read(tmp_path, "semantic").classes == ("background", "1", "2")


def test_run_lengths_without_their_images(tmp_path):
    images(tmp_path, NAMES)
    table(tmp_path / "masks.csv", "ImageId,EncodedPixels", *((f"other{i}.jpg", runs()) for i in range(4)))
    assert "none of its images (other0.jpg) lies beside it" in refused(tmp_path)


# --- class folders and what lies beside them -----------------------------------------------------------------------


def two_kinds(folder, count=4):
    for kind in KINDS:
        images(folder / kind, [f"{kind}{i}" for i in range(count)])


@pytest.mark.parametrize("form", ["numbers", "names", "csv", "lines"])
def test_a_list_gives_the_classes_of_a_split_without_class_folders(tmp_path, form):
    """ImageNet: train/CLASS/NAME.JPEG, but val/NAME.JPEG with a list of the classes."""
    two_kinds(tmp_path / "train")
    names = [f"v{i}" for i in range(4)]
    images(tmp_path / "val", names, ".JPEG")
    kinds = [KINDS[i % 2] for i in range(4)]
    if form == "lines":
        rows(tmp_path / "val_labels.txt", *kinds)
    elif form == "csv":
        table(tmp_path / "val.csv", "image,label", *((f"{name}.JPEG", kind) for name, kind in zip(names, kinds)))
    else:
        shown = [str(KINDS.index(kind)) if form == "numbers" else kind for kind in kinds]
        rows(tmp_path / "val.txt", *(f"{name}.JPEG {label}" for name, label in zip(names, shown)))
    data = read(tmp_path)
    assert (data.format, data.classes, data.unlabelled) == ("folder", KINDS, ())
    assert [labels(data)[f"{name}.JPEG"] for name in names] == kinds
    assert [splits(data)[f"{name}.JPEG"] for name in names] == [VAL] * 4
    assert any("of val/ are those of val" in note for note in data.notes)


def test_numbers_from_1_do_not_name_class_folders(tmp_path):
    two_kinds(tmp_path / "train")
    images(tmp_path / "val", ["v0", "v1"])
    rows(tmp_path / "val.txt", "v0.jpg 1", "v1.jpg 2")
    assert "val.txt labels the images of val/ with '1', which is no class folder" in refused(tmp_path)
    assert read(tmp_path, format="folder").unlabelled == (VAL,)


def test_two_data_sets_in_one_folder_are_named(tmp_path):
    two_kinds(tmp_path / "pets")
    for split in ("train", "val"):
        images(tmp_path / f"fruits/images/{split}", NAMES)
        for name in NAMES:
            text(tmp_path / f"fruits/labels/{split}/{name}.txt", "0 .5 .5 .5 .5\n")
    text(tmp_path / "fruits/data.yaml", "train: images/train\nval: images/val\nnames: [apple]\n")
    said = refused(tmp_path)
    assert "holds two data sets, fruits/ (yolo) and pets/ (folder)" in said
    assert len(read(tmp_path, format="yolo")) == 12
    assert len(read(tmp_path / "pets")) == 8


def test_images_that_a_data_yaml_leaves_out_are_counted(tmp_path):
    for split in ("train", "val", "more"):
        images(tmp_path / f"images/{split}", NAMES)
        for name in NAMES:
            text(tmp_path / f"labels/{split}/{name}.txt", "0 .5 .5 .5 .5\n")
    text(tmp_path / "data.yaml", "train: images/train\nval: images/val\nnames: [apple]\n")
    assert any("6 images that no annotation names are not read (first: images/more" in n for n in read(tmp_path).notes)


def test_splits_beside_a_training_set_given_alone_are_named(tmp_path):
    two_kinds(tmp_path / "train")
    two_kinds(tmp_path / "valid", 2)
    assert any("valid/ lies beside train/ and is not read" in note for note in read(tmp_path / "train").notes)
    assert not any("lies beside" in note for note in read(tmp_path / "valid").notes)
    assert not any("lies beside" in note for note in read(tmp_path).notes)


def test_a_class_folder_given_alone_names_the_data_above(tmp_path):
    two_kinds(tmp_path / "pets")
    assert "pets is data in the format folder: use that instead" in refused(tmp_path / "pets/ant")


def test_a_kpt_shape_says_that_keypoints_are_not_read(tmp_path):
    for split in ("train", "val"):
        images(tmp_path / f"images/{split}", NAMES)
        for name in NAMES:
            text(tmp_path / f"labels/{split}/{name}.txt", "0 .5 .5 .5 .5 .1 .1 2 .2 .2 1\n")
    text(tmp_path / "data.yaml", "train: images/train\nval: images/val\nkpt_shape: [2, 3]\nnames: [apple]\n")
    data = read(tmp_path)
    assert boxes(data)["p0.jpg"] == [("apple", WIDTH / 4, HEIGHT / 4, WIDTH * 0.75, HEIGHT * 0.75)]
    assert any("its keypoints, which are not read" in note for note in data.notes)


def test_shards_of_webdataset_unpacked(tmp_path):
    for i, name in enumerate(NAMES):
        shard = tmp_path / f"train-{i % 2:06d}"
        image(shard / f"{name}.jpg")
        text(shard / f"{name}.cls", str(i % 3))
    data = read(tmp_path)
    assert (data.format, data.classes) == ("class files", ("0", "1", "2"))
    assert labels(data) == {f"{name}.jpg": str(i % 3) for i, name in enumerate(NAMES)}
    rows(tmp_path / "classnames.txt", "ant", "bee", "crab")
    assert labels(read(tmp_path)) == {f"{name}.jpg": ("ant", "bee", "crab")[i % 3] for i, name in enumerate(NAMES)}


def test_boxes_without_a_column_called_like_a_class(tmp_path):
    images(tmp_path, NAMES)
    lines = [f"{name}.jpg,{KINDS[i % 2]},4,6,24,16" for i, name in enumerate(NAMES)]
    rows(tmp_path / "boxes.csv", "image,what,xmin,ymin,xmax,ymax", *lines)
    data = read(tmp_path)
    assert data.classes == ("object",)
    assert any("boxes.csv has no column called like a class" in note for note in data.notes)
    assert boxes(read(tmp_path, target="what"))["p1.jpg"] == [("bee", 4, 6, 24, 16)]
    rows(tmp_path / "boxes.csv", "Bild;Klasse;xmin;ymin;xmax;ymax", *(line.replace(",", ";") for line in lines))
    assert read(tmp_path).classes == KINDS


def test_numbers_of_a_coco_box_may_be_texts(tmp_path):
    images(tmp_path, NAMES)
    listed = [{"id": i, "file_name": f"{name}.jpg", "width": WIDTH, "height": HEIGHT} for i, name in enumerate(NAMES)]
    found = [{"id": i, "image_id": i, "category_id": 1, "bbox": ["4", "6.5", 20, "10"]} for i in range(6)]
    text(tmp_path / "boxes.json", {"images": listed, "annotations": found, "categories": [{"id": 1, "name": "ant"}]})
    assert boxes(read(tmp_path))["p0.jpg"] == [("ant", 4, 6.5, 24, 16.5)]
    found[0]["bbox"] = ["4", "six", 20, "10"]
    text(tmp_path / "boxes.json", {"images": listed, "annotations": found, "categories": [{"id": 1, "name": "ant"}]})
    data = read(tmp_path)
    assert boxes(data)["p0.jpg"] == []
    assert ["six" in str(problem.reason) for problem in data.problems] == [True]


def test_a_link_to_a_program_elsewhere_stops_nothing(tmp_path):
    two_kinds(tmp_path / "pets")
    text(tmp_path / "convert.py", "print()")
    (tmp_path / "pets/convert.py").symlink_to(tmp_path / "convert.py")
    data = read(tmp_path / "pets")
    assert len(data) == 8
    assert ["convert.py" in problem.where for problem in data.problems] == [True]
    text(tmp_path / "labels.json", "{}")
    (tmp_path / "pets/labels.json").symlink_to(tmp_path / "labels.json")
    assert "labels.json is a link" in refused(tmp_path / "pets")
