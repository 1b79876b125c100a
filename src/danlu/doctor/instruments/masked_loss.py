"""Targets that count in a loss of many terms that the loop weighs by a mask: those whose term gets a gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.observation.watched_model import Pass, WatchedModel

FIRST_CALLS = 8  # losses at the start that are all measured; after them at the powers of two
MAX_TARGETS = 1_000_000  # of a batch


class MaskedLoss(Instrument):
    """Write loss.counted_targets, of losses without reduction."""

    name = "masked_loss"
    kept = ("_calls",)

    def start(self, watched: WatchedModel) -> None:
        self._calls = 0

    def after_loss(self, watched: WatchedModel, call: Pass, loss: Tensor, outputs: Any, targets: Any) -> bool | None:
        if not call.grad or not loss.requires_grad or loss.dim() < 1 or not isinstance(targets, Tensor):
            return None
        if targets.shape != loss.shape or not 1 < targets.numel() <= MAX_TARGETS or targets.is_floating_point():
            return None
        self._calls += 1
        if self._calls > FIRST_CALLS and self._calls & (self._calls - 1):
            return None
        labels, step = targets.detach(), call.step

        def note(gradient: Tensor) -> None:
            def write(numbers: list[float]) -> None:
                watched.ledger.add("loss.counted_targets", numbers, "", step)

            watched.deferred.add(counted(gradient, labels), write)

        watched.tensor_hooks.add(loss, watched.timed_hook(self.name, note))
        return True


def counted(gradient: Tensor, targets: Tensor) -> Tensor:
    """Fraction of the targets with a gradient, lowest and highest of these, and of all."""
    counts, values = gradient != 0, targets.float()
    low, high = (values.masked_fill(~counts, fill) for fill in (torch.inf, -torch.inf))
    return torch.stack([counts.float().mean(), low.amin(), high.amax(), values.amin(), values.amax()])
