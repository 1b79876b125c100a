"""Network in Network (Lin, Chen & Yan 2013): 1x1 convolutions and no dense layer."""

from __future__ import annotations

from functools import partial

from torch import nn

from danlu.models.backbone import Backbone
from danlu.models.parts import conv, he_normal


def nin_cifar(
    channels: int,
    size: int,
    classes: int,
    *,
    norm: str = "none",
    activation: str = "relu",
    dropout: float = 0.5,
    final_relu: bool = False,
) -> Backbone:
    """The paper's network: 966,986 parameters and 222 M multiply-adds at 3x32x32, K = 10.

    final_relu: an activation on the K maps before they are averaged, as first published; a class whose map is never
    positive then learns nothing more.
    """
    block = partial(conv, norm=norm, activation=activation)
    return _nin(
        stages={
            "stage1": nn.Sequential(block(channels, 192, 5), block(192, 160, 1), block(160, 96, 1)),
            "stage2": nn.Sequential(
                nn.MaxPool2d(3, 2, ceil_mode=True),
                nn.Dropout(dropout),
                block(96, 192, 5),
                block(192, 192, 1),
                block(192, 192, 1),
            ),
            "stage3": nn.Sequential(
                nn.AvgPool2d(3, 2, ceil_mode=True), nn.Dropout(dropout), block(192, 192, 3), block(192, 192, 1)
            ),
        },
        output=conv(192, classes, 1, activation=activation if final_relu else "none"),
        channels=(96, 192, 192),
        strides=(1, 2, 4),
    )


def nin(
    channels: int,
    size: int,
    classes: int,
    *,
    norm: str = "none",
    activation: str = "relu",
    dropout: float = 0.5,
    final_relu: bool = False,
) -> Backbone:
    """The authors' form for 224 pixels: 7,595,176 parameters, 969 M multiply-adds at 3x224x224, K = 1000."""
    block = partial(conv, norm=norm, activation=activation)
    return _nin(
        stages=_trunk(channels, norm, activation)
        | {"stage4": nn.Sequential(nn.MaxPool2d(3, 2), nn.Dropout(dropout), block(384, 1024, 3), block(1024, 1024, 1))},
        output=conv(1024, classes, 1, activation=activation if final_relu else "none"),
        channels=(96, 256, 384, 1024),
        strides=(4, 8, 16, 32),
    )


def nin_plain(
    channels: int,
    size: int,
    classes: int,
    *,
    norm: str = "none",
    activation: str = "relu",
    dropout: float = 0.5,
    final_relu: bool = False,
) -> Backbone:
    """The textbooks' form: the last block has K channels throughout. 1,992,166 parameters, 762 M multiply-adds at
    1x224x224, K = 10."""
    block = partial(conv, norm=norm, activation=activation)
    return _nin(
        stages=_trunk(channels, norm, activation)
        | {
            "stage4": nn.Sequential(
                nn.MaxPool2d(3, 2), nn.Dropout(dropout), block(384, classes, 3), block(classes, classes, 1)
            )
        },
        output=conv(classes, classes, 1, activation=activation if final_relu else "none"),
        channels=(96, 256, 384, classes),
        strides=(4, 8, 16, 32),
    )


def _trunk(channels: int, norm: str, activation: str) -> dict[str, nn.Module]:
    block = partial(conv, norm=norm, activation=activation)
    return {
        "stage1": nn.Sequential(block(channels, 96, 11, stride=4, padding=0), block(96, 96, 1), block(96, 96, 1)),
        "stage2": nn.Sequential(nn.MaxPool2d(3, 2), block(96, 256, 5), block(256, 256, 1), block(256, 256, 1)),
        "stage3": nn.Sequential(nn.MaxPool2d(3, 2), block(256, 384, 3), block(384, 384, 1), block(384, 384, 1)),
    }


def _nin(
    stages: dict[str, nn.Module], output: nn.Module, channels: tuple[int, ...], strides: tuple[int, ...]
) -> Backbone:
    """output: the 1x1 convolution to K maps; their averages are the logits."""
    head = nn.Sequential(output, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = Backbone(stages, head, channels, strides)
    he_normal(network)
    return network
