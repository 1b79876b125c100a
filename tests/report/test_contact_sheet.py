"""Contact sheets: tiles at their places, boxes and masks where they are, one colour per class."""

import numpy as np
import pytest
from PIL import Image

from danlu.report import images
from danlu.report.contact_sheet import GAP, MARGIN, Drawn, Tile, colour_of, contact_sheet, draw_annotation


def _tiles(*captions, side=64):
    return [Tile(Image.new("RGB", (side, side), (9, 9, 9)), caption, "a.png") for caption in captions]


def test_each_image_lies_above_its_caption():
    sheet = contact_sheet(_tiles("zero", "", "丹炉", "x" * 999, "\ud800"), "a set", (), 3, 64)
    pixels = np.asarray(sheet.convert("L"))
    dark = np.argwhere(pixels == 9)
    top, left = dark.min(axis=0)
    assert left == MARGIN
    columns = [MARGIN + k * (64 + GAP) for k in range(3)]
    assert all((pixels[top : top + 64, x : x + 64] == 9).all() for x in columns)
    captions = [(pixels[top + 68 : top + 68 + 20, x : x + 64] < 200).any() for x in columns]
    assert captions == [True, False, True]
    assert (pixels[-1] == 255).all()


def test_a_sheet_without_images_has_a_heading():
    assert contact_sheet([], "nothing", (), 6, 64).width >= 480


def test_boxes_have_the_colour_of_their_class_and_lie_where_they_are():
    objects = [Drawn(0, (5, 5, 20, 20)), Drawn(1, (30, 30, 50, 60)), Drawn(0, (5, 40, 15, 50), ignore=True)]
    drawn = np.asarray(draw_annotation(Image.new("RGB", (64, 64)), objects * 3, ("cat", "dog")))
    assert tuple(drawn[5, 12]) == colour_of(0)
    assert tuple(drawn[59, 40]) == colour_of(1)
    assert len(set(drawn[40, 10].tolist())) == 1  # grey
    assert not drawn[25, 25].any()


def test_a_mask_tints_its_pixels_only():
    mask = np.zeros((64, 64), np.uint8)
    mask[10:20, 10:20] = 1
    drawn = np.asarray(draw_annotation(Image.new("RGB", (64, 64)), [Drawn(0, (5, 5, 30, 30), mask=mask)], ("cat",)))
    assert drawn[15, 15].any()
    assert not drawn[25, 25].any()


def test_a_legend_names_the_classes():
    plain, named = (contact_sheet(_tiles("a"), "a set", legend, 6, 64) for legend in ((), ("cat", "dog")))
    assert named.height > plain.height
    colours = {tuple(colour) for colour in np.asarray(named).reshape(-1, 3)}
    assert {colour_of(0), colour_of(1)} <= colours


def test_text_without_any_font_on_the_system(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(images, "FONTS", ())
    images.font_of.cache_clear()
    try:
        contact_sheet(_tiles("丹炉 furnace"), "丹炉", ("猫",), 1, 64)
    finally:
        images.font_of.cache_clear()
