"""Pooling, levels and masks: worked cases, torchvision, and interpolation point by point."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.poolers import LevelMapper

from danlu.detection.regions import crop_masks, level_of, paste_masks, pyramid_align, roi_align, roi_pool, warp

T = torch.tensor
MAP = torch.arange(16.0).view(1, 1, 4, 4)
RAMP = torch.arange(8.0).expand(1, 1, 8, 8)
FIRST = T([0])


@pytest.mark.parametrize(
    ("box", "stride", "expected"),
    [
        ([0.0, 0, 3, 3], 1, [[5, 7], [13, 15]]),
        ([1.0, 1, 5, 5], 2, [[10, 11], [14, 15]]),
        ([2.0, 2, 2, 2], 1, [[10, 10], [10, 10]]),
    ],
)
def test_worked_pooling(box, stride: float, expected):
    assert roi_pool(MAP, T([box]), FIRST, size=2, stride=stride).tolist() == [[expected]]


@pytest.mark.parametrize(
    ("features", "box", "size", "samples", "aligned", "expected"),
    [
        (MAP, [0.5, 0.5, 2.5, 2.5], 2, 1, True, [[2.5, 3.5], [6.5, 7.5]]),
        (MAP, [0.0, 0, 4, 4], 2, 0, True, [[2.5, 4.5], [10.5, 12.5]]),
        (MAP, [1.0, 1, 1.2, 1.2], 1, 1, False, [[7.5]]),
        (MAP, [1.0, 1, 1.2, 1.2], 1, 1, True, [[3.0]]),
        (torch.full((1, 1, 4, 4), 7.0), [0.3, 0.7, 3.1, 2.9], 3, 2, True, [[7.0] * 3] * 3),
        (RAMP, [2.0, 2, 6, 6], 2, 2, True, [[2.5, 4.5]] * 2),
        (RAMP, [2.0, 2, 6, 6], 2, 2, False, [[3.0, 5.0]] * 2),
    ],
)
def test_worked_alignment(features, box, size: int, samples: int, aligned: bool, expected):
    result = roi_align(features, T([box]), FIRST, size=size, stride=1, samples=samples, aligned=aligned)
    torch.testing.assert_close(result, T([[expected]]), rtol=0, atol=1e-4)


def test_levels():
    sides = T([112.0, 224, 448, 32, 900, 223, 0])
    boxes = torch.stack([torch.zeros(7), torch.zeros(7), sides, sides], 1)
    ours = level_of(boxes, lowest=2, highest=5, canonical_size=224, canonical_level=4)
    assert ours.tolist() == [3, 4, 5, 2, 5, 3, 2]
    boxes = torch.rand(500, 4, generator=torch.Generator().manual_seed(0)) * 500 + T([0, 0, 500.0, 500])
    theirs = LevelMapper(2, 5)([boxes]) + 2
    assert torch.equal(level_of(boxes, lowest=2, highest=5, canonical_size=224, canonical_level=4), theirs)


def test_pyramid_as_torchvision():
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, 3, n, n, generator=generator, requires_grad=True) for n in (64, 32, 16)]
    first, size = torch.rand(40, 2, generator=generator) * 150, torch.rand(40, 2, generator=generator) * 400
    boxes, image = torch.cat([first, first + size], 1), torch.arange(40) // 20
    theirs = MultiScaleRoIAlign(["0", "1", "2"], 7, 2)
    expected = theirs({str(i): m for i, m in enumerate(maps)}, [boxes[:20], boxes[20:]], [(256, 256)] * 2)
    level = level_of(boxes, lowest=2, highest=4, canonical_size=224, canonical_level=4) - 2
    assert level.unique().tolist() == [0, 1, 2]
    ours = pyramid_align(maps, [4, 8, 16], boxes, image, level, size=7, samples=2, aligned=False)
    torch.testing.assert_close(ours, expected)
    ours.square().sum().backward()
    assert all(m.grad.abs().sum() > 0 for m in maps)
    none = pyramid_align(maps, [4, 8, 16], boxes[:0], image[:0], level[:0], size=7, samples=2)
    assert none.shape == (0, 3, 7, 7)


def test_worked_pasting():
    """A box of 4 x 2 pixels has 8 of them; torchvision's paste has 24."""
    pasted = paste_masks(torch.ones(1, 28, 28), T([[2.0, 3, 6, 5]]), 8, 10)[0] >= 0.5
    assert pasted.sum() == 8
    assert pasted.any(1).nonzero()[:, 0].tolist() == [3, 4]
    assert pasted.any(0).nonzero()[:, 0].tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize("seed", range(4))
