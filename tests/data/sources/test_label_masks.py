"""Masks of a class per pixel, in every form in which they are found."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from danlu.config import AugmentConfig, DataConfig
from danlu.data.augmentation.augment_maps import AugmentMaps, rotated
from danlu.data.augmentation.augment_objects import AugmentObjects
from danlu.data.canvas import letterbox
from danlu.data.dataset import TRAIN, VAL
from danlu.data.formats import open_dataset
from danlu.data.label_maps import MapSet
from danlu.objects import IGNORE
from danlu.refuse import Refusal

COLOURS = np.array([[0, 0, 0], [128, 0, 0], [0, 0, 128]], np.uint8)


def truth(number):
    """Classes of the pixels of one image: two regions of class 1, and one of class 2."""
    labels = np.zeros((20, 30), np.uint8)
    labels[2:8, 3 : 9 + number % 3] = labels[12:18, 20:27] = 1
    labels[4:12, 14:19] = 2
    return labels


@pytest.fixture
def folder(tmp_path):
    """Write images and masks. change: of the label map. paths: of image and mask by number."""

    def write(change=lambda x: x, mode="L", paths=("images/{i}.jpg", "masks/{i}.png"), count=6):
        for i in range(count):
            image, mask = (tmp_path / path.format(i=i, split="val" if i > 3 else "train") for path in paths)
            for path in (image, mask):
                path.parent.mkdir(parents=True, exist_ok=True)
            values = change(truth(i))
            Image.fromarray(np.full((20, 30, 3), 90 + i, np.uint8)).save(image)
            saved = Image.fromarray(values, mode)
            if mode == "P":
                saved.putpalette([0, 0, 0, 255, 0, 0] * 128)
            saved.save(mask)
        return str(tmp_path)

    return write


def opened(path, task="semantic", **settings):
    return open_dataset(DataConfig(path=path, **settings), task)


def test_class_numbers_are_recognised_without_a_task(folder):
    found = opened(folder(), task=None)
    assert (found.task, found.format, found.classes) == ("semantic", "label masks", ("0", "1", "2"))
    assert (found.targets[1].read() == truth(1)).all()


def test_palette_with_ignored_pixels(folder):
    found = opened(folder(lambda x: np.where(x == 2, 255, x).astype(np.uint8), "P"))
    assert found.classes == ("0", "1")
    assert (found.targets[0].read() == np.where(truth(0) == 2, IGNORE, truth(0))).all()


def test_masks_of_0_and_255_have_two_classes(folder):
    found = opened(folder(lambda x: ((x > 0) * 255).astype(np.uint8)))
    assert found.classes == ("background", "object")
    assert (found.targets[0].read() == (truth(0) > 0)).all()


@pytest.mark.parametrize("listed", [True, False])
def test_colours(folder, tmp_path, listed):
    path = folder(lambda x: COLOURS[x], "RGB")
    if listed:
        (tmp_path / "class_dict.csv").write_text("name,r,g,b\nVoid,0,0,0\ncar,128,0,0\nsky,0,0,128\n")
    found = opened(path, task=None)
    labels = found.targets[0].read()
    if listed:
        assert found.classes == ("car", "sky")
        assert (labels == np.array([IGNORE, 0, 1])[truth(0)]).all()
    else:
        assert found.classes == ("#000000", "#000080", "#800000")
        assert (labels == np.array([0, 2, 1])[truth(0)]).all()


@pytest.mark.parametrize("name", ["labels.csv", "class_dict.csv"])
def test_colours_of_a_table_of_any_name_and_order(folder, tmp_path, name):
    path = folder(lambda x: COLOURS[x], "RGB")
    (tmp_path / name).write_text("Red,Green,Blue,class\n0,0,0,Void\n128,0,0,car\n0,0,128,sky\n")
    found = opened(path, task=None)
    assert found.classes == ("car", "sky")
    assert (found.targets[0].read() == np.array([IGNORE, 0, 1])[truth(0)]).all()


def test_numbers_beside_a_list_of_colours_are_named_by_its_rows_with_a_note(folder, tmp_path):
    path = folder()
    (tmp_path / "labels.csv").write_text("name,r,g,b\nvoid,0,0,0\ncar,128,0,0\nsky,0,0,128\n")
    found = opened(path)
    assert found.classes[-2:] == ("car", "sky")
    assert any("its rows name them in their order: 0 void, 1 car, 2 sky" in note for note in found.notes), found.notes


@pytest.mark.parametrize("paths", [("{split}/images/{i}.jpg", "{split}/masks/{i}.png"),
                                   ("images/{split}/{i}.jpg", "masks/{split}/{i}.png"),
                                   ("{split}/{i}.jpg", "{split}annot/{i}.png")])  # fmt: skip
def test_splits_at_either_level(folder, paths):
    found = opened(folder(paths=paths))
    assert sorted(found.given.tolist()) == [TRAIN] * 4 + [VAL] * 2
    assert len(found) == 6


def test_voc(folder, tmp_path):
    path = folder(lambda x: np.where(x == 2, 15, x).astype(np.uint8), "P",
                  ("JPEGImages/{i}.jpg", "SegmentationClass/{i}.png"))  # fmt: skip
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("0\n1\n2\n")
    (lists / "val.txt").write_text("3\n4\n")
    found = opened(path)
    assert (found.classes[15], len(found.classes), len(found)) == ("person", 21, 5)
    assert found.given.tolist() == [TRAIN] * 3 + [VAL] * 2
    assert found.targets[0].read().max() == 15


def test_cityscapes(folder):
    ids = np.array([4, 7, 26], np.uint8)  # static, road, car
    stem = "{split}/town/town_{i}_"
    found = opened(
        folder(lambda x: ids[x], "L", (f"leftImg8bit/{stem}leftImg8bit.png", f"gtFine/{stem}gtFine_labelIds.png"))
    )
    assert len(found.classes) == 19
    labels = found.targets[0].read()
    assert found.classes[labels[3, 4]] == "road"
    assert found.classes[labels[5, 15]] == "car"
    assert labels[0, 0] == IGNORE
    assert found.given.tolist().count(VAL) == 2


def test_outlines_of_objects_become_label_maps():
    objects, found = open_dataset(DataConfig(path="shapes"), "segment"), opened("shapes")
    assert found.classes == ("background", *objects.classes)
    labels = found.targets[3].read()
    one = objects.targets[3]
    masks = one.objects(letterbox((128, 128), 128)).masks.numpy()
    assert (labels > 0).sum() == masks.sum()
    for label, mask in zip(one.labels.tolist(), masks):
        assert (labels[mask > 0] == label + 1).all()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"change": lambda x: np.where(x == 2, 7, x).astype(np.uint8), "names": "sky\nroad\nsea\n"}, "the value 7"),
        ({"change": lambda x: x[:10]}, "the mask is 30 x 10 pixels, its image 30 x 20"),
        ({"change": lambda x: x * 0}, "at least two classes"),
    ],
)
def test_unusable_masks_are_refused(folder, tmp_path, settings, expected):
    path = folder(settings["change"])
    if "names" in settings:
        (tmp_path / "classes.txt").write_text(settings["names"])
    with pytest.raises(Refusal, match=expected):
        opened(path)


def test_the_ignored_value_is_a_setting(folder):
    found = opened(folder(), ignore=0)
    assert found.classes == ("1", "2")
    assert (found.targets[0].read() == np.array([IGNORE, 0, 1])[truth(0)]).all()


def test_label_maps_on_a_canvas_are_exact_and_ignored_outside(folder):
    found = opened(folder())
    place = letterbox((20, 30), 60)
    labels = found.targets[0].on(place)
    assert (labels[10:50, :] == truth(0).repeat(2, 0).repeat(2, 1)).all()
    assert (labels[:10] == IGNORE).all()
    assert (labels[50:] == IGNORE).all()
    maps = MapSet(found.targets, [place] * len(found))
    counts = maps.pixel_counts(torch.tensor([0]), 3)
    assert counts[:3].tolist() == [4 * n for n in np.bincount(truth(0).ravel())]
    assert counts[3] == 20 * 60


def test_augmentation_moves_label_maps_with_the_image():
    rng = np.random.default_rng(0)
    labels = (
        torch.from_numpy(rng.integers(0, 2, (8, 4, 4), dtype=np.uint8))
        .repeat_interleave(16, 1)
        .repeat_interleave(16, 2)
    )
    images = (labels * 200)[:, None].expand(-1, 3, -1, -1).contiguous()
    config = AugmentConfig(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0, flip="both")
    augment = AugmentMaps(config, size=64, channels=3, mean=(0.0,) * 3, std=(1.0,) * 3)
    moved, maps = augment(images, None, labels, augment.draw(rng, 8))
    inside = maps != IGNORE
    agree = ((moved[:, 0] > 100 / 255) == (maps == 1))[inside]
    assert agree.float().mean() > 0.95  # all but pixels at the edges of the cells, which are blended
    assert not torch.equal(maps, labels)


def test_half_of_the_images_are_not_resampled():
    """Contours of those keep their pixels, as in the images that a run is validated on."""
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 255, (1, 3, 64, 64), dtype=np.uint8)).expand(200, -1, -1, -1)
    maps = torch.from_numpy(rng.integers(0, 5, (1, 64, 64), dtype=np.uint8)).expand(200, -1, -1)
    config = AugmentConfig(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0, flip="none")
    augment = AugmentMaps(config, size=64, channels=3, mean=(0.0,) * 3, std=(1.0,) * 3)
    moved, labels = augment(images, None, maps, augment.draw(rng, 200))
    whole = torch.isclose(moved, images / 255, atol=1e-6).flatten(1).all(1)
    assert whole.float().mean() == pytest.approx(0.5, abs=0.1)
    assert torch.equal(whole, (labels == maps).flatten(1).all(1))


def test_a_quarter_turn_rotates_image_and_label_map_alike():
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 255, (2, 3, 8, 8), dtype=np.uint8))
    maps = torch.from_numpy(rng.integers(0, 5, (2, 8, 8), dtype=np.uint8))
    seen, labels = rotated(images, maps, torch.tensor([math.pi / 2, math.pi]))  # clockwise
    assert torch.equal(seen[0], images[0].rot90(-1, (1, 2)))
    assert torch.equal(labels[0], maps[0].rot90(-1, (0, 1)))
    assert torch.equal(labels[1], maps[1].rot90(2, (0, 1)))


def test_pixels_from_outside_are_ignored_after_a_rotation():
    _, labels = rotated(
        torch.zeros(1, 3, 32, 32, dtype=torch.uint8),
        torch.ones(1, 32, 32, dtype=torch.uint8),
        torch.tensor([math.pi / 4]),
    )
    assert labels[0, 0, 0] == IGNORE
    assert set(labels.unique().tolist()) == {1, IGNORE}
    assert (labels == 1).float().mean() == pytest.approx(2 * (2**0.5 - 1), abs=0.05)  # a regular octagon


def test_label_maps_may_rotate_but_boxes_may_not():
    config = AugmentConfig(rotate=180.0)
    augment = AugmentMaps(config, size=32, channels=3, mean=(0.0,) * 3, std=(1.0,) * 3)
    images, maps = torch.zeros(4, 3, 32, 32, dtype=torch.uint8), torch.ones(4, 32, 32, dtype=torch.uint8)
    assert (augment(images, None, maps, augment.draw(np.random.default_rng(0), 4))[1] == IGNORE).any()
    with pytest.raises(Refusal, match="rotate"):
        AugmentObjects(config, size=32, channels=3, mean=(0.0,) * 3, std=(1.0,) * 3)
