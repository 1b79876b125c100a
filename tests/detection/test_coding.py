"""Coders against torchvision's, worked cases and their own round trip."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision.models.detection._utils import BoxCoder, BoxLinearCoder

from danlu.detection.anchors import cells
from danlu.detection.coding import DeltaCoder, DistanceCoder, centreness

T = torch.tensor
ANCHOR, BOX = T([[10.0, 20, 30, 60]]), T([[15.0, 25, 45, 65]])
ONES, SSD = (1.0, 1.0, 1.0, 1.0), (0.1, 0.1, 0.2, 0.2)


def random_boxes(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    first, size = (torch.rand(*shape, 2, generator=generator) * 50 for _ in range(2))
    return torch.cat([first, first + size + 1], -1)


@pytest.mark.parametrize(
    ("variances", "expected"),
    [(SSD, [5.0, 1.25, 2.0273256, 0.0]), (ONES, [0.5, 0.125, 0.4054651, 0.0])],
)
def test_worked_deltas(variances, expected: list[float]):
    codes = DeltaCoder(variances).encode(BOX, ANCHOR)
    torch.testing.assert_close(codes, T([expected]), rtol=0, atol=1e-6)
    torch.testing.assert_close(DeltaCoder(variances).decode(codes, ANCHOR), BOX)


def test_dive_into_deep_learnings_offsets():
    boxes = T([[0.1, 0.08, 0.52, 0.92], [0.55, 0.2, 0.9, 0.88], [0.55, 0.2, 0.9, 0.88]])
    anchors = T([[0.15, 0.2, 0.4, 0.4], [0.63, 0.05, 0.88, 0.98], [0.57, 0.3, 0.92, 0.9]])
    expected = [
        [1.4, 10, 2.5939719, 7.1754238],
        [-1.2, 0.2688172, 1.6823648, -1.5654521],
        [-0.5714286, -1, 5e-6, 0.6258201],
    ]
    torch.testing.assert_close(DeltaCoder(SSD).encode(boxes, anchors), T(expected), rtol=0, atol=1e-4)


def test_size_is_only_kept_when_decoding():
    codes = T([[0.0, 0, 10, 0]])
    torch.testing.assert_close(DeltaCoder(ONES).decode(codes, ANCHOR), T([[-605.0, 20, 645, 60]]), rtol=0, atol=1e-3)
    huge = T([[0.0, 0, 20 * math.e**10, 40]])
    assert DeltaCoder(ONES).encode(huge, ANCHOR)[0, 2].item() == pytest.approx(10, abs=1e-4)


def test_deltas_as_torchvision():
    boxes, anchors = random_boxes(30, seed=0), random_boxes(30, seed=1)
    theirs, ours = BoxCoder((10.0, 10.0, 5.0, 5.0)), DeltaCoder(SSD)
    torch.testing.assert_close(ours.encode(boxes, anchors), theirs.encode_single(boxes, anchors), rtol=1e-4, atol=1e-4)
    codes = torch.randn(30, 4, generator=torch.Generator().manual_seed(2)) * 20
    torch.testing.assert_close(ours.decode(codes, anchors), theirs.decode_single(codes, anchors), rtol=1e-4, atol=1e-2)


def test_distances_as_torchvision():
    squares = torch.cat(cells([(3, 4), (2, 2)], [8, 16], offset=0.5))
    boxes, coder = random_boxes(len(squares), seed=0), BoxLinearCoder(normalize_by_size=True)
    codes = DistanceCoder().encode(boxes, squares)
    torch.testing.assert_close(codes, coder.encode(squares, boxes))
    torch.testing.assert_close(DistanceCoder().decode(codes, squares), coder.decode(codes, squares))


CODERS = [DeltaCoder(ONES), DeltaCoder(SSD), DistanceCoder(), DistanceCoder(log=True)]


@pytest.mark.parametrize("coder", CODERS, ids=str)
def test_round_trip_over_batches(coder):
    anchors = T([[0.0, 0, 20, 30], [5, 5, 21, 21], [-3, 2, 40, 25]])
    offsets = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0)) * 12 + 1
    centre = ((anchors[:, :2] + anchors[:, 2:]) / 2).repeat(1, 2)
    boxes = centre + offsets * T([-1.0, -1, 1, 1])  # each holds its anchor's centre
    codes = coder.encode(boxes, anchors)
    torch.testing.assert_close(coder.decode(codes, anchors), boxes, rtol=1e-5, atol=1e-4)
    per_class = codes[:, :, None].expand(-1, -1, 5, -1)
    torch.testing.assert_close(coder.decode(per_class, anchors[:, None])[:, :, 3], boxes, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("coder", CODERS, ids=str)
def test_padding_and_half_precision_stay_finite(coder):
    assert coder.encode(torch.zeros(1, 4), ANCHOR).isfinite().all()
    assert coder.encode(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0, 4)
    wild = torch.full((1, 4), 80.0, dtype=torch.bfloat16, requires_grad=True)
    boxes = coder.decode(wild, ANCHOR)
    assert boxes.dtype == torch.float32
    assert boxes.isfinite().all()
    boxes.sum().backward()
    assert wild.grad.isfinite().all()


def test_delta_over_corner_cells_is_yolox():
    squares, codes = cells([(2, 3)], [8], offset=0)[0], T([0.3, -0.2, 0.5, 1.0])
    box = DeltaCoder(ONES).decode(codes, squares)[4]  # row 1, column 1
    x, y, w, h = (1 + 0.3) * 8, (1 - 0.2) * 8, math.exp(0.5) * 8, math.exp(1) * 8
    torch.testing.assert_close(box, T([x - w / 2, y - h / 2, x + w / 2, y + h / 2]))


def test_centreness():
    assert centreness(T([9.0, 15, 21, 25])).item() == pytest.approx(0.5070926, abs=1e-6)
    assert centreness(T([[5.0, 5, 5, 5], [-1, 5, 5, 5], [0, 0, 0, 0]])).tolist() == [1, 0, 0]
