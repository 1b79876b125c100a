"""LeNet in its modern form: ReLU, max pooling, dense output. The network of 1998 is in lenet5.py."""

from __future__ import annotations

from functools import partial

from torch import nn

from danlu.message import message
from danlu.models.backbone import Backbone
from danlu.models.parts import activation_layer, conv, norm_layer, shifts
from danlu.models.spec import NetworkSpec
from danlu.refuse import one_of

POOLS = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}


def lenet(
    channels: int,
    size: int,
    classes: int,
    *,
    activation: str = "relu",
    norm: str = "none",
    dropout: float = 0.0,
    pool: str = "max",
) -> Backbone:
    """Build 5x5 convolutions to 6 and 16 maps, each followed by pooling, then dense layers of 120, 84 and K units.

    61,706 parameters at 1x28x28, K = 10. Below 12 pixels the second convolution is padded to keep the map size, which
    would otherwise shrink to nothing.

    Args:
        pool: "max" or "average".
    """
    bias = not shifts(norm)
    paddings = (2, 0 if size >= 12 else 2)
    return _lenet(channels, size, classes, activation, norm, dropout, pool, paddings, bias)


def lenet_bn(
    channels: int,
    size: int,
    classes: int,
    *,
    activation: str = "sigmoid",
    norm: str = "batch",
    dropout: float = 0.0,
    pool: str = "average",
) -> Backbone:
    """Build the textbook form with batch norm: no padding, and biases although the norm cancels them.

    44,878 parameters at 1x28x28, K = 10.
    """
    return _lenet(channels, size, classes, activation, norm, dropout, pool, paddings=(0, 0), bias=True)


def _lenet(
    channels: int,
    size: int,
    classes: int,
    activation: str,
    norm: str,
    dropout: float,
    pool: str,
    paddings: tuple[int, int],
    bias: bool,
) -> Backbone:
    """Build either form. paddings: of the two convolutions, in pixels."""
    pooling = POOLS[one_of("model.pool", pool, POOLS, message("models.wanted.known_pooling", "a known pooling"))]
    first, second = paddings
    side = ((size + 2 * first - 4) // 2 + 2 * second - 4) // 2
    block = partial(conv, norm=norm, activation=activation, bias=bias)
    return Backbone(
        stages={
            "stage1": block(channels, 6, 5, padding=first),
            "stage2": nn.Sequential(pooling(2), block(6, 16, 5, padding=second)),
        },
        head=nn.Sequential(
            pooling(2),
            nn.Flatten(),
            *_dense(16 * side * side, 120, activation, norm, dropout, bias),
            *_dense(120, 84, activation, norm, dropout, bias),
            nn.Linear(84, classes),
        ),
        channels=(6, 16),
        strides=(1, 2),
    )


def _dense(inputs: int, outputs: int, activation: str, norm: str, dropout: float, bias: bool) -> list[nn.Module]:
    flat = "layer" if norm == "instance" else norm  # a single number per channel has no variance
    layers = [nn.Linear(inputs, outputs, bias), norm_layer(flat, outputs, flat=True)]
    layers += [activation_layer(activation), nn.Dropout(dropout)]
    return [layer for layer in layers if not isinstance(layer, nn.Identity)]


_lenets = partial(NetworkSpec, family="lenet", default_input=(1, 28, 28))
NETWORKS = {
    "lenet": _lenets(lenet, "LeNet with ReLU and max pooling", paper="LeCun et al. 1998", min_size=4),
    "lenet-bn": _lenets(
        lenet_bn,
        "LeNet with batch norm, sigmoid and no padding, as in textbooks",
        paper="LeCun et al. 1998; Ioffe & Szegedy 2015",
        min_size=16,
    ),
}
