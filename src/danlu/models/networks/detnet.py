"""DetNet-59 (Li et al. 2018): detection backbone whose last stages widen the receptive field at constant stride."""

from __future__ import annotations

from functools import partial

from torch import nn

from danlu.models.backbone import Backbone
from danlu.models.networks.resnet import Bottleneck, resnet
from danlu.models.parts import he_normal
from danlu.models.spec import NetworkSpec


def detnet59(
    channels: int,
    size: int,
    classes: int,
    *,
    norm: str = "batch",
    activation: str = "relu",
    dropout: float = 0.0,
    stride_in: str = "3x3",
) -> Backbone:
    """Build ResNet-50 up to stride 16, then two stages of three dilated bottlenecks of 1024 channels at stride 16.

    The first block of each added stage has a 1x1 convolution on its shortcut. 18,372,648 parameters, 5.000 G multiply-
    adds at 3x224x224, K = 1000; 4.846 G with stride_in 1x1 (paper: 4.8 G). The paper counts the stem as stage 1; its
    stages 5 and 6 are `stage4` and `stage5` here.
    """
    trunk = resnet(50, channels, size, classes, norm=norm, activation=activation, stride_in=stride_in)
    dilated = partial(Bottleneck, 1024, 256, dilation=2, norm=norm, activation=activation)
    network = Backbone(
        stages={name: trunk.get_submodule(name) for name in ("stem", "stage1", "stage2", "stage3")}
        | {name: nn.Sequential(dilated(project=True), dilated(), dilated()) for name in ("stage4", "stage5")},
        head=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(1024, classes)),
        channels=(64, 256, 512, 1024, 1024, 1024),
        strides=(2, 4, 8, 16, 16, 16),
    )
    he_normal(network)
    return network


NETWORKS = {
    "detnet59": NetworkSpec(
        detnet59,
        "DetNet-59: ResNet-50 whose last stages keep stride 16; 224 pixels",
        paper="Li et al. 2018",
        family="detnet",
    )
}
