"""Placement against the published letterbox case, and round trips."""

import numpy as np
import pytest
import torch
from PIL import Image

from danlu.config import DataConfig
from danlu.data.annotations import RunLengths, decode_runs
from danlu.data.canvas import FITS, PAD, letterbox, stretch
from danlu.data.formats import open_dataset
from danlu.data.images import read_image
from danlu.data.inputs import image_inputs, placements


def test_letterbox_of_640_by_480_on_416():
    """Ratio .65, 416 x 312 pixels, centred: the figures of YOLOX's letterbox plus its padding of 52."""
    there = letterbox((480, 640), 416)
    assert there.scale == pytest.approx((0.65, 0.65))
    assert there.offset == (0, 52)
    moved = there.boxes(torch.tensor([[100.0, 120.0, 300.0, 360.0]]))
    assert torch.allclose(moved, torch.tensor([[65.0, 78 + 52.0, 195.0, 234 + 52.0]]))


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("original", [(480, 640), (641, 333), (7, 1000), (1, 1), (128, 128)])
def test_boxes_there_and_back(fit, original):
    there = FITS[fit](original, 320)
    rng = torch.Generator().manual_seed(0)
    corners = torch.rand(50, 2, 2, generator=rng).sort(dim=1).values * torch.tensor([original[1], original[0]])
    boxes = corners.reshape(50, 4)
    moved = there.boxes(boxes)
    assert moved.min() >= 0
    assert moved.max() <= 320 + 1e-3
    assert torch.allclose(there.boxes_back(moved), boxes, atol=1e-3)


def test_predictions_beyond_the_image_are_clipped():
    there = letterbox((100, 200), 100)
    back = there.boxes_back(torch.tensor([[-5.0, 0.0, 120.0, 100.0]]))
    assert back.tolist() == [[0, 0, 200, 100]]


@pytest.mark.parametrize("fit", FITS)
def test_enlarged_masks_come_back_exactly(fit):
    original = (37, 52)
    masks = np.random.default_rng(1).integers(0, 2, (3, *original), np.uint8)
    there = FITS[fit](original, 160)
    for mask in masks:
        back = decode_runs(RunLengths(there.runs_back(there.masks(mask)), original))
        assert np.array_equal(back, mask)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("original", [(37, 52), (300, 41), (3, 5), (1, 1), (64, 64)])
def test_run_lengths_are_those_of_the_mask_that_lies_on_the_image(fit, original):
    """Enlarged and reduced, the mask empty, full, and of single pixels along every border."""
    rng = np.random.default_rng(0)
    masks = [(rng.random((64, 64)) < density).astype(np.uint8) for density in (0, 0.02, 0.5, 1)]
    masks.append(np.pad(np.zeros((62, 62), np.uint8), 1, constant_values=1))
    there = FITS[fit](original, 64)
    for mask in masks:
        flat = there.inverse().masks(mask).ravel(order="F")
        ends = np.append(np.flatnonzero(np.diff(flat)) + 1, flat.size)
        assert there.runs_back(mask).tolist() == [0] * int(flat[0]) + np.diff(ends, prepend=0).tolist()


@pytest.mark.parametrize("fit", FITS)
def test_mask_and_box_move_alike(fit):
    """A rectangle on whole pixels: its mask's box on the canvas is its moved box, to the pixel it ends in."""
    original = (90, 61)
    mask = np.zeros(original, np.uint8)
    mask[20:71, 10:33] = 1
    there = FITS[fit](original, 200)
    rows, columns = np.nonzero(there.masks(mask))
    found = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1.0])
    assert (found - there.boxes(torch.tensor([10.0, 20, 33, 71]))).abs().max() <= 0.5


@pytest.mark.parametrize("colour", ["rgb", "grey"])
def test_rectangle_stays_inside_its_transformed_box(tmp_path, colour):
    """Black pixels of the image as decoded, at every size a JPEG can be reduced to."""
    pixels = np.full((961, 1283, 3), 255, np.uint8)
    pixels[200:520, 640:1283] = 0
    file = tmp_path / "a.jpg"
    Image.fromarray(pixels).save(file, quality=95)
    for size in (100, 160, 400, 1283):
        for fit, place in FITS.items():
            canvas = read_image(file, size, colour, fit)
            assert canvas.shape == (3 if colour == "rgb" else 1, size, size)
            box = place((961, 1283), size).boxes(torch.tensor([640.0, 200, 1283, 520]))
            rows, columns = np.nonzero(canvas[0] < 57)  # darker than half grey on either side
            found = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1.0])
            assert (found - box).abs().max() <= 1.0, (size, fit)


def test_grey_around_the_image():
    canvas = read_image(np.zeros((10, 20, 3), np.uint8), 40, "rgb", "letterbox")
    assert (canvas[:, :10] == PAD).all()
    assert (canvas[:, 10:30] == 0).all()
    assert (canvas[:, 30:] == PAD).all()


def test_turned_images_are_measured_upright(tmp_path):
    image = Image.fromarray(np.zeros((30, 60, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    canvas = read_image(tmp_path / "a.jpg", 60, "rgb", "letterbox")
    assert (canvas[:, :, :15] == PAD).all()
    assert (canvas[:, :, 20:40] < 10).all()


def test_inputs_and_placements_agree():
    data = open_dataset(DataConfig(path="shapes"))
    images = image_inputs(data, size=96, colour="rgb", fit="letterbox")
    assert images.source.shape == (600, 3, 96, 96)
    there = placements(data, 96, "letterbox")
    assert len(there) == 600
    assert there[0] == letterbox((128, 128), 96)
    assert there[0].scale == stretch((128, 128), 96).scale
