"""Closures of optimisers that evaluate them several times in a step, as LBFGS does: do they clear the gradients?"""

from __future__ import annotations

import torch
from torch import Tensor

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.observation.watched_model import Pass, WatchedModel


class Closures(Instrument):
    """Write optimizer.closure_leftover."""

    name = "closures"

    def start(self, watched: WatchedModel) -> None:
        self._inside = self._noted = False

    def before_step(self, watched: WatchedModel, optimizer: torch.optim.Optimizer) -> None:
        self._inside, self._noted = True, False  # the first evaluation is over

    def before_backward(self, watched: WatchedModel, call: Pass, gradient: Tensor) -> bool | None:
        if not self._inside or self._noted:
            return None
        self._noted = True
        trained = [p for p in watched.parameters.values() if p.requires_grad]
        left = [p.grad is not None and bool(p.grad.any()) for p in trained]
        watched.write("optimizer.closure_leftover", int(2 * sum(left) > len(left)))
        return True

    def after_step(self, watched: WatchedModel, optimizer: torch.optim.Optimizer) -> None:
        self._inside = False
