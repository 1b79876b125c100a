"""Stochastic depth (Huang et al. 2016): while training, a residual branch is left out for single samples."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class StochasticDepth(nn.Dropout):
    """Drops whole samples of a branch with chance p and divides the others by 1 - p; the same as nothing in use.

    It is a kind of nn.Dropout, so that early and late schedules reach it too.
    """

    def forward(self, input: Tensor) -> Tensor:
        """A branch (N, ...), to be added to its shortcut."""
        if not self.training or self.p == 0:
            return input
        kept = torch.rand(len(input), *(1,) * (input.ndim - 1), device=input.device) >= self.p
        return input * kept.to(input.dtype) / (1 - self.p)


def rates(highest: float, blocks: int) -> list[float]:
    """The paper's linear rule: from nearly 0 at the first block to `highest` at the last.

    >>> rates(0.2, 4)
    [0.05, 0.1, 0.15000000000000002, 0.2]
    """
    return [highest * (i + 1) / blocks for i in range(blocks)]
