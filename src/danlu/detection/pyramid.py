"""The feature pyramid network: maps of a backbone, each combined with the coarser ones (Lin et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from danlu.models.parts import conv

Extension = Literal["pool", "output", "input"]


class FeaturePyramid(nn.Module):
    """Maps of a backbone, fine to coarse -> the same number of levels and `extra` coarser ones, of `width` channels.

    channels: of the maps, each half the size of the one before. norm: of `models.parts`, after every convolution.
    extend: source of an extra level of half the size: "pool" takes every other cell of the last level (Faster R-CNN),
        "output" a 3x3 convolution with stride 2 on the last level, "input" the same on the backbone's last map
        (RetinaNet); further ones are applied to the level before, after a ReLU.
    """

    def __init__(
        self, channels: Sequence[int], width: int, *, extra: int = 0, extend: Extension = "pool", norm: str = "none"
    ) -> None:
        super().__init__()
        self.extra, self.extend = extra, extend
        self.lateral = nn.ModuleList(conv(c, width, 1, norm=norm, activation="none") for c in channels)
        self.smooth = nn.ModuleList(conv(width, width, 3, norm=norm, activation="none") for _ in channels)
        first = channels[-1] if extend == "input" else width
        inputs = [first, *[width] * extra][:extra] if extend != "pool" else []
        self.extension = nn.ModuleList(conv(c, width, 3, stride=2, norm=norm, activation="none") for c in inputs)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_uniform_(layer.weight, a=1)  # variance 1 / fan in: no activation follows
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the levels (N, width, H, W), fine to coarse, of the maps of a backbone."""
        levels = [lateral(x) for lateral, x in zip(self.lateral, maps, strict=True)]
        for i in reversed(range(len(levels) - 1)):
            levels[i] = levels[i] + F.interpolate(levels[i + 1], size=levels[i].shape[-2:], mode="nearest")
        levels = [smooth(x) for smooth, x in zip(self.smooth, levels)]
        return levels + self._further(maps[-1], levels[-1])

    def _further(self, coarsest: Tensor, last: Tensor) -> list[Tensor]:
        levels: list[Tensor] = []
        if self.extend == "pool":
            for _ in range(self.extra):
                last = F.max_pool2d(last, 1, 2)
                levels.append(last)
            return levels
        last = coarsest if self.extend == "input" else last
        for number, layer in enumerate(self.extension):
            last = layer(last.relu() if number else last)
            levels.append(last)
        return levels
