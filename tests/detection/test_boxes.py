"""Boxes against torchvision, worked cases, and gradients at empty boxes."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torchvision import ops

from danlu.detection.boxes import (
    FORMATS,
    MEASURES,
    area,
    ciou,
    clip,
    convert,
    diou,
    giou,
    iou,
    iou_matrix,
    large_enough,
)
from danlu.refuse import Refusal

T = torch.tensor
A = T([[0.0, 0, 10, 10]])
B = T([[5.0, 5, 15, 15], [0, 0, 10, 10], [10, 0, 20, 10], [20, 20, 30, 30], [2, 2, 4, 4], [0, 0, 5, 10]])


def random_boxes(*shape: int, seed: int = 0, side: float = 100) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    first, size = (torch.rand(*shape, 2, generator=generator) * s for s in (side, side / 2))
    return torch.cat([first - side / 10, first + size + 0.1], -1)


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        (iou, [1 / 7, 1, 0, 0, 0.04, 0.5]),
        (giou, [-0.0793651, 1, 0, -7 / 9, 0.04, 0.5]),
        (diou, [0.031746, 1.0, -0.2, -0.4444444, 0.0, 0.46875]),
        (ciou, [0.031746, 1.0, -0.2, -0.4444444, 0.0, 0.4655019]),
    ],
)
def test_worked_overlaps(measure, expected: list[float]):
    torch.testing.assert_close(measure(A, B), T(expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (iou, ops.box_iou),
        (giou, ops.generalized_box_iou),
        (diou, ops.distance_box_iou),
        (ciou, ops.complete_box_iou),
        (iou_matrix, ops.box_iou),
    ],
)
def test_as_torchvision(ours, theirs):
    a, b = random_boxes(13), random_boxes(17, seed=1)
    result = ours(a, b) if ours is iou_matrix else ours(a[:, None], b)
    torch.testing.assert_close(result, theirs(a, b), rtol=1e-5, atol=1e-5)


def test_matrix_of_a_batch_is_that_of_each_image():
    a, b = random_boxes(3, 5), random_boxes(3, 7, seed=1)
    together = iou_matrix(a, b)
    assert together.shape == (3, 5, 7)
    for i in range(3):
        torch.testing.assert_close(together[i], ops.box_iou(a[i], b[i]))
    torch.testing.assert_close(iou_matrix(a, b[0])[2], ops.box_iou(a[2], b[0]))


def test_crowd_counts_by_the_covered_fraction():
    """pycocotools' rule: rows are objects here, the second a crowd."""
    found = T([[0.0, 0, 10, 10], [0, 0, 4, 4]])
    objects = T([[0.0, 0, 10, 10], [0, 0, 20, 20]])
    expected = T([[1.0, 0.16], [1.0, 1.0]])
    torch.testing.assert_close(iou_matrix(objects, found, crowd=T([False, True])), expected)


POINT, LINE, REVERSED = [5.0, 5, 5, 5], [2.0, 1, 2, 9000], [9.0, 9, 3, 4]


@pytest.mark.parametrize("name", MEASURES)
def test_empty_boxes_are_never_nan(name: str):
    odd = T([POINT, LINE, REVERSED, [0, 0, 0, 0], [0, 0, 10, 10]])
    a = odd[:, None].repeat(1, 5, 1).requires_grad_()
    values = MEASURES[name](a, odd)
    assert values.isfinite().all()
    values.sum().backward()
    assert a.grad.isfinite().all()
    assert iou(odd[:4], odd[:4]).eq(0).all()  # torchvision: NaN for the same point
    assert iou_matrix(odd, odd).diagonal()[:4].eq(0).all()
    assert iou(T(POINT), T([0.0, 0, 10, 10])) == 0


@pytest.mark.parametrize("name", MEASURES)
def test_no_boxes(name: str):
    assert MEASURES[name](torch.zeros(0, 1, 4), torch.zeros(3, 4)).shape == (0, 3)
    assert iou_matrix(torch.zeros(2, 0, 4), torch.zeros(3, 4)).shape == (2, 0, 3)


@pytest.mark.parametrize(("source", "target"), list(product(FORMATS, FORMATS)))
def test_formats(source: str, target: str):
    boxes = ops.box_convert(random_boxes(2, 9), "xyxy", source)
    torch.testing.assert_close(convert(boxes, source, target), ops.box_convert(boxes, source, target))
    torch.testing.assert_close(convert(convert(boxes, source, target), target, source), boxes)


def test_worked_formats_and_unknown_ones():
    box = T([[10.0, 20, 30, 60]])
    assert convert(box, "xyxy", "xywh").tolist() == [[10, 20, 20, 40]]
    assert convert(box, "xyxy", "cxcywh").tolist() == [[20, 40, 20, 40]]
    with pytest.raises(Refusal, match="did you mean 'xywh'"):
        convert(box, "xyxy", "xywhh")


def test_clip_goes_to_the_border():
    boxes = T([[90.0, 40, 120, 70], [200, 10, 210, 20], [-5, -5, 3, 3]])
    clipped = clip(boxes, 60, 100)
    assert clipped.tolist() == [[90, 40, 100, 60], [100, 10, 100, 20], [0, 0, 3, 3]]
    assert area(clipped).tolist() == [200, 0, 9]
    many = random_boxes(4, 50, side=200)
    torch.testing.assert_close(clip(many, 60, 100), ops.clip_boxes_to_image(many, (60, 100)))


def test_large_enough():
    boxes = T([[0.0, 0, 1, 1], [0, 0, 0.5, 9], [0, 0, 3, 3], [100, 10, 100, 20]])
    assert large_enough(boxes, 1).nonzero()[:, 0].tolist() == [0, 2]
    many = random_boxes(200)
    assert large_enough(many, 12).nonzero()[:, 0].tolist() == ops.remove_small_boxes(many, 12).tolist()


def test_ciou_is_by_its_formula():
    a, b = T([3.0, 4, 13, 9]), T([5.0, 2, 10, 12])
    overlap = 25 / (50 + 50 - 25)
    v = 4 / math.pi**2 * (math.atan(10 / 5) - math.atan(5 / 10)) ** 2
    expected = overlap - (0.5**2 + 0.5**2) / (10**2 + 10**2) - v * v / (1 - overlap + v)
    assert ciou(a, b).item() == pytest.approx(expected, abs=1e-6)
