"""Stochastic depth (Huang et al. 2016): skip a residual branch for random samples during training."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class StochasticDepth(nn.Dropout):
    """Zero whole samples of a branch with probability p and divide the others by 1 - p; identity in evaluation.

    A subclass of nn.Dropout, so that early and late dropout schedules apply to it too.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Branch (N, ...) -> same shape, to be added to the shortcut."""
        if not self.training or self.p == 0:
            return input
        kept = torch.rand(len(input), *(1,) * (input.ndim - 1), device=input.device) >= self.p
        return input * kept.to(input.dtype) / (1 - self.p)


def rates(highest: float, blocks: int) -> list[float]:
    """Return the drop probability of each block: linear from nearly 0 to `highest` (section 3 of the paper).

    >>> rates(0.2, 4)
    [0.05, 0.1, 0.15000000000000002, 0.2]
    """
    return [highest * (i + 1) / blocks for i in range(blocks)]
