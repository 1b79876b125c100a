"""What every network for images offers: the outputs of its stages, and the head that reads the last of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn


class Backbone(nn.Module):
    """Stages one after the other, then a head.

    stages: name -> module, in order; the names are what `--freeze stem,stage1` means. A stage begins with the pooling
        or the stride that makes its input smaller, so that its output is the last map of its resolution.
    head: last feature map (N, C, H, W) -> (N, K). All that comes after the last stage.
    channels, strides: of each stage's output; stride 8 means one cell for 8 x 8 pixels.
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
        """Names of modules and parameters by depth, the head last: what layer-wise learning rates count."""
        return [*((name,) for name in self.stage_names), ("head",)]

    def features(self, x: Tensor) -> list[Tensor]:
        """Images (N, C, H, W) -> one map (N, feature_channels[i], H_i, W_i) per stage, fine to coarse."""
        maps = []
        for name in self.stage_names:
            x = getattr(self, name)(x)
            maps.append(x)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) -> outputs (N, K)."""
        return self.head(self.features(x)[-1])
