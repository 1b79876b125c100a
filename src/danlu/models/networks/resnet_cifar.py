"""Residual networks for 32-pixel images: ResNet-20, 32, 44, 56 and 110 (He et al. 2015, section 4.2)."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from danlu.models.backbone import Backbone
from danlu.models.parts import activation_layer, conv, he_normal
from danlu.models.spec import NetworkSpec


class Block(nn.Module):
    """Residual block activation(x + g(x)), g two 3x3 convolutions.

    At stride 2 the shortcut takes every second pixel and pads the new channels with zeros (option A, no parameters).
    """

    def __init__(self, inputs: int, outputs: int, stride: int, norm: str, activation: str) -> None:
        super().__init__()
        self.conv1 = conv(inputs, outputs, 3, stride=stride, norm=norm, activation=activation)
        self.conv2 = conv(outputs, outputs, 3, norm=norm, activation="none")
        self.activation = activation_layer(activation)
        self.stride, self.added = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C', H', W') of a map (N, C, H, W)."""
        shortcut = x
        if self.stride > 1:
            shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))
        return self.activation(self.conv2(self.conv1(x)) + shortcut)


def resnet_cifar(
    depth: int, channels: int, size: int, classes: int, *, norm: str = "batch", activation: str = "relu"
) -> Backbone:
    """Build a 3x3 convolution, three stages of (depth - 2) / 6 blocks, global average pooling and a dense layer.

    The stages have 16, 32 and 64 channels; the second and third halve the size. Depth 20: 269,722 parameters, 40.6 M
    multiply-adds at 3x32x32, K = 10.

    Args:
        depth: 6 n + 2 for n blocks per stage.
    """
    blocks = (depth - 2) // 6

    def stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
        first = Block(inputs, outputs, stride, norm, activation)
        return nn.Sequential(first, *(Block(outputs, outputs, 1, norm, activation) for _ in range(blocks - 1)))

    network = Backbone(
        stages={
            "stage1": nn.Sequential(conv(channels, 16, 3, norm=norm, activation=activation), stage(16, 16, 1)),
            "stage2": stage(16, 32, 2),
            "stage3": stage(32, 64, 2),
        },
        head=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes)),
        channels=(16, 32, 64),
        strides=(1, 2, 4),
    )
    he_normal(network)
    return network


NETWORKS = {
    f"resnet{depth}": NetworkSpec(
        partial(resnet_cifar, depth),
        f"ResNet-{depth} for small images (CIFAR form)",
        paper="He et al. 2015",
        family="resnet",
        residual=True,
        default_input=(3, 32, 32),
    )
    for depth in (20, 32, 44, 56, 110)
}
