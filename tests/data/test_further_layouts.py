"""Layouts of published sets and of users, each with what it means: classes, splits, boxes and pixels."""

import numpy as np
from layout_files import HEIGHT, WIDTH, image, read, rows, splits
from PIL import Image

from danlu.data.dataset import TRAIN, VAL

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
