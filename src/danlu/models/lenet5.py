"""LeNet-5 as it was (LeCun, Bottou, Bengio & Haffner 1998): sparse C3, trainable subsampling, RBF output."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.models.backbone import Backbone
from danlu.models.parts import ScaledTanh, norm_layer, weighted
from danlu.models.sparse_convolution import SparseConvolution, uniform
from danlu.refuse import refusal

# The paper's Table I: which maps of S2 each map of C3 sees.
C3_TABLE = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5)),
)


class Subsampling(nn.Module):
    """The sum of each 2x2 square, times one coefficient per map, plus one bias per map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels, 1, 1), 0.25))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2) * (4 * self.weight) + self.bias


class RadialBasis(nn.Module):
    """(N, 84) -> (N, K): minus the squared distance to each class's code, so that the nearest class is the largest.

    The codes are fixed. Softmax cross entropy of these outputs, with a rubbish class, is the paper's criterion (its
    equation 9): `loss.rubbish`.
    """

    codes: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("codes", codes(classes))

    def forward(self, x: Tensor) -> Tensor:
        return -(x.float().unsqueeze(1) - self.codes).square().sum(2)  # bf16 would blur the distances


def lenet5(channels: int, size: int, classes: int, *, norm: str = "none") -> Backbone:
    """60,000 parameters at one channel and 10 classes, all of them trained; 0.326 M multiply-adds.

    Images of 32 pixels; those of 28 are framed by their edge pixels to 32, as MNIST's were. norm: a normalisation of
    later years before the tanh of C1, C3, C5 and F6.
    """
    if norm in ("weight", "spectral"):
        raise refusal("model.norm", "one of the activations for lenet5, whose C3 is no matrix", norm, do="try batch")
    flat = "layer" if norm == "instance" else norm  # one number per channel has no variance of its own
    frame = [nn.ReplicationPad2d(2)] if size == 28 else []
    network = Backbone(
        stages={
            "stage1": _sequence(*frame, nn.Conv2d(channels, 6, 5), norm_layer(norm, 6), ScaledTanh()),  # C1
            "stage2": _sequence(
                *(Subsampling(6), ScaledTanh()),  # S2
                *(SparseConvolution(C3_TABLE, 5), norm_layer(norm, 16), ScaledTanh()),  # C3
            ),
        },
        head=_sequence(
            *(Subsampling(16), ScaledTanh()),  # S4
            *(nn.Conv2d(16, 120, 5), norm_layer(flat, 120), ScaledTanh(), nn.Flatten()),  # C5
            *(nn.Linear(120, 84), norm_layer(flat, 84, flat=True), ScaledTanh()),  # F6
            RadialBasis(classes),
        ),
        channels=(6, 16),
        strides=(1, 2),
    )
    for layer in weighted(network):
        layer.weight = nn.Parameter(uniform(layer.weight.shape, math.prod(layer.weight.shape[1:])))
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return network


def _sequence(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*(layer for layer in layers if not isinstance(layer, nn.Identity)))


def codes(classes: int) -> Tensor:
    """(K, 84) of +-1. Ten classes get the digits as images of 7x12, others random codes, always the same."""
    if classes == 10:
        rows = [line.split() for line in DIGITS.strip().splitlines()]
        images = ["".join(row[digit] for row in rows) for digit in range(10)]
        return torch.tensor([[1.0 if sign == "#" else -1.0 for sign in image] for image in images])
    generator = torch.Generator().manual_seed(1998)
    return torch.randint(0, 2, (classes, 84), generator=generator) * 2.0 - 1


# 0 to 9 side by side, 7 wide and 12 high.
DIGITS = """
.#####. ...#... .#####. .#####. ....##. ####### ..####. ####### .#####. .#####.
##...## ..##... ##...## ##...## ...###. ##..... .##.... ....... ##...## ##...##
##...## .###... .....## .....## ..####. ##..... ##..... .....## ##...## ##...##
##...## ...#... .....## .....## ..#.##. ##..... ##..... ....##. ##...## ##...##
##...## ...#... ....##. ...###. .##.##. ######. ##.###. ....##. .#####. ##...##
##...## ...#... ...##.. ..####. .#..##. .....## ###..## ...##.. .#####. .######
##...## ...#... ..##... .....## ##..##. .....## ##...## ...##.. ##...## ..##.##
##...## ...#... .##.... .....## ####### .....## ##...## ..##... ##...## .....##
##...## ...#... ##..... .....## ....##. .....## ##...## ..##... ##...## .....##
##...## ...#... ##..... ##...## ....##. ##...## ##...## .##.... ##...## ....##.
##...## ...#... ##..... ##...## ....##. ##...## ##...## .##.... ##...## ...##..
.#####. .#####. ####### .#####. ....##. .#####. .#####. .##.... .#####. .###...
"""
