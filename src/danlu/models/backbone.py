"""`Backbone`, the base class of all image networks: named stages whose feature maps can be read, then a head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn


class Backbone(nn.Module):
    """Stages in sequence, then a head.

    Args:
        stages: Name -> module, in order. `--freeze stem,stage1` refers to these names. A stage begins with the pooling
            or strided convolution that shrinks its input, so that its output is the last map of its resolution.
        head: Everything after the last stage: last feature map (N, C, H, W) -> outputs (N, K).
        channels: Channels of each stage's output.
        strides: Stride of each stage's output relative to the image; stride 8 is one cell per 8 x 8 pixels.
    """

    def __init__(
        self, stages: Mapping[str, nn.Module], head: nn.Module, channels: Sequence[int], strides: Sequence[int]
    ) -> None:
        super().__init__()
        for name, stage in stages.items():
            self.add_module(name, stage)
        self.head = head
        self.stage_names = tuple(stages)
        self.feature_channels = tuple(channels)
        self.feature_strides = tuple(strides)

    def levels(self) -> list[tuple[str, ...]]:
        """Return names of modules and parameters grouped by depth, the head last, for layer-wise learning rates."""
        return [*((name,) for name in self.stage_names), ("head",)]

    def features(self, x: Tensor) -> list[Tensor]:
        """Return one map (N, feature_channels[i], H_i, W_i) per stage, fine to coarse, of images (N, C, H, W)."""
        maps = []
        for name in self.stage_names:
            x = getattr(self, name)(x)
            maps.append(x)
        return maps

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Images (N, C, H, W) -> outputs (N, K); a tuple of these in training with auxiliary classifiers."""
        return self.head(self.features(x)[-1])
