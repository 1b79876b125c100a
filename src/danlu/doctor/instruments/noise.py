"""Signal and noise of the gradient, after McCandlish et al. 2018, appendix A.

The gradient of a batch of B samples is G plus noise: E |gradient|^2 = |G|^2 + tr(Sigma) / B, Sigma the covariance of
the gradient of a single sample. Two gradients of different sizes, or two independent ones of the same, tell both apart;
the noise scale is tr(Sigma) / |G|^2. One step's estimate is rough: it is the means over many steps that are divided.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

Dot = Callable[[Tensor, Tensor], Tensor]
MICRO = "micro-batches"  # where in the ledger estimates from them stand; those from successive gradients stand at ""


def of_successive(dot: Dot, a: Tensor, b: Tensor, batch_a: int, batch_b: int) -> tuple[Tensor, Tensor]:
    """(|G|^2, tr(Sigma)) from the gradients of two steps: |G|^2 = a.b, since the noises of two batches are independent.

    Between two steps the weights move: the signal is G1.G2, and batch / 2 x |G1 - G2|^2 of the movement counts as
    noise. Where steps are long against the curvature the noise scale is too high by that: it is an upper bound.
    """
    signal = dot(a, b)
    return signal, (batch_a * (dot(a, a) - signal) + batch_b * (dot(b, b) - signal)) / 2


def of_micro_batches(dot: Dot, parts: list[Tensor], whole: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """(|G|^2, tr(Sigma)) from one step's equal micro-batches: unbiased, since the weights are the same for all.

    parts: the gradient of each, in the unit of `whole`, which is their mean; batch: the samples of all together.
    """
    size = batch / len(parts)
    small, big = torch.stack([dot(part, part) for part in parts]).mean(), dot(whole, whole)
    return (batch * big - size * small) / (batch - size), (small - big) / (1 / size - 1 / batch)


class MicroBatches:
    """The gradient as it adds up over the passes of one step, where each pass has its own backward."""

    def __init__(self, memory: Any = None) -> None:
        self.memory = memory  # of the optimiser that is expected to step: the one that stepped last
        self._sums: list[Tensor] = []  # before each backward pass
        self._sizes: list[int] = []
        self._waiting, self._in_turn = 0, True

    def forward(self) -> None:
        """A pass begins."""
        self._waiting += 1

    def backward(self, size: int) -> None:
        """The backward pass of `size` samples begins: what is there of the gradient comes from those before it."""
        self._in_turn = self._in_turn and self._waiting == 1  # else several passes have one backward in common
        self._waiting = 0
        self._sizes.append(size)
        if self.memory is not None and self.memory.sampler is not None:
            self._sums.append(self.memory.sampler.take_gradients(self.memory.held))

    def gradients(self, whole: Tensor, unit: Tensor) -> tuple[list[Tensor], Tensor] | None:
        """(that of each micro-batch, their mean), both in the unit of `whole`, the gradient that the step has come to;
        None where the step has no equal micro-batches. unit: what one of those before is there (1 / a loss's scale)."""
        equal = len(self._sizes) > 1 and len(set(self._sizes)) == 1 and len(self._sums) == len(self._sizes)
        if not equal or not self._in_turn or self._waiting or len(self._sums[0]) != len(whole):
            return None
        sums = [added_up * unit for added_up in self._sums] + [whole]
        return [len(self._sizes) * (after - before) for before, after in pairwise(sums)], sums[-1] - sums[0]
