"""BN-Inception, also called Inception v2 (Ioffe & Szegedy 2015): pairs of 3x3 instead of 5x5, batch norm, ReLU."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from danlu.models.backbone import Backbone
from danlu.models.parts import conv, he_normal
from danlu.models.spec import NetworkSpec


@dataclass(frozen=True)
class Row:
    """One module of the paper's table: channels of its branches.

    A row without `one` and `projection` has stride 2 and passes the pooled input through.

    Args:
        one: Channels of the 1x1 branch.
        three: Channels of the 1x1 reduction and of the 3x3.
        double: Channels of the 1x1 reduction and of the two 3x3.
        pool: "average" or "max".
        projection: Channels of the 1x1 after the pooling.
    """

    one: int
    three: tuple[int, int]
    double: tuple[int, int]
    pool: str
    projection: int

    @property
    def stride(self) -> int:
        """Stride of the module: 2 without a 1x1 branch, else 1."""
        return 1 if self.one else 2

    def width(self, inputs: int) -> int:
        """Number of output channels for `inputs` input channels."""
        return self.one + self.three[1] + self.double[1] + (self.projection or inputs)


# The paper prints totals for 4c, 4d and 4e (576, 576, 1024) that differ from the sums of its branches (608, 608, 1056).
TABLE = {
    "3a": Row(64, (64, 64), (64, 96), "average", 32),
    "3b": Row(64, (64, 96), (64, 96), "average", 64),
    "3c": Row(0, (128, 160), (64, 96), "max", 0),
    "4a": Row(224, (64, 96), (96, 128), "average", 128),
    "4b": Row(192, (96, 128), (96, 128), "average", 128),
    "4c": Row(160, (128, 160), (128, 160), "average", 128),
    "4d": Row(96, (128, 192), (160, 192), "average", 128),
    "4e": Row(0, (128, 192), (192, 256), "max", 0),
    "5a": Row(352, (192, 320), (160, 224), "average", 128),
    "5b": Row(352, (192, 320), (192, 224), "max", 128),
}


class Inception(nn.Module):
    """Parallel branches of one row, concatenated along the channels."""

    def __init__(self, inputs: int, row: Row, norm: str, activation: str) -> None:
        super().__init__()
        block = partial(conv, norm=norm, activation=activation)
        stride, (reduce3, three), (reduce_double, double) = row.stride, row.three, row.double
        branches: list[nn.Module] = [block(inputs, row.one, 1)] if row.one else []
        branches.append(nn.Sequential(block(inputs, reduce3, 1), block(reduce3, three, 3, stride=stride)))
        branches.append(
            nn.Sequential(
                block(inputs, reduce_double, 1),
                block(reduce_double, double, 3),
                block(double, double, 3, stride=stride),
            )
        )
        pooling = nn.AvgPool2d if row.pool == "average" else nn.MaxPool2d
        pooled: list[nn.Module] = [pooling(3, stride, padding=1)]
        if row.projection:
            pooled.append(block(inputs, row.projection, 1))
        branches.append(nn.Sequential(*pooled))
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C', H / stride, W / stride) of a map (N, C, H, W)."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def bn_inception(
    channels: int, size: int, classes: int, *, norm: str = "batch", activation: str = "relu", dropout: float = 0.0
) -> Backbone:
    """Build BN-Inception: 11,285,224 parameters and 2.033 G multiply-adds at 3x224x224, K = 1000.

    The first convolution is an ordinary 7x7, not separable as in the paper. Accepts every size from 1 pixel on.
    """
    block = partial(conv, norm=norm, activation=activation)
    built: dict[str, nn.Module] = {}
    widths: dict[str, int] = {}
    inputs = 192
    for name, row in TABLE.items():
        built[name] = Inception(inputs, row, norm, activation)
        inputs = widths[name] = row.width(inputs)

    def stage(*names: str) -> nn.Sequential:
        return nn.Sequential(OrderedDict((name, built[name]) for name in names))

    network = Backbone(
        stages={
            "stage1": block(channels, 64, 7, stride=2),
            "stage2": nn.Sequential(nn.MaxPool2d(3, 2, padding=1), block(64, 64, 1), block(64, 192, 3)),
            "stage3": nn.Sequential(nn.MaxPool2d(3, 2, padding=1), *stage("3a", "3b")),
            "stage4": stage("3c", "4a", "4b", "4c", "4d"),
            "stage5": stage("4e", "5a", "5b"),
        },
        head=nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(widths["5b"], classes)
        ),
        channels=(64, 192, widths["3b"], widths["4d"], widths["5b"]),
        strides=(2, 4, 8, 16, 32),
    )
    he_normal(network)
    return network


NETWORKS = {
    "bn-inception": NetworkSpec(
        bn_inception,
        "Inception v2: batch norm, pairs of 3x3 convolutions; 224 pixels",
        paper="Ioffe & Szegedy 2015",
        family="inception",
    )
}
