"""The original LeNet-5 (LeCun, Bottou, Bengio & Haffner 1998): sparse C3, trainable subsampling, RBF output."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.message import message
from danlu.models.backbone import Backbone
from danlu.models.parts import ScaledTanh, norm_layer, weighted
from danlu.models.sparse_convolution import SparseConvolution, uniform
from danlu.models.spec import NetworkSpec
from danlu.refuse import refusal

# Table I of the paper: input maps (of S2) of each output map of C3.
C3_TABLE = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5)),
)


class Subsampling(nn.Module):
    """Sum over 2x2 squares, times a trained coefficient plus a trained bias per map; halves H and W."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels, 1, 1), 0.25))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H / 2, W / 2) of a map (N, C, H, W)."""
        return F.avg_pool2d(x, 2) * (4 * self.weight) + self.bias


class RadialBasis(nn.Module):
    """Minus the squared distance to each class's fixed code, so that the nearest class has the largest output.

    (N, 84) -> (N, K). Softmax cross-entropy of these outputs with a rubbish class (`loss.rubbish`) is equation 9 of
    the paper.
    """

    codes: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("codes", codes(classes))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, K), one value per class, of features (N, D)."""
        return -(x.float().unsqueeze(1) - self.codes).square().sum(2)  # bf16 is too coarse for the distances


def lenet5(channels: int, size: int, classes: int, *, norm: str = "none") -> Backbone:
    """Build LeNet-5: 60,000 trained parameters and 0.326 M multiply-adds at one channel, K = 10.

    Args:
        size: 32, or 28: such images are padded to 32 pixels by repeating their edge pixels.
        norm: Normalisation before the tanh of C1, C3, C5 and F6; the original has none.

    Raises:
        Refusal: norm "weight" or "spectral".
    """
    if norm in ("weight", "spectral"):
        raise refusal(
            "model.norm",
            message(
                "models.wanted.activations_lenet5_whose_c3", "one of the activations for lenet5, whose C3 is no matrix"
            ),
            norm,
            do=message("models.do.try_batch", "try batch"),
        )
    flat = "layer" if norm == "instance" else norm  # a single number per channel has no variance
    padding = [nn.ReplicationPad2d(2)] if size == 28 else []
    network = Backbone(
        stages={
            "stage1": _sequence(*padding, nn.Conv2d(channels, 6, 5), norm_layer(norm, 6), ScaledTanh()),  # C1
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
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return network


def _sequence(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*(layer for layer in layers if not isinstance(layer, nn.Identity)))


def codes(classes: int) -> Tensor:
    """Return target codes (K, 84) of +-1: 7x12 images of the digits for ten classes, else fixed random codes."""
    if classes == 10:
        rows = [line.split() for line in DIGITS.strip().splitlines()]
        images = ["".join(row[digit] for row in rows) for digit in range(10)]
        return torch.tensor([[1.0 if sign == "#" else -1.0 for sign in image] for image in images])
    generator = torch.Generator().manual_seed(1998)
    return torch.randint(0, 2, (classes, 84), generator=generator) * 2.0 - 1


# 0 to 9 side by side, each 7 wide and 12 high.
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


NETWORKS = {
    "lenet5": NetworkSpec(
        lenet5,
        "LeNet-5 of 1998, with sparse C3 and RBF output; 28 or 32 pixels",
        paper="LeCun et al. 1998",
        family="lenet",
        sizes=(28, 32),
        default_input=(1, 32, 32),
        distance_outputs=True,
    )
}
