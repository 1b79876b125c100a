"""LeNet-5 as it was (LeCun, Bottou, Bengio & Haffner 1998): sparse C3, trainable subsampling, RBF output."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.models.backbone import Backbone
from danlu.models.parts import ScaledTanh, weighted

# The paper's Table I: which maps of S2 each map of C3 sees.
C3_TABLE = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5)),
)


class SparseConvolution(nn.Module):
    """A convolution whose every output map sees only some input maps: one kernel per connection, one bias per map."""

    outputs: Tensor
    inputs: Tensor

    def __init__(self, table: tuple[tuple[int, ...], ...], kernel: int) -> None:
        super().__init__()
        pairs = torch.tensor([(o, i) for o, seen in enumerate(table) for i in seen])
        self.register_buffer("outputs", pairs[:, 0], persistent=False)
        self.register_buffer("inputs", pairs[:, 1], persistent=False)
        self.shape = (len(table), 1 + max(map(max, table)), kernel, kernel)
        fan_in = torch.tensor([len(seen) * kernel * kernel for seen in table for _ in seen])
        self.weight = nn.Parameter(uniform((len(pairs), kernel, kernel), fan_in.view(-1, 1, 1)))
        self.bias = nn.Parameter(torch.zeros(len(table)))

    def forward(self, x: Tensor) -> Tensor:
        dense = self.weight.new_zeros(self.shape).index_put((self.outputs, self.inputs), self.weight)
        return F.conv2d(x, dense, self.bias)


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

    The codes are fixed. Softmax cross entropy of these outputs is the paper's second criterion (its equation 9) without
    the rubbish class.
    """

    codes: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("codes", codes(classes))

    def forward(self, x: Tensor) -> Tensor:
        return -(x.float().unsqueeze(1) - self.codes).square().sum(2)  # bf16 would blur the distances


def lenet5(channels: int, size: int, classes: int) -> Backbone:
    """60,000 parameters at one channel and 10 classes, all of them trained; 0.326 M multiply-adds.

    Pictures of 32 pixels; those of 28 are framed by their edge pixels to 32, as MNIST's were.
    """
    frame = [nn.ReplicationPad2d(2)] if size == 28 else []
    network = Backbone(
        stages={
            "stage1": nn.Sequential(*frame, nn.Conv2d(channels, 6, 5), ScaledTanh()),  # C1
            "stage2": nn.Sequential(
                Subsampling(6),
                ScaledTanh(),
                SparseConvolution(C3_TABLE, 5),
                ScaledTanh(),  # S2, C3
            ),
        },
        head=nn.Sequential(
            *(Subsampling(16), ScaledTanh()),  # S4
            *(nn.Conv2d(16, 120, 5), ScaledTanh(), nn.Flatten()),  # C5
            *(nn.Linear(120, 84), ScaledTanh()),  # F6
            RadialBasis(classes),
        ),
        channels=(6, 16),
        strides=(1, 2),
    )
    for layer in weighted(network):
        layer.weight = nn.Parameter(uniform(layer.weight.shape, math.prod(layer.weight.shape[1:])))
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return network


def uniform(shape: Sequence[int], fan_in: Tensor | int) -> Tensor:
    """The paper's appendix A: weights in +-2.4 / fan in, where the fan in is the count of numbers that a unit sums."""
    return torch.empty(tuple(shape)).uniform_(-2.4, 2.4) / fan_in


def codes(classes: int) -> Tensor:
    """(K, 84) of +-1. Ten classes get the digits as pictures of 7x12, others random codes, always the same."""
    if classes == 10:
        rows = [line.split() for line in DIGITS.strip().splitlines()]
        pictures = ["".join(row[digit] for row in rows) for digit in range(10)]
        return torch.tensor([[1.0 if sign == "#" else -1.0 for sign in picture] for picture in pictures])
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
