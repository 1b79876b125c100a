"""Worked examples of convolution and pooling, F1 to F4 of the lecture notes; where the notes err, the test says so."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.inspection.layers import trace
from danlu.models.parts import conv

IMAGE = torch.arange(9.0).reshape(1, 1, 3, 3)
KERNEL = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])


def convolved(**settings) -> list[list[float]]:
    """By the convolution block of danlu's own networks, with the kernel of the notes."""
    block = conv(1, 1, 2, activation="none", **settings)
    layer = next(module for module in block.modules() if isinstance(module, nn.Conv2d))
    with torch.no_grad():
        layer.weight.copy_(KERNEL)
        if layer.bias is not None:
            layer.bias.zero_()
        return block(IMAGE)[0, 0].tolist()


def test_cross_correlation_by_hand() -> None:
    assert convolved(padding=0) == [[19, 25], [37, 43]]
    by_hand = [
        [sum(IMAGE[0, 0, i + a, j + b] * KERNEL[0, 0, a, b] for a in (0, 1) for b in (0, 1)) for j in (0, 1)]
        for i in (0, 1)
    ]
    assert torch.tensor(by_hand).tolist() == [[19, 25], [37, 43]]


def test_convolution_proper_flips_the_kernel() -> None:
    flipped = F.conv2d(IMAGE, KERNEL.flip(2, 3))[0, 0]
    assert flipped.tolist() == [[5, 11], [23, 29]]


def test_padding_and_stride() -> None:
    assert convolved(padding=1) == [[0, 3, 8, 4], [9, 19, 25, 10], [21, 37, 43, 16], [6, 7, 8, 0]]
    strided = nn.Conv2d(1, 1, 2, stride=(3, 2), padding=1, bias=False)
    strided.weight = nn.Parameter(KERNEL)
    assert strided(IMAGE)[0, 0].tolist() == [[0, 8], [6, 8]]


def test_max_pooling() -> None:
    assert nn.MaxPool2d(2, stride=1)(IMAGE)[0, 0].tolist() == [[4, 5], [7, 8]]


@pytest.mark.parametrize(
    ("n", "k", "p", "s"), [(32, 5, 0, 1), (32, 5, 4, 1), (224, 11, 2, 4), (227, 11, 0, 4), (7, 3, 2, 2), (8, 3, 2, 2)]
)
def test_output_size(n: int, k: int, p: int, s: int) -> None:
    """floor((n - k + p + s) / s), p the padding of both sides; p = k - 1 keeps the size."""
    layer = nn.Conv2d(1, 1, k, stride=s, padding=p // 2)
    side = trace(layer, torch.zeros(1, 1, n, n)).layers[-1].output[-1]
    assert side == (n - k + p + s) // s
    if p == k - 1 and s == 1:
        assert side == n


def test_channels_are_summed() -> None:
    """Two channels by two kernels: the sum of two cross-correlations."""
    image = torch.cat([IMAGE, IMAGE + 1], dim=1)
    kernel = torch.cat([KERNEL, KERNEL + 1], dim=1)
    assert F.conv2d(image, kernel)[0, 0].tolist() == [[56, 72], [104, 120]]


def test_a_1x1_convolution_is_a_dense_layer_per_pixel() -> None:
    layer, x = nn.Conv2d(3, 2, 1), torch.randn(4, 3, 5, 6)
    dense = F.linear(x.movedim(1, -1), layer.weight.flatten(1), layer.bias).movedim(-1, 1)
    torch.testing.assert_close(layer(x), dense)


def test_one_bias_per_output_channel_and_the_cost() -> None:
    """Bias: c_o entries (the notes say c_o x c_i). 100 x 100 x 5 x 5 x 64 x 64 = 1.02 G; 10 layers, 1 M samples: 10 P."""
    layer = nn.Conv2d(64, 64, 5, padding=2)
    assert layer.bias is not None
    assert layer.bias.shape == (64,)
    cost = trace(layer, torch.zeros(1, 64, 100, 100)).total("multiply_adds")
    assert cost == 1_024_000_000
    work = 10 * 1_000_000 * cost
    assert work / 0.15e12 / 3600 == pytest.approx(18, rel=0.06)  # hours
    assert work / 12e12 / 60 == pytest.approx(14, rel=0.02)  # minutes


def edge(column: int) -> Tensor:
    """Bright left of `column`, dark from there on."""
    image = torch.zeros(1, 1, 6, 8)
    image[..., :column] = 1
    return image


def test_vertical_edges_and_what_pooling_forgives() -> None:
    detect = torch.tensor([[[[1.0, -1.0]]]])
    found = F.conv2d(edge(4), detect)
    assert found[0, 0].nonzero()[:, 1].unique().tolist() == [3]
    assert not F.conv2d(edge(4).mT, detect).any()  # it is blind to level edges
    pooled = [F.max_pool2d(F.conv2d(edge(c), detect), 2, stride=2) for c in (3, 4, 5)]
    assert torch.equal(pooled[0], pooled[1])  # one pixel further: the same answer
    assert not torch.equal(pooled[1], pooled[2])  # unless the windows' border lies between
    near = [F.max_pool2d(F.conv2d(edge(c), detect), 2, stride=1) for c in (4, 5)]
    assert (near[0] * near[1]).any()  # windows that overlap forgive every single pixel
