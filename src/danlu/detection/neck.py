"""Which maps of a backbone a detector of regions reads: all of them through a feature pyramid, or one as it is."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from danlu.detection.pyramid import FeaturePyramid
from danlu.models.backbone import Backbone
from danlu.refuse import one_of

NECKS = ("fpn", "none")
FINEST = 4  # stride of a pyramid's first level
COARSEST, LEAST_CELLS = 16, 16  # without one: the coarsest map of at most this stride with so many cells to a side


class Neck(nn.Module):
    """Maps of all stages of a backbone -> the maps that are read, fine to coarse: `channels`, and `strides` of each.

    kind: "fpn", a pyramid of `width` channels with `extra` further levels, or "none", one map, for which the stages of
    the backbone after it are taken off. size: side of the images. norm: of the pyramid.
    """

    def __init__(self, backbone: Backbone, kind: str, *, width: int, size: int, norm: str, extra: int = 0) -> None:
        super().__init__()
        one_of("neck", kind, NECKS, "fpn or none")
        strides = backbone.feature_strides
        self.pyramid: FeaturePyramid | None = None
        if kind == "fpn":
            self.stages = stages_from(strides, FINEST)
            self.channels = width
            self.strides = [strides[i] for i in self.stages]
            self.strides += [self.strides[-1] * 2 ** (k + 1) for k in range(extra)]
            channels = [backbone.feature_channels[i] for i in self.stages]
            self.pyramid = FeaturePyramid(channels, width, extra=extra, norm=norm)
        else:
            largest = max(FINEST, min(COARSEST, size / LEAST_CELLS))
            self.stages = [i for i, stride in enumerate(strides) if stride <= largest][-1:] or [0]
            cut(backbone, self.stages[0])
            self.channels, self.strides = backbone.feature_channels[-1], [backbone.feature_strides[-1]]

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        read = [maps[i] for i in self.stages]
        return self.pyramid(read) if self.pyramid is not None else read


def stages_from(strides: Sequence[int], finest: int) -> list[int]:
    """The stages that a pyramid stands on: of every stride from `finest` on, the last."""
    return [i for i, s in enumerate(strides) if s >= finest and s not in strides[i + 1 :]]


def cut(backbone: Backbone, stage: int) -> None:
    """Takes off the stages after this one; those of timm's networks stay, without use."""
    for name in backbone.stage_names[stage + 1 :]:
        if hasattr(backbone, name):
            delattr(backbone, name)
    for name in ("stage_names", "feature_channels", "feature_strides"):
        setattr(backbone, name, getattr(backbone, name)[: stage + 1])
