"""Gradients left over from the update before, in a loop that updates the weights itself, without an optimiser."""

from __future__ import annotations

from torch import Tensor

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.observation.budget import is_scheduled
from danlu.doctor.observation.watched_model import Pass, WatchedModel

MAX_PARAMETERS, MAX_VALUES = 8, 4096  # parameters that are compared, and values of each


class HandmadeUpdates(Instrument):
    """Write optimizer.leftover_ratio, where no optimizer steps."""

    name = "handmade_updates"

    def start(self, watched: WatchedModel) -> None:
        self._passes = 0
        self._before: list[Tensor] = []  # values of the parameters at the last backward pass

    def before_backward(self, watched: WatchedModel, call: Pass, gradient: Tensor) -> bool | None:
        if len(watched.optimizers):
            return None
        self._passes += 1
        if not is_scheduled(self._passes) and not self._before:
            return None
        trained = [p for p in watched.parameters.values() if p.requires_grad][:MAX_PARAMETERS]
        now = [p.detach().flatten()[:MAX_VALUES].clone() for p in trained]
        before, self._before = self._before, now if is_scheduled(self._passes + 1) else []
        if len(before) == len(now) and any(bool((old != new).any()) for old, new in zip(before, now)):
            left = [p.grad is not None and bool(p.grad.any()) for p in trained]
            watched.write("optimizer.leftover_ratio", float(2 * sum(left) > len(left)), step=self._passes)
        return True
