"""Network in Network (Lin, Chen & Yan 2013): 1x1 convolutions and no dense layer."""

from __future__ import annotations

from functools import partial

from torch import nn

from danlu.models.backbone import Backbone
from danlu.models.parts import conv, he_normal
from danlu.models.spec import NetworkSpec


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
    """Build the paper's network for 32-pixel images: 966,986 parameters, 222 M multiply-adds at 3x32x32, K = 10.

    Args:
        final_relu: Put an activation on the K maps before they are averaged, as first published. A class whose map is
            never positive then receives no gradient.
    """
    block = partial(conv, norm=norm, activation=activation)
    halve = partial(nn.MaxPool2d, 3, 2, ceil_mode=True)
    return _nin(
        stages={
            "stage1": nn.Sequential(block(channels, 192, 5), block(192, 160, 1), block(160, 96, 1)),
            "stage2": nn.Sequential(
                halve(), nn.Dropout(dropout), block(96, 192, 5), block(192, 192, 1), block(192, 192, 1)
            ),
            "stage3": nn.Sequential(
                nn.AvgPool2d(3, 2, ceil_mode=True), nn.Dropout(dropout), block(192, 192, 3), block(192, 192, 1)
            ),
        },
        output=conv(192, classes, 1, activation=activation if final_relu else "none"),
        channels=(96, 192, 192),
        strides=(1, 2, 4),
    )


def _nin_imagenet(
    last_width: int | None,
    channels: int,
    size: int,
    classes: int,
    *,
    norm: str = "none",
    activation: str = "relu",
    dropout: float = 0.5,
    final_relu: bool = False,
) -> Backbone:
    """Build the form for 224 pixels. last_width: channels of the last block; None for K channels."""
    block = partial(conv, norm=norm, activation=activation)
    halve = partial(nn.MaxPool2d, 3, 2)
    width = last_width or classes
    return _nin(
        stages={
            "stage1": nn.Sequential(block(channels, 96, 11, stride=4, padding=0), block(96, 96, 1), block(96, 96, 1)),
            "stage2": nn.Sequential(halve(), block(96, 256, 5), block(256, 256, 1), block(256, 256, 1)),
            "stage3": nn.Sequential(halve(), block(256, 384, 3), block(384, 384, 1), block(384, 384, 1)),
            "stage4": nn.Sequential(halve(), nn.Dropout(dropout), block(384, width, 3), block(width, width, 1)),
        },
        output=conv(width, classes, 1, activation=activation if final_relu else "none"),
        channels=(96, 256, 384, width),
        strides=(4, 8, 16, 32),
    )


# The authors' form: 7,595,176 parameters, 969 M multiply-adds at 3x224x224, K = 1000.
nin = partial(_nin_imagenet, 1024)
# The textbook form, its last block K channels wide: 1,992,166 parameters, 762 M multiply-adds at 1x224x224, K = 10.
nin_plain = partial(_nin_imagenet, None)


def _nin(
    stages: dict[str, nn.Module], output: nn.Module, channels: tuple[int, ...], strides: tuple[int, ...]
) -> Backbone:
    """Add the head. output: 1x1 convolution to K maps, whose averages are the logits."""
    head = nn.Sequential(output, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = Backbone(stages, head, channels, strides)
    he_normal(network)
    return network


_nins = partial(NetworkSpec, family="nin", paper="Lin, Chen & Yan 2013")
NETWORKS = {
    "nin": _nins(nin, "Network in Network; 224 pixels", min_size=67),
    "nin-plain": _nins(
        nin_plain, "Network in Network with the narrow last block of textbooks; 224 pixels", min_size=67
    ),
    "nin-cifar": _nins(
        nin_cifar,
        "Network in Network as in the paper, for 32-pixel images",
        min_size=4,
        default_input=(3, 32, 32),
    ),
}
