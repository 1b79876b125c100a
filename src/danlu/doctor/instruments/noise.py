"""Signal and noise of the gradient, after McCandlish et al. 2018, appendix A.

The gradient of a batch of B samples is G plus noise: E |gradient|^2 = |G|^2 + tr(Sigma) / B, with Sigma the covariance
of the gradient of a single sample. Two gradients from different batch sizes, or two independent ones of the same size,
separate signal and noise; the noise scale is tr(Sigma) / |G|^2. The estimate of one step is rough, so the means over
many steps are divided.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

Dot = Callable[[Tensor, Tensor], Tensor]
MICRO = "micro-batches"  # place in the ledger of these estimates; "" for successive gradients


def of_successive(dot: Dot, a: Tensor, b: Tensor, batch_a: int, batch_b: int) -> tuple[Tensor, Tensor]:
    """Estimate (|G|^2, tr(Sigma)) from the gradients of two steps: |G|^2 = a.b, as their noises are independent.

    The weights move between the steps: the signal is G1.G2, and batch / 2 x |G1 - G2|^2 counts as noise. For large
    steps the noise scale is therefore an upper bound.
    """
    signal = dot(a, b)
    return signal, (batch_a * (dot(a, a) - signal) + batch_b * (dot(b, b) - signal)) / 2


def of_micro_batches(dot: Dot, parts: list[Tensor], whole: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """Estimate (|G|^2, tr(Sigma)) from the equal micro-batches of one step; unbiased, as the weights are the same.

    Args:
        parts: gradient of each micro-batch, scaled like `whole`.
        whole: their mean.
        batch: total number of samples.
    """
    size = batch / len(parts)
    small, big = torch.stack([dot(part, part) for part in parts]).mean(), dot(whole, whole)
    return (batch * big - size * small) / (batch - size), (small - big) / (1 / size - 1 / batch)


class MicroBatches:
    """Accumulation of the gradient over the passes of one step, if each pass has its own backward."""

    def __init__(self, memory: Any = None) -> None:
        self.memory = memory  # state of the optimizer that is expected to step: the last one that stepped
        self._sums: list[Tensor] = []  # before each backward pass
        self._sizes: list[int] = []
        self._waiting, self._alternating = 0, True

    def forward(self) -> None:
        """Called at each forward pass."""
        self._waiting += 1

    def backward(self, size: int) -> None:
        """Called before each backward pass of `size` samples: the present gradient is the sum of the earlier ones."""
        self._alternating = self._alternating and self._waiting == 1  # else several passes share one backward
        self._waiting = 0
        self._sizes.append(size)
        if self.memory is not None and self.memory.sampler is not None:
            self._sums.append(self.memory.sampler.take_gradients(self.memory.held))

    def gradients(self, whole: Tensor, unit: Tensor) -> tuple[list[Tensor], Tensor] | None:
        """Return the gradients of equal micro-batches and their mean, scaled like `whole`; None if there are none.

        Args:
            whole: gradient at the optimizer step.
            unit: factor from the earlier gradients to the scale of `whole` (1 / loss scale).
        """
        equal = len(self._sizes) > 1 and len(set(self._sizes)) == 1 and len(self._sums) == len(self._sizes)
        if not equal or not self._alternating or self._waiting or len(self._sums[0]) != len(whole):
            return None
        sums = [added_up * unit for added_up in self._sums] + [whole]
        return [len(self._sizes) * (after - before) for before, after in pairwise(sums)], sums[-1] - sums[0]
