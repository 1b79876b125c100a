"""CSPNet (Wang et al. 2020): stages whose blocks process half of the channels and bypass the other half.

Cheap for its receptive field, hence the backbone of fast detectors.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from danlu.models.backbone import Backbone
from danlu.models.parts import conv
from danlu.models.spec import NetworkSpec

# Size -> channels of the stem, and bottlenecks of the four stages after it.
SIZES: dict[str, tuple[int, tuple[int, ...]]] = {
    "nano": (16, (1, 2, 2, 1)),
    "tiny": (24, (1, 2, 2, 1)),
    "small": (32, (1, 3, 3, 1)),
}


class Bottleneck(nn.Module):
    """1x1 and 3x3 convolution with a residual connection."""

    def __init__(self, width: int, norm: str, activation: str) -> None:
        super().__init__()
        block = partial(conv, norm=norm, activation=activation)
        self.reduce, self.see = block(width, width, 1), block(width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the same shape as `x`, (N, C, H, W)."""
        return x + self.see(self.reduce(x))


class CSP(nn.Module):
    """Half of the channels through `count` bottlenecks, half bypassing them, joined by a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, count: int, norm: str = "batch", activation: str = "silu") -> None:
        super().__init__()
        block = partial(conv, norm=norm, activation=activation)
        half = outputs // 2
        self.work, self.past = block(inputs, half, 1), block(inputs, half, 1)
        self.blocks = nn.Sequential(*(Bottleneck(half, norm, activation) for _ in range(count)))
        self.join = block(2 * half, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C', H, W) of a map (N, C, H, W)."""
        return self.join(torch.cat([self.blocks(self.work(x)), self.past(x)], 1))


class Pooled(nn.Module):
    """Spatial pyramid pooling (He et al. 2014): the map and its maxima over 5, 9 and 13 cells, joined by a 1x1."""

    def __init__(self, width: int, norm: str, activation: str) -> None:
        super().__init__()
        block = partial(conv, norm=norm, activation=activation)
        self.reduce, self.join = block(width, width // 2, 1), block(2 * width, width, 1)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C', H, W) of a map (N, C, H, W)."""
        maps = [self.reduce(x)]
        for _ in range(3):
            maps.append(self.pool(maps[-1]))
        return self.join(torch.cat(maps, 1))


def cspnet(
    kind: str, channels: int, size: int, classes: int, *, norm: str = "batch", activation: str = "silu"
) -> Backbone:
    """Build five stages of strides 2 to 32, average pooling and a dense layer. kind: "nano", "tiny" or "small"."""
    width, depths = SIZES[kind]
    block = partial(conv, norm=norm, activation=activation)
    widths = [width * 2**i for i in range(5)]
    stages: dict[str, nn.Module] = {"stem": block(channels, width, 3, stride=2)}
    for i, count in enumerate(depths):
        layers = [
            block(widths[i], widths[i + 1], 3, stride=2),
            CSP(widths[i + 1], widths[i + 1], count, norm, activation),
        ]
        if i == 3:
            layers.insert(1, Pooled(widths[4], norm, activation))
        stages[f"stage{i + 1}"] = nn.Sequential(*layers)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[4], classes))
    network = Backbone(stages, head, channels=widths, strides=(2, 4, 8, 16, 32))
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return network


NETWORKS = {
    f"cspnet-{kind}": NetworkSpec(
        partial(cspnet, kind),
        f"CSPNet, {kind}: backbone of the yolo detectors",
        paper="Wang et al. 2020",
        family="cspnet",
    )
    for kind in SIZES
}
