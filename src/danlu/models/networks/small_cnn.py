"""A small convolutional network for small images (8 to 32 pixels), trained in seconds."""

from __future__ import annotations

from functools import partial

from torch import nn

from danlu.models.backbone import Backbone
from danlu.models.parts import conv, he_normal
from danlu.models.spec import NetworkSpec


def small_cnn(
    channels: int,
    size: int,
    classes: int,
    *,
    activation: str = "relu",
    norm: str = "batch",
    dropout: float = 0.2,
) -> Backbone:
    """Build two stages of two 3x3 convolutions with 32 and 64 channels, average pooling and a dense layer.

    Follows VGG (3x3 only, twice the width at half the size) with batch norm, and NiN's global average pooling, so that
    it accepts every size from 2 pixels on. 65,834 parameters at one channel, K = 10.
    """
    block = partial(conv, kernel=3, norm=norm, activation=activation)
    network = Backbone(
        stages={
            "stage1": nn.Sequential(block(channels, 32), block(32, 32)),
            "stage2": nn.Sequential(nn.MaxPool2d(2), block(32, 64), block(64, 64)),
        },
        head=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(64, classes)),
        channels=(32, 64),
        strides=(1, 2),
    )
    he_normal(network)
    return network


NETWORKS = {
    "small-cnn": NetworkSpec(
        small_cnn,
        "four 3x3 convolutions with batch norm, for small images",
        family="small-cnn",
        min_size=2,
        default_input=(1, 8, 8),
    )
}
