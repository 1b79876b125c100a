"""Heads on any backbone: a feature pyramid, and DeepLab's convolutions of several dilations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.detection.neck import stages_from
from danlu.detection.pyramid import FeaturePyramid
from danlu.models.backbone import Backbone
from danlu.models.parts import conv
from danlu.segmentation.segmenter import Segmenter

FINEST_STRIDE = 2  # of the maps that a head uses; the logits of its finest map are upsampled to the image
DILATIONS = (6, 12, 18)  # DeepLabV3 at stride 16
SKIP_CHANNELS = 48  # DeepLabV3+: of the fine map that is joined to the coarse one
SKIP_STRIDE = 4
ASPP_STRIDE = 16


class PyramidSegmenter(Segmenter):
    """Semantic FPN: the levels of a feature pyramid, each through a 3x3 convolution, summed at the finest resolution.

    Kirillov et al., "Panoptic Feature Pyramid Networks", 2019, with one convolution per level and bilinear upsampling
    in one step. width: channels of the pyramid. norm: of the pyramid and head. dropout: before the classifier.
    """

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        size: int,
        *,
        width: int = 64,
        norm: str = "batch",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.stages = stages_from(backbone.feature_strides, FINEST_STRIDE)
        channels = [backbone.feature_channels[i] for i in self.stages]
        self.pyramid = FeaturePyramid(channels, width, norm=norm)
        self.level_heads = nn.ModuleList(conv(width, width, 3, norm=norm) for _ in self.stages)
        self.head = nn.Sequential(conv(width, width, 3, norm=norm), nn.Dropout2d(dropout), nn.Conv2d(width, classes, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, K, S, S) of images (N, C, S, S)."""
        maps = self.backbone.features(images)
        levels = self.pyramid([maps[i] for i in self.stages])
        heads = [head(level) for head, level in zip(self.level_heads, levels)]
        merged = heads[0]
        for coarse in heads[1:]:
            merged = merged + _resized(coarse, merged)
        return _resized(self.head(merged), images)


class DeepLab(Segmenter):
    """DeepLabV3+: a coarse map through convolutions of several dilations, joined with a fine map of the backbone.

    Chen et al. 2018. The coarse map has the largest stride up to 16; the backbone is not dilated. width: channels of
    the head (256 in the paper).
    """

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        size: int,
        *,
        width: int = 128,
        norm: str = "batch",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        strides = backbone.feature_strides
        self.coarse = _last_stage(strides, ASPP_STRIDE)
        self.fine = _last_stage(strides, SKIP_STRIDE)
        inputs = backbone.feature_channels[self.coarse]
        self.branches = nn.ModuleList(
            [conv(inputs, width, 1, norm=norm), *(conv(inputs, width, 3, dilation=d, norm=norm) for d in DILATIONS)]
        )
        self.whole = conv(inputs, width, 1, norm="none")  # of the mean of the map, which has one value per channel
        self.project = nn.Sequential(conv(width * (len(DILATIONS) + 2), width, 1, norm=norm), nn.Dropout2d(dropout))
        self.skip = conv(backbone.feature_channels[self.fine], SKIP_CHANNELS, 1, norm=norm)
        self.head = nn.Sequential(conv(width + SKIP_CHANNELS, width, 3, norm=norm), nn.Conv2d(width, classes, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, K, S, S) of images (N, C, S, S)."""
        maps = self.backbone.features(images)
        coarse, fine = maps[self.coarse], maps[self.fine]
        mean = self.whole(coarse.mean((2, 3), keepdim=True)).expand(-1, -1, *coarse.shape[2:])
        x = self.project(torch.cat([*(branch(coarse) for branch in self.branches), mean], 1))
        return _resized(self.head(torch.cat((_resized(x, fine), self.skip(fine)), 1)), images)


def _last_stage(strides: tuple[int, ...], largest: int) -> int:
    """Index of the last stage of at most this stride; the first stage if all are coarser."""
    return max((i for i, stride in enumerate(strides) if stride <= largest), default=0)


def _resized(x: Tensor, like: Tensor) -> Tensor:
    """Resize maps bilinearly to the height and width of `like`."""
    if x.shape[2:] == like.shape[2:]:
        return x
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)
