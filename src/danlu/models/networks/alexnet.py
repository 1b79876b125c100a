"""AlexNet (Krizhevsky, Sutskever & Hinton 2012), its single-tower form of 2014, and the plain form of textbooks."""

from __future__ import annotations

from functools import partial

from torch import nn

from danlu.models.backbone import Backbone
from danlu.models.parts import activation_layer, conv, he_normal, response_norm
from danlu.models.spec import NetworkSpec


def alexnet(
    channels: int,
    size: int,
    classes: int,
    *,
    norm: str = "local-response",
    activation: str = "relu",
    dropout: float = 0.5,
) -> Backbone:
    """Build the network of 2012: two groups, local response normalisation after the first two convolutions.

    60,965,224 parameters and 724 M multiply-adds at 3x227x227, K = 1000. The paper prints 224 pixels, but its 55x55
    maps need 227.

    Args:
        norm: Any name but "local-response" puts that normalisation before every activation and removes the local
            response normalisation.
    """
    local_response = norm == "local-response"
    block = partial(conv, norm="none" if local_response else norm, activation=activation)

    def response() -> list[nn.Module]:
        return [response_norm()] if local_response else []

    side = _last_side(size, padding=0)
    return _alexnet(
        stage1=[block(channels, 96, 11, stride=4, padding=0), *response()],
        stage2=[block(96, 256, 5, groups=2), *response()],
        stage3=[block(256, 384, 3), block(384, 384, 3, groups=2), block(384, 256, 3, groups=2)],
        head=_dense(256 * side * side, classes, activation, dropout, dropout_before=(0, 1)),
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
    """Build the single tower of 64-192-384-256-256 channels without response normalisation (Krizhevsky 2014).

    Equal to torchvision's `alexnet`, weight for weight: 61,100,840 parameters, 714 M multiply-adds at 3x224x224,
    K = 1000. The last map is average-pooled to 6x6 if the image is not 224 pixels.
    """
    block = partial(conv, norm=norm, activation=activation)
    return _alexnet(
        stage1=[block(channels, 64, 11, stride=4, padding=2)],
        stage2=[block(64, 192, 5)],
        stage3=[block(192, 384, 3), block(384, 256, 3), block(256, 256, 3)],
        head=_dense(256 * 6 * 6, classes, activation, dropout, dropout_before=(0, 1)),
        widths=(64, 192, 256),
        pool=nn.AdaptiveAvgPool2d(6),
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
    """Build the network of 2012 without groups and response normalisation, the first convolution padded by 1 pixel.

    46,764,746 parameters and 938 M multiply-adds at 1x224x224, K = 10.
    """
    block = partial(conv, norm=norm, activation=activation)
    side = _last_side(size, padding=1)
    return _alexnet(
        stage1=[block(channels, 96, 11, stride=4, padding=1)],
        stage2=[block(96, 256, 5)],
        stage3=[block(256, 384, 3), block(384, 384, 3), block(384, 256, 3)],
        head=_dense(256 * side * side, classes, activation, dropout, dropout_before=(1, 2)),
        widths=(96, 256, 256),
    )


def _alexnet(
    stage1: list[nn.Module],
    stage2: list[nn.Module],
    stage3: list[nn.Module],
    head: list[nn.Module],
    widths: tuple[int, int, int],
    pool: nn.Module | None = None,
) -> Backbone:
    """Join the stages by overlapping 3x3 max pooling of stride 2. pool: second pooling before the dense layers."""
    network = Backbone(
        stages={
            "stage1": nn.Sequential(*stage1),
            "stage2": nn.Sequential(nn.MaxPool2d(3, 2), *stage2),
            "stage3": nn.Sequential(nn.MaxPool2d(3, 2), *stage3),
        },
        head=nn.Sequential(nn.MaxPool2d(3, 2), *([pool] if pool else []), nn.Flatten(), *head),
        channels=widths,
        strides=(4, 8, 16),
    )
    he_normal(network)
    return network


def _dense(
    inputs: int, classes: int, activation: str, dropout: float, dropout_before: tuple[int, int]
) -> list[nn.Module]:
    """Dense layers of 4096, 4096 and K units. dropout_before: indices of the layers that dropout precedes."""
    layers: list[nn.Module] = []
    for i, (width, outputs) in enumerate([(inputs, 4096), (4096, 4096), (4096, classes)]):
        if i > 0:
            layers.append(activation_layer(activation))
        if i in dropout_before:
            layers.append(nn.Dropout(dropout))
        layers.append(nn.Linear(width, outputs))
    return layers


def _last_side(size: int, padding: int) -> int:
    """Side of the last map: one 11x11 convolution of stride 4, then three 3x3 poolings of stride 2."""
    side = (size + 2 * padding - 11) // 4 + 1
    for _ in range(3):
        side = (side - 3) // 2 + 1
    return side


_alexnets = partial(NetworkSpec, family="alexnet", paper="Krizhevsky, Sutskever & Hinton 2012")
NETWORKS = {
    "alexnet": _alexnets(
        alexnet,
        "AlexNet of 2012: two groups, local response normalisation; 227 pixels",
        min_size=67,
        default_input=(3, 227, 227),
    ),
    "alexnet-2014": _alexnets(
        alexnet_2014, "AlexNet in one tower, as in torchvision; 224 pixels", paper="Krizhevsky 2014", min_size=63
    ),
    "alexnet-plain": _alexnets(
        alexnet_plain, "AlexNet without groups and response normalisation; 224 pixels", min_size=65
    ),
}
