"""Anchors against torchvision's generators, counts of the papers and worked cases."""

from __future__ import annotations

import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList

from danlu.detection.anchors import anchors, cells, even_scales, grid, level_anchors, shapes, ssd_sizes

T = torch.tensor


def test_order_is_row_column_shape():
    table = shapes([32], [2, 1, 0.5], cross=True, whole=True)
    expected = [
        [-23, -11, 23, 11], [-16, -16, 16, 16], [-11, -23, 11, 23], [-7, -11, 39, 11], [0, -16, 32, 16], [5, -23, 27, 23],
        [9, -11, 55, 11], [16, -16, 48, 16], [21, -23, 43, 23], [-23, 5, 23, 27], [-16, 0, 16, 32], [-11, -7, 11, 39],
        [-7, 5, 39, 27], [0, 0, 32, 32], [5, -7, 27, 39], [9, 5, 55, 27], [16, 0, 48, 32], [21, -7, 43, 39],
    ]  # fmt: skip
    assert level_anchors((2, 3), 16, table, offset=0).tolist() == expected


def test_as_torchvisions_region_network():
    sizes, ratios, maps = ((32, 40, 50), (64, 80, 100)), (0.5, 1.0, 2.0), [(5, 7), (3, 4)]
    images = ImageList(torch.zeros(1, 3, 40, 56), [(40, 56)])
    theirs = AnchorGenerator(sizes, (ratios,) * 2)(images, [torch.zeros(1, 1, *m) for m in maps])[0]
    tables = [shapes(s, [1 / r for r in ratios], cross=True, whole=True) for s in sizes]
    ours = torch.cat(anchors(maps, [8, (13, 14)], tables, offset=0))
    torch.testing.assert_close(ours, theirs)


def test_as_torchvisions_ssd300():
    ratios = [[2], [2, 3], [2, 3], [2, 3], [2], [2]]
    scales, steps = [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05], [8, 16, 32, 64, 100, 300]
    maps = [(38, 38), (19, 19), (10, 10), (5, 5), (3, 3), (1, 1)]
    generator = DefaultBoxGenerator(ratios, scales=scales, steps=steps, clip=False)
    images = ImageList(torch.zeros(1, 3, 300, 300), [(300, 300)])
    theirs = generator(images, [torch.zeros(1, 1, *m) for m in maps])[0]
    both_ways = [[1.0, *(r for k in level for r in (k, 1 / k))] for level in ratios]
    tables = [shapes(s, r, cross=False) for s, r in zip(ssd_sizes(scales, 300), both_ways, strict=True)]
    ours = torch.cat(anchors(maps, steps, tables, offset=0.5))
    assert len(ours) == 8732
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-3)


def test_dive_into_deep_learning():
    """Sizes are fractions of the image's height, positions fractions of the image."""
    height = width = 2
    table = shapes([0.75 * height, 0.5 * height], [1, 2], cross=False)
    boxes = level_anchors((height, width), 1, table, offset=0.5) / T([width, height] * 2)
    expected = [
        [-0.125, -0.125, 0.625, 0.625], [0, 0, 0.5, 0.5], [-0.2803301, -0.015165, 0.7803301, 0.515165],
        [0.375, -0.125, 1.125, 0.625], [0.5, 0, 1, 0.5], [0.2196699, -0.015165, 1.2803301, 0.515165],
        [-0.125, 0.375, 0.625, 1.125], [0, 0.5, 0.5, 1], [-0.2803301, 0.484835, 0.7803301, 1.015165],
        [0.375, 0.375, 1.125, 1.125], [0.5, 0.5, 1, 1], [0.2196699, 0.484835, 1.2803301, 1.015165],
    ]  # fmt: skip
    torch.testing.assert_close(boxes, T(expected), rtol=0, atol=1e-6)


def test_dive_into_deep_learnings_image():
    height, width = 561, 728
    table = shapes([s * height for s in (0.75, 0.5, 0.25)], [1, 2, 0.5], cross=False)
    boxes = level_anchors((height, width), 1, table, offset=0.5)
    assert boxes.shape == (2042040, 4)
    one = boxes.reshape(height, width, 5, 4)[250, 250, 0] / T([width, height] * 2)
    torch.testing.assert_close(one, T([0.0551168, 0.0715241, 0.6330701, 0.8215241]), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("maps", "sizes", "ratios", "cross", "count"),
    [
        ([(7, 9)], [32, 64, 128], [0.5, 1, 2], True, 567),  # Faster R-CNN
        ([(n, n) for n in (32, 16, 8, 4, 1)], [1, 2], [1, 2, 0.5], False, 5444),  # TinySSD
        ([(n, n) for n in (80, 40, 20, 10, 5)], [32, 40, 50], [0.5, 1, 2], True, 76725),  # RetinaNet at 640
    ],
)
def test_counts(maps, sizes, ratios, cross: bool, count: int):
    tables = [shapes(sizes, ratios, cross=cross)] * len(maps)
    levels = anchors(maps, [1.0] * len(maps), tables, offset=0.5)
    assert sum(map(len, levels)) == count
    assert [len(level) for level in levels] == [a * b * len(tables[0]) for a, b in maps]


def test_shapes_have_their_area_and_ratio():
    table = shapes([10, 20, 30], [1, 3, 0.25], cross=True)
    torch.testing.assert_close(table.prod(1).sqrt(), T([10.0, 20, 30] * 3))
    torch.testing.assert_close(table[:, 0] / table[:, 1], T([1.0, 3, 0.25]).repeat_interleave(3))
    assert shapes([10], [1], cross=False).tolist() == [[10, 10]]


def test_even_scales_are_the_papers():
    assert even_scales(6, 0.2, 0.9)[:6] == pytest.approx([0.2, 0.34, 0.48, 0.62, 0.76, 0.9])
    assert len(even_scales(1, 0.2, 0.9)) == 2


def test_grid_and_cells():
    assert grid((2, 3), 8, offset=0.5).tolist() == [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12]]
    assert grid((2, 1), (4, 6), offset=0).tolist() == [[0, 0], [0, 4]]
    fine, coarse = cells([(2, 2), (1, 1)], [8, 16], offset=0.5)
    assert fine.tolist() == [[0, 0, 8, 8], [8, 0, 16, 8], [0, 8, 8, 16], [8, 8, 16, 16]]
    assert coarse.tolist() == [[0, 0, 16, 16]]
    assert cells([(1, 2)], [8], offset=0)[0].tolist() == [[-4, -4, 4, 4], [4, -4, 12, 4]]


def test_count_of_yolox_at_640():
    assert sum(map(len, cells([(80, 80), (40, 40), (20, 20)], [8, 16, 32], offset=0.5))) == 8400
