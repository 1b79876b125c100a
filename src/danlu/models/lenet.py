"""LeNet in its modern form: ReLU, max pooling and a dense output (the parts of 1998 are in lenet5.py)."""

from __future__ import annotations

from torch import nn

from danlu.models.backbone import Backbone
from danlu.models.parts import activation_layer, conv, norm_layer, shifts
from danlu.refuse import choose

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
    """5x5 convolution to 6 maps, pool, 5x5 to 16 maps, pool, dense 120, 84, K. 61,706 parameters at 1x28x28, K = 10.

    Pictures of less than 12 pixels would vanish in the second convolution: there it keeps the size.
    """
    pooling = POOLS[choose("model.pool", pool, POOLS, "a known pooling")]
    shrink = 4 if size >= 12 else 0
    side = (size // 2 - shrink) // 2
    return Backbone(
        stages={
            "stage1": conv(channels, 6, 5, norm=norm, activation=activation),
            "stage2": nn.Sequential(
                pooling(2), conv(6, 16, 5, padding=(4 - shrink) // 2, norm=norm, activation=activation)
            ),
        },
        head=nn.Sequential(
            pooling(2),
            nn.Flatten(),
            *_dense(16 * side * side, 120, activation, norm, dropout),
            *_dense(120, 84, activation, norm, dropout),
            nn.Linear(84, classes),
        ),
        channels=(6, 16),
        strides=(1, 2),
    )


def _dense(inputs: int, outputs: int, activation: str, norm: str, dropout: float) -> list[nn.Module]:
    flat = "layer" if norm == "instance" else norm  # one number per channel has no variance of its own
    layers = [nn.Linear(inputs, outputs, bias=not shifts(norm)), norm_layer(flat, outputs, flat=True)]
    layers += [activation_layer(activation), nn.Dropout(dropout)]
    return [layer for layer in layers if not isinstance(layer, nn.Identity)]
