"""GoogLeNet (Szegedy et al. 2014, Table 1): Inception v1 with 5x5 convolutions, without batch norm."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

import torch
from torch import Tensor, nn

from danlu.models.backbone import Backbone
from danlu.models.parts import activation_layer, conv, he_normal, response_norm
from danlu.models.spec import NetworkSpec

# Module -> channels of: 1x1 | 3x3 reduction, 3x3 | 5x5 reduction, 5x5 | pool projection
TABLE = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


class Inception(nn.Module):
    """Four parallel branches, concatenated: 1x1; 1x1, 3x3; 1x1, 5x5; 3x3 max pool, 1x1."""

    def __init__(self, inputs: int, row: tuple[int, ...], norm: str, activation: str) -> None:
        super().__init__()
        block = partial(conv, norm=norm, activation=activation)
        one, reduce3, three, reduce5, five, projection = row
        self.branch1 = block(inputs, one, 1)
        self.branch2 = nn.Sequential(block(inputs, reduce3, 1), block(reduce3, three, 3))
        self.branch3 = nn.Sequential(block(inputs, reduce5, 1), block(reduce5, five, 5))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, padding=1), block(inputs, projection, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C', H, W) of a map (N, C, H, W)."""
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], dim=1)


class GoogLeNet(Backbone):
    """Nine Inception modules: 6,998,552 parameters and 1.583 G multiply-adds at 3x224x224, K = 1000.

    Args:
        norm: Any name but "local-response" puts that normalisation before every activation and removes the local
            response normalisation.
        aux: Add two auxiliary classifiers, on modules 4a and 4d (13,378,280 parameters). In training the network then
            returns a tuple of three outputs (N, K), the main one first; the paper adds the auxiliary losses with
            weight 0.3. In evaluation it returns the main output only.
    """

    def __init__(
        self,
        channels: int,
        size: int,
        classes: int,
        *,
        norm: str = "local-response",
        activation: str = "relu",
        dropout: float = 0.4,
        aux: bool = False,
    ) -> None:
        lrn = [response_norm()] if norm == "local-response" else []
        norm = "none" if lrn else norm
        block = partial(conv, norm=norm, activation=activation)

        def halve() -> nn.Module:
            return nn.MaxPool2d(3, 2, padding=1)

        def modules(first: str, last: str) -> list[tuple[str, nn.Module]]:
            """Build the table's rows from `first` to `last`, each on the channels of the row before."""
            names = list(TABLE)
            wanted = range(names.index(first), names.index(last) + 1)
            return [
                (names[i], Inception(width(names[i - 1]) if i else 192, TABLE[names[i]], norm, activation))
                for i in wanted
            ]

        super().__init__(
            stages={
                "stage1": block(channels, 64, 7, stride=2),
                "stage2": nn.Sequential(halve(), *lrn, block(64, 64, 1), block(64, 192, 3), *lrn),
                "stage3": nn.Sequential(OrderedDict([("pool", halve()), *modules("3a", "3b")])),
                "stage4": nn.Sequential(OrderedDict([("pool", halve()), *modules("4a", "4e")])),
                "stage5": nn.Sequential(OrderedDict([("pool", halve()), *modules("5a", "5b")])),
            },
            head=nn.Sequential(
                nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(width("5b"), classes)
            ),
            channels=(64, 192, width("3b"), width("4e"), width("5b")),
            strides=(2, 4, 8, 16, 32),
        )
        self.aux = nn.ModuleDict()
        if aux:
            side = -(-size // 16)
            self.aux = nn.ModuleDict({m: _aux_head(width(m), side, classes, norm, activation) for m in ("4a", "4d")})
        he_normal(self)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Images (N, C, H, W) -> outputs (N, K), or three of them in training with `aux`."""
        if not (self.training and self.aux):
            return super().forward(x)
        auxiliary = []
        for stage in self.stage_names:
            for name, layer in self.get_submodule(stage).named_children():
                x = layer(x)
                if name in self.aux:
                    auxiliary.append(self.aux[name](x))
        return (self.head(x), *auxiliary)


def width(module: str) -> int:
    """Return the number of output channels of a module of the table."""
    one, _, three, _, five, projection = TABLE[module]
    return one + three + five + projection


def _aux_head(inputs: int, side: int, classes: int, norm: str, activation: str) -> nn.Sequential:
    """5x5 average pool of stride 3 (14x14 to 4x4 at 224 pixels), 1x1 to 128 maps, dense 1024, dropout, dense K."""
    return nn.Sequential(
        nn.AvgPool2d(5, 3) if side == 14 else nn.AdaptiveAvgPool2d(4),
        conv(inputs, 128, 1, norm=norm, activation=activation),
        nn.Flatten(),
        nn.Linear(128 * 4 * 4, 1024),
        activation_layer(activation),
        nn.Dropout(0.7),
        nn.Linear(1024, classes),
    )


NETWORKS = {
    "googlenet": NetworkSpec(
        GoogLeNet,
        "GoogLeNet (Inception v1) as in the paper; 224 pixels",
        paper="Szegedy et al. 2014",
        family="inception",
    )
}
