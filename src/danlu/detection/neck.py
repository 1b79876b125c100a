"""Select the backbone maps used by a region detector: all of them with a feature pyramid, or one map."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from danlu.detection.pyramid import FeaturePyramid
from danlu.message import message
from danlu.models.backbone import Backbone
from danlu.refuse import one_of

NECKS = ("fpn", "none")
MIN_STRIDE = 4  # of a pyramid's first level
MAX_STRIDE, MIN_CELLS = 16, 16  # without a pyramid: the coarsest map with at most this stride and these cells per side


class Neck(nn.Module):
    """Maps of all stages of a backbone -> the used maps, fine to coarse, with `channels` and `strides`.

    kind: "fpn", a pyramid of `width` channels with `extra` more levels, or "none", one map; the backbone's stages after
    it are removed. size: side of the images in pixels. norm: normalisation of the pyramid.
    """

    def __init__(self, backbone: Backbone, kind: str, *, width: int, size: int, norm: str, extra: int = 0) -> None:
        super().__init__()
        one_of("neck", kind, NECKS, message("detection.wanted.fpn_none", "fpn or none"))
        strides = backbone.feature_strides
        self.pyramid: FeaturePyramid | None = None
        self.extra = extra if kind == "fpn" else 0
        if kind == "fpn":
            self.stages = stages_from(strides, MIN_STRIDE)
            self.channels = width
            self.strides = [strides[i] for i in self.stages]
            self.strides += [self.strides[-1] * 2 ** (k + 1) for k in range(extra)]
            channels = [backbone.feature_channels[i] for i in self.stages]
            self.pyramid = FeaturePyramid(channels, width, extra=extra, norm=norm)
        else:
            largest = max(MIN_STRIDE, min(MAX_STRIDE, size / MIN_CELLS))
            self.stages = [i for i, stride in enumerate(strides) if stride <= largest][-1:] or [0]
            remove_later_stages(backbone, self.stages[0])
            self.channels, self.strides = backbone.feature_channels[-1], [backbone.feature_strides[-1]]

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the used maps (N, C, H, W), fine to coarse, of the maps of all stages."""
        used = [maps[i] for i in self.stages]
        return self.pyramid(used) if self.pyramid is not None else used


def stages_from(strides: Sequence[int], finest: int) -> list[int]:
    """Stages used by a pyramid: the last one of every stride from `finest` on."""
    return [i for i, s in enumerate(strides) if s >= finest and s not in strides[i + 1 :]]


def remove_later_stages(backbone: Backbone, stage: int) -> None:
    """Remove the stages after this one; those of timm's networks stay, unused."""
    for name in backbone.stage_names[stage + 1 :]:
        if hasattr(backbone, name):
            delattr(backbone, name)
    for name in ("stage_names", "feature_channels", "feature_strides"):
        setattr(backbone, name, getattr(backbone, name)[: stage + 1])
