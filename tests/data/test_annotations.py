"""Outlines drawn as masks, against pycocotools."""

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco

from danlu.data.annotations import (
    Annotation,
    MaskFile,
    Polygons,
    Raster,
    RunLengths,
    decode_runs,
    parse_runs,
    rasterise,
    read_instances,
)
from danlu.data.canvas import Placement, letterbox
from danlu.refuse import Failure


def plain(height, width):
    return Placement((height, width), (height, width), (1.0, 1.0))


def drawn(rings, height, width):
    return rasterise([Polygons(tuple(np.asarray(r, np.float64).reshape(-1, 2) for r in rings))], plain(height, width))[
        0
    ]


def reference(rings, height, width):
    parts = coco.frPyObjects([list(map(float, np.ravel(ring))) for ring in rings], height, width)
    return coco.decode(coco.merge(parts))


@pytest.mark.parametrize("seed", range(20))
def test_star_shaped_polygons_equal_coco_but_for_rounded_corners(seed):
    """pycocotools rounds corners to a fifth of a pixel: only pixels whose centre lies that near an edge may differ."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(3, 30))
    angles = np.sort(rng.uniform(0, 2 * np.pi, count))
    radius = rng.uniform(8, 28, count)
    ring = np.stack([32 + radius * np.cos(angles), 30 + radius * np.sin(angles)], axis=1)
    ours, theirs = drawn([ring], 60, 64), reference([ring], 60, 64)
    ends = np.roll(ring, -1, axis=0)
    for row, column in np.argwhere(ours != theirs):
        along = ends - ring
        start = np.array([column + 0.5, row + 0.5]) - ring
        position = ((start * along).sum(1) / (along**2).sum(1)).clip(0, 1)
        assert np.hypot(*(start - position[:, None] * along).T).min() < 0.3
    assert (ours != theirs).sum() <= 0.03 * theirs.sum() + 2


def test_corners_on_whole_pixels_equal_coco():
    ring = [10, 5, 40, 5, 40, 25, 10, 25]
    assert np.array_equal(drawn([ring], 50, 60), reference([ring], 50, 60))
    assert drawn([ring], 50, 60).sum() == 30 * 20


def test_several_polygons_are_united():
    rings = [[2, 2, 10, 2, 10, 10, 2, 10], [6, 6, 20, 6, 20, 20, 6, 20]]
    assert np.array_equal(drawn(rings, 30, 30), reference(rings, 30, 30))


def test_polygons_that_share_an_edge_share_no_pixel():
    rng = np.random.default_rng(0)
    cut = rng.uniform(2, 28, 4)
    left = drawn([[0, 0, cut[0], 0, cut[1], 30, 0, 30]], 30, 30)
    right = drawn([[cut[0], 0, 30, 0, 30, 30, cut[1], 30]], 30, 30)
    assert (left + right == 1).all()


def test_huge_and_flat_polygons():
    assert drawn([[-1e300, -1e300, 1e300, -1e300, 1e300, 1e300, -1e300, 1e300]], 8, 9).all()
    assert not drawn([[1, 4, 1e9, 4, 5, 4]], 8, 9).any()
    assert not drawn([[20, 20, 30, 20, 30, 30]], 8, 9).any()
    rng = np.random.default_rng(0)
    assert drawn([rng.uniform(-1e6, 1e6, (50_000, 2))], 8, 9).shape == (8, 9)


@pytest.mark.parametrize("seed", range(10))
def test_run_lengths_in_both_forms(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 300, 2)
    mask = (rng.random((height, width)) < rng.choice([0.001, 0.3, 0.9])).astype(np.uint8)
    packed = coco.encode(np.asfortranarray(mask))
    counts = parse_runs(packed["counts"])
    assert np.array_equal(decode_runs(RunLengths(counts, (height, width))), mask)
    flat = np.concatenate([[0], mask.T.ravel()])
    assert counts.sum() == height * width
    assert len(counts) == 1 + np.count_nonzero(np.diff(flat))


@pytest.mark.parametrize("text", [b"\x00", b"P", b"oooooooooooo1", b"\xff1"])
def test_no_run_lengths(text):
    with pytest.raises(ValueError):
        parse_runs(text)


def test_every_kind_of_outline_gives_the_same_mask(tmp_path):
    mask = np.zeros((40, 50), np.uint8)
    mask[10:30, 5:45] = 1
    Image.fromarray(mask * 7).save(tmp_path / "m.png")
    ring = np.array([[5, 10], [45, 10], [45, 30], [5, 30]], np.float64)
    runs = parse_runs(coco.encode(np.asfortranarray(mask))["counts"])
    shapes = [
        Polygons((ring,)),
        RunLengths(runs, (40, 50)),
        MaskFile(tmp_path / "m.png", 7),
        Raster(np.ones((20, 40), np.uint8), 5, 10),
    ]
    for there in (plain(40, 50), letterbox((40, 50), 100), letterbox((40, 50), 33), letterbox((40, 50), 7)):
        masks = rasterise(shapes, there)
        assert masks.shape == (4, *there.size)
        assert (masks == masks[0]).all()
        assert masks.any()
    assert np.array_equal(rasterise(shapes, plain(40, 50))[0], mask)


def test_objects_on_a_canvas():
    ring = np.array([[5.0, 10], [45, 10], [45, 30], [5, 30]])
    one = Annotation(
        torch.tensor([[5.0, 10, 45, 30]]), torch.tensor([2]), torch.tensor([False]), (40, 50), (Polygons((ring,)),)
    )
    found = one.objects(letterbox((40, 50), 100))
    assert found.boxes.tolist() == [[10, 30, 90, 70]]
    assert found.masks.dtype == torch.uint8
    assert found.masks[0, 30:70, 10:90].all()
    assert found.masks.sum() == 40 * 80
    empty = Annotation(torch.zeros(0, 4), torch.zeros(0).long(), torch.zeros(0).bool(), (40, 50), ())
    assert empty.objects(letterbox((40, 50), 100)).masks.shape == (0, 100, 100)


def test_palettes_hold_indices_and_255_is_none(tmp_path):
    values = np.array([[0, 1, 2], [255, 2, 1]], np.uint8)
    image = Image.fromarray(values).convert("P")
    image.putdata(values.ravel().tolist())
    image.putpalette([k % 256 for k in range(768)])
    image.save(tmp_path / "p.png")
    assert read_instances(tmp_path / "p.png").tolist() == [[0, 1, 2], [0, 2, 1]]
    Image.fromarray(values.astype(np.uint16) * 200).save(tmp_path / "deep.png")
    assert read_instances(tmp_path / "deep.png").max() == 51000
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (4, 4, 3), np.uint8)).save(tmp_path / "c.png")
    with pytest.raises(ValueError, match="colours"):
        read_instances(tmp_path / "c.png")


def test_missing_mask_file(tmp_path):
    with pytest.raises(Failure, match=r"gone\.png"):
        rasterise([MaskFile(tmp_path / "gone.png", 1)], plain(4, 4))
