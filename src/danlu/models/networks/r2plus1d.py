"""R(2+1)D, a residual network for clips whose 3-d convolutions are split into space and time (Tran et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from danlu.models.backbone import Backbone
from danlu.models.parts import activation_layer, he_normal, norm_layer, shifts
from danlu.models.spec import NetworkSpec


class InSpace(nn.Module):
    """Convolution of each frame, kernel (1, k, k): (N, C, T, H, W) -> (N, C', T, H', W').

    The frames are folded into the batch of a 2-d convolution, which is faster than a 3-d one on CPUs.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, bias: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C', T, H', W') of clips (N, C, T, H, W)."""
        count, _, frames = x.shape[:3]
        maps = self.conv(x.transpose(1, 2).flatten(0, 1))
        return maps.unflatten(0, (count, frames)).transpose(1, 2)


class InTime(nn.Module):
    """Convolution over three frames at each pixel, kernel (3, 1, 1): (N, C, T, H, W) -> (N, C', T', H, W).

    The pixels are folded into one axis, so that it is a 2-d convolution of kernel (3, 1).
    """

    def __init__(self, inputs: int, outputs: int, stride: int, bias: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, (3, 1), (stride, 1), (1, 0), bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C', T', H, W) of clips (N, C, T, H, W)."""
        return self.conv(x.flatten(3)).unflatten(3, x.shape[3:])


class Norm(nn.Module):
    """A normalisation of maps (N, C, H, W), applied to clips (N, C, T, H, W)."""

    def __init__(self, name: str, channels: int) -> None:
        super().__init__()
        self.norm = norm_layer(name, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return normalised clips of the same shape, (N, C, T, H, W)."""
        return self.norm(x.flatten(3)).unflatten(3, x.shape[3:])


class SpaceThenTime(nn.Sequential):
    """(1, k, k) convolution, norm, activation, (3, 1, 1) convolution: k x k x 3 with a nonlinearity in between."""

    def __init__(
        self, inputs: int, middle: int, outputs: int, kernel: int, stride: int, time: int, norm: str, activation: str
    ) -> None:
        super().__init__(
            InSpace(inputs, middle, kernel, stride, not shifts(norm)),
            Norm(norm, middle),
            activation_layer(activation),
            InTime(middle, outputs, time, not shifts(norm)),
        )


def middle_channels(inputs: int, outputs: int) -> int:
    """Channels between space and time at which the pair has the parameters of a 3 x 3 x 3 convolution (section 3.5)."""
    return inputs * outputs * 27 // (inputs * 9 + 3 * outputs)


class Block(nn.Module):
    """Residual block of two (2+1)-d convolutions; `stride` shrinks height, width and frames."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: str, activation: str) -> None:
        super().__init__()
        middle = middle_channels(inputs, outputs)
        make = partial(SpaceThenTime, kernel=3, norm=norm, activation=activation)
        self.conv1 = make(inputs, middle, outputs, stride=stride, time=stride)
        self.norm1 = Norm(norm, outputs)
        self.conv2 = make(outputs, middle, outputs, stride=1, time=1)
        self.norm2 = Norm(norm, outputs)
        self.stride = stride
        self.activation = activation_layer(activation)
        self.project = None
        if stride > 1 or inputs != outputs:
            self.project = nn.Sequential(InSpace(inputs, outputs, 1, stride, not shifts(norm)), Norm(norm, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C', T', H', W') of clips (N, C, T, H, W)."""
        y = self.activation(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        short = x if self.project is None else self.project(x[:, :, :: self.stride])
        return self.activation(y + short)


class ClipStem(nn.Module):
    """Clips (N, T, C, H, W) -> maps (N, C', T, H', W') by a (2+1)-d convolution, norm and activation."""

    def __init__(
        self, channels: int, middle: int, outputs: int, kernel: int, stride: int, norm: str, activation: str
    ) -> None:
        super().__init__()
        self.conv = SpaceThenTime(channels, middle, outputs, kernel, stride, 1, norm, activation)
        self.norm = Norm(norm, outputs)
        self.activation = activation_layer(activation)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C', T, H', W') of clips (N, T, C, H, W)."""
        return self.activation(self.norm(self.conv(x.transpose(1, 2))))


def r2plus1d(
    channels: int,
    size: int,
    classes: int,
    *,
    widths: Sequence[int],
    strides: Sequence[int],
    blocks: int,
    stem: tuple[int, int, int, int],
    activation: str,
    norm: str,
    dropout: float,
) -> Backbone:
    """Build a stem and stages of residual blocks.

    channels: of a frame. widths, strides: of the stages; a stride shrinks height, width and frames. stem: its middle
    and output channels, kernel and stride. The network takes clips (N, T, C, size, size) of any number of frames T, and
    returns (N, classes).
    """
    stages: dict[str, nn.Module] = {"stem": ClipStem(channels, *stem, norm, activation)}
    before, total = stem[1], [stem[3]]
    for number, (width, stride) in enumerate(zip(widths, strides), 1):
        first = Block(before, width, stride, norm, activation)
        rest = (Block(width, width, 1, norm, activation) for _ in range(blocks - 1))
        stages[f"stage{number}"] = nn.Sequential(first, *rest)
        before = width
        total.append(total[-1] * stride)
    head = nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(before, classes))
    network = Backbone(stages=stages, head=head, channels=(stem[1], *widths), strides=total)
    he_normal(network)
    return network


def r2plus1d_18(
    channels: int, size: int, classes: int, *, activation: str = "relu", norm: str = "batch", dropout: float = 0.0
) -> Backbone:
    """Build R(2+1)D-18; 31,505,325 parameters at 3 channels, K = 400."""
    sizes: dict[str, Any] = {
        "widths": (64, 128, 256, 512),
        "strides": (1, 2, 2, 2),
        "blocks": 2,
        "stem": (45, 64, 7, 2),
    }
    return r2plus1d(channels, size, classes, **sizes, activation=activation, norm=norm, dropout=dropout)


def r2plus1d_mini(
    channels: int, size: int, classes: int, *, activation: str = "relu", norm: str = "batch", dropout: float = 0.0
) -> Backbone:
    """Build two blocks of 32 and 64 channels, of stride 2, on a 3x3 stem of stride 2, for clips of 16 to 64 pixels."""
    sizes: dict[str, Any] = {"widths": (32, 64), "strides": (2, 2), "blocks": 1, "stem": (16, 16, 3, 2)}
    return r2plus1d(channels, size, classes, **sizes, activation=activation, norm=norm, dropout=dropout)


PAPER = "Tran et al. 2018"
NETWORKS = {
    "r2plus1d-mini": NetworkSpec(
        r2plus1d_mini,
        "R(2+1)D with two blocks, for small clips",
        paper=PAPER,
        family="r2plus1d",
        default_input=(8, 1, 32, 32),
        clips=True,
    ),
    "r2plus1d-18": NetworkSpec(
        r2plus1d_18,
        "R(2+1)D with 18 layers, for clips",
        paper=PAPER,
        family="r2plus1d",
        default_input=(16, 3, 112, 112),
        clips=True,
    ),
}
