"""FCN-32s, 16s and 8s: a VGG-16 whose dense layers are convolutions (Long, Shelhamer and Darrell 2015)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.models.backbone import Backbone
from danlu.segmentation.segmenter import Segmenter

UNITS = 4096  # channels of fc6 and fc7


class FCN(Segmenter):
    """Scores of the last map at stride 32, upsampled and added to those of pool4 (16s) and pool3 (8s).

    The scores of pool4 and pool3 start at zero, so that FCN-16s starts as FCN-32s, and 8s as 16s. The upsampling is
    bilinear and fixed. fc6 has a padding of 3 pixels, where the original pads the image by 100 and crops the result.
    With VGG-16 and 21 classes: 134,346,581 parameters (32s), 134,362,751 (8s).

    stride: 32, 16 or 8, of the finest map that is scored. dropout: after fc6 and fc7.
    """

    def __init__(self, backbone: Backbone, classes: int, size: int, stride: int, *, dropout: float = 0.5) -> None:
        super().__init__()
        self.backbone = backbone
        pool3, pool4, pool5 = backbone.feature_channels[-3:]
        self.fc6 = nn.Conv2d(pool5, UNITS, 7, padding=3)
        self.fc7 = nn.Conv2d(UNITS, UNITS, 1)
        self.score = nn.Conv2d(UNITS, classes, 1)
        self.dropout = nn.Dropout2d(dropout)
        self.score_pool4 = _zero_score(pool4, classes) if stride <= 16 else None
        self.score_pool3 = _zero_score(pool3, classes) if stride <= 8 else None
        for layer in (self.fc6, self.fc7):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias) if layer.bias is not None else None

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, K, S, S) of images (N, C, S, S)."""
        pool3, pool4, pool5 = (F.max_pool2d(x, 2) for x in self.backbone.features(images)[-3:])
        x = self.dropout(self.fc6(pool5).relu())
        x = self.score(self.dropout(self.fc7(x).relu()))
        factor = 32
        for score, pool in ((self.score_pool4, pool4), (self.score_pool3, pool3)):
            if score is not None:
                x, factor = upsample(x, 2) + score(pool), factor // 2
        return upsample(x, factor)


def bilinear_kernel(factor: int) -> Tensor:
    """Weights of a transposed convolution that upsamples by an even `factor`: float32 (2 factor, 2 factor)."""
    place = (torch.arange(2 * factor, dtype=torch.float32) + 0.5) / factor - 1
    line = 1 - place.abs()
    return line[:, None] * line


def upsample(x: Tensor, factor: int) -> Tensor:
    """Upsample maps (N, K, H, W) by a transposed convolution with the bilinear kernel, one channel at a time."""
    channels = x.shape[1]
    kernel = bilinear_kernel(factor).to(x).expand(channels, 1, -1, -1)
    return F.conv_transpose2d(x, kernel, stride=factor, padding=factor // 2, groups=channels)


def _zero_score(channels: int, classes: int) -> nn.Conv2d:
    layer = nn.Conv2d(channels, classes, 1)
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