def test_a_full_mask_is_its_box(seed: int):
    """The pixels whose centre lies in the box, boxes outside the image and below a pixel included."""
    generator = torch.Generator().manual_seed(seed)
    first, size = torch.rand(30, 2, generator=generator) * 50 - 10, torch.rand(30, 2, generator=generator) ** 2 * 30
    boxes = torch.cat([first, first + size], 1)
    pasted = paste_masks(torch.ones(30, 14, 14), boxes, 33, 41) >= 0.5
    y, x = torch.arange(33)[:, None] + 0.5, torch.arange(41) + 0.5
    x1, y1, x2, y2 = boxes[:, :, None, None].unbind(1)
    assert torch.equal(pasted, (x > x1) & (x < x2) & (y > y1) & (y < y2))


def test_pasting_is_interpolation():
    generator = torch.Generator().manual_seed(0)
    masks, boxes = torch.rand(5, 9, 7, generator=generator), T([[2.3, 3.1, 20.7, 15.2]]).expand(5, 4)
    y = ((torch.arange(20) + 0.5 - 3.1) / (15.2 - 3.1) * 2 - 1)[:, None].expand(20, 24)
    x = ((torch.arange(24) + 0.5 - 2.3) / (20.7 - 2.3) * 2 - 1).expand(20, 24)
    places = torch.stack([x, y], -1).expand(5, -1, -1, -1)
    sampled = F.grid_sample(masks[:, None], places, padding_mode="border", align_corners=False)[:, 0]
    inside = (x.abs() < 1) & (y.abs() < 1)
    torch.testing.assert_close(paste_masks(masks, boxes, 20, 24), sampled * inside, rtol=0, atol=1e-4)
    empty = paste_masks(masks, T([[3.5, 3, 3.5, 9], [9, 3, 4, 9], [0, 0, 0, 0]] * 2)[:5], 20, 24)
    assert empty.eq(0).all()
    assert paste_masks(masks[:0], boxes[:0], 20, 24).shape == (0, 20, 24)


def test_cropping_undoes_pasting():
    masks = torch.zeros(2, 3, 40, 40, dtype=torch.uint8)
    masks[1, 2, 10:30, 5:15] = 1
    masks[0, 0, :, 20:] = 1
    boxes, image, index = T([[5.0, 10, 15, 30], [0, 10, 10, 30], [10, 0, 30, 20]]), T([1, 1, 0]), T([2, 2, 0])
    crops = crop_masks(masks, boxes, image, index, size=8)
    assert (crops[0] > 0.8).all()  # at the border the samples reach half a pixel out
    assert torch.equal(crops[1] > 0.5, (torch.arange(8) >= 4).expand(8, 8))
    assert torch.equal(crops[2] > 0.5, (torch.arange(8) >= 4).expand(8, 8))
    back = paste_masks(crops, boxes, 40, 40) >= 0.5
    assert torch.equal(back[0], masks[1, 2].bool())
    assert crop_masks(masks, boxes[:0], image[:0], index[:0], size=8).shape == (0, 8, 8)


def test_warp_brings_the_box_to_the_middle():
    """16 of 224 pixels to each side show what is around (Girshick et al. 2014, appendix A)."""
    image = torch.zeros(1, 1, 60, 80)
    image[0, 0, 10:40, 20:60] = 1
    cut = warp(image, torch.tensor([[20.0, 10, 60, 40]]), torch.tensor([0]), size=224, context=16 / 224)[0, 0]
    assert cut.shape == (224, 224)
    assert cut[20:-20, 20:-20].min() > 0.99
    assert cut[:12].max() < 0.01
    assert cut[:, :12].max() < 0.01
    assert cut.mean() == pytest.approx((192 / 224) ** 2, abs=0.01)


def test_beyond_the_image_a_warped_region_is_empty():
    cut = warp(torch.ones(1, 1, 40, 40), torch.tensor([[-40.0, 0, 40, 40]]), torch.tensor([0]), size=32, context=0.0)
    assert cut[0, 0, :, :14].max() == 0
    assert cut[0, 0, :, 18:].min() == 1
