"""Masks as SVG paths: filled again, they equal the masks."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from danlu.metrics.detection import run_lengths
from danlu.report.mask_svg import MAX_SIDE, outline


def told(pixels: np.ndarray) -> dict:
    one = run_lengths(torch.from_numpy(pixels.astype(np.uint8))[None])[0]
    return {"size": list(one["size"]), "counts": one["counts"].decode()}


def filled(path: str, height: int, width: int) -> np.ndarray:
    """The even-odd rule by crossings: a pixel is inside when an odd number of upright edges lies left of its centre."""
    crossings = np.zeros((height, width), int)
    for loop in re.findall(r"M[^M]*z", path):
        start = [int(v) for v in re.match(r"M(-?\d+) (-?\d+)", loop).groups()]
        corners = [start]
        for command, text in re.findall(r"([hv])(-?\d+)", loop):
            x, y = corners[-1]
            corners.append([x + int(text), y] if command == "h" else [x, y + int(text)])
        for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], start]):
            assert x1 == x2 or y1 == y2
            if x1 == x2:
                crossings[min(y1, y2) : max(y1, y2), x1:] += 1
    return crossings % 2 == 1


@pytest.mark.parametrize("density", [0.1, 0.5, 0.9])
def test_any_mask_is_drawn_as_it_is(density: float):
    """Speckles have every case: holes, pixels that touch at a corner, pixels at the border."""
    pixels = np.random.default_rng(0).random((23, 31)) < density
    assert (filled(outline(told(pixels)), 23, 31) == pixels).all()


def test_a_box_is_one_loop_of_four_lines():
    pixels = np.zeros((10, 12), bool)
    pixels[2:5, 3:9] = True
    path = outline(told(pixels))
    assert path.count("M") == 1
    assert len(re.findall(r"[hv]", path)) == 3, "the fourth closes the loop"


def test_nothing_and_damage_draw_nothing():
    assert outline(told(np.zeros((5, 5), bool))) == ""
    assert outline({"size": [5, 5], "counts": "\x7f"}) == ""
    assert outline({"counts": "0"}) == ""


def test_large_images_are_drawn_coarser():
    pixels = np.zeros((4 * MAX_SIDE, 100), bool)
    pixels[400:800, 40:60] = True
    xs = filled(outline(told(pixels)), 4 * MAX_SIDE, 100)
    assert (xs == pixels).all()
    speckled = np.random.default_rng(0).random((2 * MAX_SIDE, 20)) < 0.5
    assert len(outline(told(speckled))) < len(outline(told(speckled[:MAX_SIDE])))
