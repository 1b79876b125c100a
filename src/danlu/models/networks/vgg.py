"""VGG-11, 13, 16 and 19 (Simonyan & Zisserman 2014), and their variant for 32-pixel images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from danlu.message import message
from danlu.models.backbone import Backbone
from danlu.models.parts import activation_layer, conv, he_normal
from danlu.models.spec import NetworkSpec
from danlu.refuse import refusal

# Depth -> convolutions per stage (columns A, B, D, E of the paper).
CONVS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
WIDTH = (64, 128, 256, 512, 512)  # channels of the five stages
# Every convolution has a bias. Batch norm cancels it, but the published networks and their counts include it.


def vgg(
    depth: int,
    channels: int,
    size: int,
    classes: int,
    *,
    norm: str = "none",
    activation: str = "relu",
    dropout: float = 0.5,
    width: tuple[int, ...] = WIDTH,
) -> Backbone:
    """Build five stages of 3x3 convolutions with max pooling between them, then dense layers of 4096, 4096 and K units.

    The last map is average-pooled to 7x7 if the image is not 224 pixels. VGG-16: 138,357,544 parameters, 15.47 G
    multiply-adds at 224 pixels, K = 1000.

    Args:
        depth: 11, 13, 16 or 19.
        width: Channels of the five stages.

    Raises:
        Refusal: `width` without exactly five numbers.
    """
    block = partial(conv, kernel=3, norm=norm, activation=activation, bias=True)
    head = nn.Sequential(
        nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(7),
        nn.Flatten(),
        nn.Linear(width[-1] * 7 * 7, 4096),
        activation_layer(activation),
        nn.Dropout(dropout),
        nn.Linear(4096, 4096),
        activation_layer(activation),
        nn.Dropout(dropout),
        nn.Linear(4096, classes),
    )
    return _vgg(depth, channels, width, block, head)


def vgg_cifar(
    depth: int,
    channels: int,
    size: int,
    classes: int,
    *,
    norm: str = "batch",
    activation: str = "relu",
    dropout: float = 0.0,
    width: tuple[int, ...] = WIDTH,
) -> Backbone:
    """Build the same stages with batch norm, then global average pooling and one dense layer.

    VGG-16: 14,728,266 parameters, 313 M multiply-adds at 3x32x32, K = 10.
    """
    block = partial(conv, kernel=3, norm=norm, activation=activation, bias=True)
    head = nn.Sequential(
        nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(width[-1], classes),
    )
    return _vgg(depth, channels, width, block, head)


def _vgg(
    depth: int, channels: int, width: tuple[int, ...], block: Callable[..., nn.Module], head: nn.Module
) -> Backbone:
    """Build the stages. block: (inputs, outputs) -> convolution with its normalisation and activation."""
    if len(width) != len(CONVS[depth]):
        raise refusal(
            "model.width",
            message("models.wanted.five_channel_counts_vgg", "five channel counts for a VGG, one per stage"),
            width,
        )
    stages: dict[str, nn.Module] = {}
    inputs = channels
    for i, (convs, outputs) in enumerate(zip(CONVS[depth], width)):
        layers: list[nn.Module] = [nn.MaxPool2d(2)] if i > 0 else []
        for _ in range(convs):
            layers.append(block(inputs, outputs))
            inputs = outputs
        stages[f"stage{i + 1}"] = nn.Sequential(*layers)
    network = Backbone(stages, head, channels=width, strides=(1, 2, 4, 8, 16))
    he_normal(network)
    return network


_vggs = partial(NetworkSpec, family="vgg", paper="Simonyan & Zisserman 2014", min_size=32)
NETWORKS = {
    **{f"vgg{depth}": _vggs(partial(vgg, depth), f"VGG-{depth}; 224 pixels") for depth in CONVS},
    **{
        f"vgg{depth}-bn": _vggs(partial(vgg, depth, norm="batch"), f"VGG-{depth} with batch norm; 224 pixels")
        for depth in CONVS
    },
    **{
        f"vgg{depth}-cifar": _vggs(
            partial(vgg_cifar, depth),
            f"VGG-{depth} for 32-pixel images, one dense layer",
            default_input=(3, 32, 32),
        )
        for depth in CONVS
    },
}
