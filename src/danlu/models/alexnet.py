"""AlexNet (Krizhevsky, Sutskever & Hinton 2012), its single-tower form of 2014, and the plain form of textbooks."""

from __future__ import annotations

from torch import nn

from danlu.models.backbone import Backbone
from danlu.models.parts import activation_layer, conv, he_normal, response_norm


def alexnet(
    channels: int,
    size: int,
    classes: int,
    *,
    norm: str = "local-response",
    activation: str = "relu",
    dropout: float = 0.5,
) -> Backbone:
    """The network of 2012: two groups, local response normalisation after the first two convolutions.

    60,965,224 parameters and 724 M multiply-adds at 3x227x227, K = 1000. The paper prints 224 pixels; its 55x55 maps
    need 227. norm: any other name puts that normalisation before every activation and drops the responses'.
    """
    first, second = _lrn(norm), _lrn(norm)
    norm = "none" if norm == "local-response" else norm
    side = _side(size, padding=0)
    return _alexnet(
        stage1=[conv(channels, 96, 11, stride=4, padding=0, norm=norm, activation=activation), *first],
        stage2=[conv(96, 256, 5, groups=2, norm=norm, activation=activation), *second],
        stage3=[
            conv(256, 384, 3, norm=norm, activation=activation),
            conv(384, 384, 3, groups=2, norm=norm, activation=activation),
            conv(384, 256, 3, groups=2, norm=norm, activation=activation),
        ],
        head=[
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(256 * side * side, 4096),
            activation_layer(activation),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            activation_layer(activation),
            nn.Linear(4096, classes),
        ],
        widths=(96, 256, 256),
    )


def alexnet_2014(
    channels: int,
    size: int,
    classes: int,
    *,
    norm: str = "none",
    activation: str = "relu",
    dropout: float = 0.5,
) -> Backbone:
    """One tower, 64-192-384-256-256 channels, no response normalisation (Krizhevsky, "One weird trick", 2014).

    torchvision's `alexnet`, weight for weight: 61,100,840 parameters, 714 M multiply-adds at 3x224x224, K = 1000. The
    last map is averaged to 6x6 where the image is not 224 pixels.
    """
    return _alexnet(
        stage1=[conv(channels, 64, 11, stride=4, padding=2, norm=norm, activation=activation)],
        stage2=[conv(64, 192, 5, norm=norm, activation=activation)],
        stage3=[
            conv(192, 384, 3, norm=norm, activation=activation),
            conv(384, 256, 3, norm=norm, activation=activation),
            conv(256, 256, 3, norm=norm, activation=activation),
        ],
        head=[
            nn.AdaptiveAvgPool2d(6),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, 4096),
            activation_layer(activation),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            activation_layer(activation),
            nn.Linear(4096, classes),
        ],
        widths=(64, 192, 256),
    )


def alexnet_plain(
    channels: int,
    size: int,
    classes: int,
    *,
    norm: str = "none",
    activation: str = "relu",
    dropout: float = 0.5,
) -> Backbone:
    """The widths of 2012 without groups and response normalisation, the first convolution padded by 1.

    46,764,746 parameters and 938 M multiply-adds at 1x224x224, K = 10.
    """
    side = _side(size, padding=1)
    return _alexnet(
        stage1=[conv(channels, 96, 11, stride=4, padding=1, norm=norm, activation=activation)],
        stage2=[conv(96, 256, 5, norm=norm, activation=activation)],
        stage3=[
            conv(256, 384, 3, norm=norm, activation=activation),
            conv(384, 384, 3, norm=norm, activation=activation),
            conv(384, 256, 3, norm=norm, activation=activation),
        ],
        head=[
            nn.Flatten(),
            nn.Linear(256 * side * side, 4096),
            activation_layer(activation),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            activation_layer(activation),
            nn.Dropout(dropout),
            nn.Linear(4096, classes),
        ],
        widths=(96, 256, 256),
    )


def _alexnet(
    stage1: list[nn.Module],
    stage2: list[nn.Module],
    stage3: list[nn.Module],
    head: list[nn.Module],
    widths: tuple[int, int, int],
) -> Backbone:
    """What the forms share: overlapping pooling, 3x3 by steps of 2, between the stages and before the head."""
    network = Backbone(
        stages={
            "stage1": nn.Sequential(*stage1),
            "stage2": nn.Sequential(nn.MaxPool2d(3, 2), *stage2),
            "stage3": nn.Sequential(nn.MaxPool2d(3, 2), *stage3),
        },
        head=nn.Sequential(nn.MaxPool2d(3, 2), *head),
        channels=widths,
        strides=(4, 8, 16),
    )
    he_normal(network)
    return network


def _side(size: int, padding: int) -> int:
    """Side of the last map: one convolution 11/4, three poolings 3/2."""
    side = (size + 2 * padding - 11) // 4 + 1
    for _ in range(3):
        side = (side - 3) // 2 + 1
    return side


def _lrn(norm: str) -> list[nn.Module]:
    return [response_norm()] if norm == "local-response" else []
