"""Weighted sums of cells against torchvision's kernel, level by level, values and gradients."""

from __future__ import annotations

import pytest
import torch

from danlu.detection.region_bags import pyramid_bags
from danlu.detection.regions import pyramid_align

STRIDES = [4, 8, 16]


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("samples", [1, 2, 3])
def test_as_the_kernel(samples: int, aligned: bool):
    torch.manual_seed(0)
    maps = [torch.randn(3, 8, 16 // 2**k + k, 12 // 2**k, requires_grad=True) for k in range(3)]  # no squares
    corner = torch.rand(60, 2) * 70 - 15  # some begin outside
    boxes = torch.cat([corner, corner + torch.rand(60, 2) * 50], 1)
    boxes[0], boxes[1, 2:] = torch.tensor([500.0, 500, 600, 600]), boxes[1, :2]  # one outside, one empty
    image, level = torch.randint(3, (60,)), torch.randint(3, (60,))
    weight = torch.randn(60, 8, 5, 5)
    values, gradients = [], []
    for function in (pyramid_bags, pyramid_align):
        out = function(maps, STRIDES, boxes, image, level, size=5, samples=samples, aligned=aligned)
        values.append(out)
        gradients.append(torch.autograd.grad((out * weight).sum(), maps))
    torch.testing.assert_close(*values, rtol=1e-4, atol=1e-4)
    for mine, other in zip(*gradients):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


def test_no_regions():
    none = torch.zeros(0, dtype=torch.int64)
    out = pyramid_bags([torch.randn(1, 8, 4, 4)], [4], torch.zeros(0, 4), none, none, size=7, samples=2)
    assert out.shape == (0, 8, 7, 7)
