"""Inception v3 (Szegedy et al. 2015, from torchvision) and v4 (2016, from timm), split into stages."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Any

from torch import Tensor, nn

from danlu.message import message
from danlu.models.backbone import Backbone
from danlu.models.library import replace_norms, timm_model, torchvision_inception_v3
from danlu.models.spec import NetworkSpec
from danlu.refuse import refusal

# Stage -> torchvision's names of its modules. A stage ends with the last map of its resolution.
PARTS_V3 = {
    "stage1": ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3"),
    "stage2": ("maxpool1", "Conv2d_3b_1x1", "Conv2d_4a_3x3"),
    "stage3": ("maxpool2", "Mixed_5b", "Mixed_5c", "Mixed_5d"),
    "stage4": ("Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    "stage5": ("Mixed_7a", "Mixed_7b", "Mixed_7c"),
}
# Stage -> end of its slice of the 22 modules that timm numbers in v4.
ENDS_V4 = {"stage1": 3, "stage2": 5, "stage3": 10, "stage4": 18, "stage5": 22}
STRIDES = (2, 4, 8, 16, 32)


class InceptionV3(Backbone):
    """torchvision's Inception v3: 23,834,568 parameters, 5.713 G multiply-adds at 3x299x299, K = 1000.

    Args:
        pretrained: Load the published weights (a download).
        aux: Add an auxiliary classifier on the 768 maps of stride 16 (27,161,264 parameters). In training the network
            then returns two outputs (N, K); in evaluation it returns the first only.
        norm: Normalisation that replaces its batch norms.

    Raises:
        Refusal: `aux` with published weights, or with images below 299 pixels.
    """

    def __init__(
        self,
        channels: int,
        size: int,
        classes: int,
        *,
        pretrained: bool = False,
        aux: bool = False,
        norm: str | None = None,
        dropout: float = 0.5,
    ) -> None:
        if aux and pretrained:
            raise refusal(
                "model.aux", message("models.wanted.omitted_published_weights", "omitted with published weights"), aux
            )
        if aux and size < 299:  # its 5x5 convolution would get a map below 5x5
            raise refusal(
                "data.size",
                message("models.wanted.least_299_inception_v3", "at least 299 for inception-v3 with model.aux"),
                size,
            )
        full: Any = torchvision_inception_v3(channels, size, classes, pretrained=pretrained, aux=aux)
        replace_norms(full, norm, "inception-v3", pretrained)
        stages = {
            stage: nn.Sequential(OrderedDict((part, getattr(full, part)) for part in parts))
            for stage, parts in PARTS_V3.items()
        }
        head: dict[str, nn.Module] = {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
        head |= {"dropout": nn.Dropout(dropout), "fc": full.fc}
        super().__init__(stages, nn.Sequential(OrderedDict(head)), channels=(64, 192, 288, 768, 2048), strides=STRIDES)
        self.aux = full.AuxLogits if aux else None

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Images (N, C, H, W) -> outputs (N, K), or two of them in training with `aux`."""
        maps = self.features(x)
        outputs = self.head(maps[-1])
        return (outputs, self.aux(maps[3])) if self.training and self.aux is not None else outputs


def inception_v4(
    channels: int,
    size: int,
    classes: int,
    *,
    pretrained: bool = False,
    dropout: float = 0.0,
    norm: str | None = None,
) -> Backbone:
    """Build timm's Inception v4: 42,679,816 parameters, 12.254 G multiply-adds at 3x299x299, K = 1000.

    Args:
        pretrained: Load the published weights (a download).
        norm: Normalisation that replaces its batch norms.
    """
    full: Any = timm_model("inception_v4", channels, size, classes, pretrained=pretrained, norm=norm)
    stages, begin = {}, 0
    for stage, end in ENDS_V4.items():
        stages[stage], begin = full.features[begin:end], end
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), full.last_linear)
    return Backbone(stages, head, channels=(64, 192, 384, 1024, 1536), strides=STRIDES)


_inceptions = partial(NetworkSpec, family="inception", min_size=75, default_input=(3, 299, 299))
NETWORKS = {
    "inception-v3": _inceptions(InceptionV3, "Inception v3 of torchvision; 299 pixels", paper="Szegedy et al. 2015"),
    "inception-v4": _inceptions(inception_v4, "Inception v4 of timm; 299 pixels", paper="Szegedy et al. 2016"),
}
