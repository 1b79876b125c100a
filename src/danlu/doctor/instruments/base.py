"""Base class of the instruments: optional callbacks for the events of a training."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from danlu.doctor.observation.watched_model import Pass, WatchedModel


class Instrument:
    """Measure one family of quantities and write them to the ledger.

    Callbacks run under torch.no_grad() and must not change tensors, buffers, modes or random generators.
    `before_backward` may run in a thread of autograd. A callback that took a measurement returns True, so that its
    time counts as the cost of a measurement.
    """

    name = ""
    kept: ClassVar[tuple[str, ...]] = ()  # attributes that the rest of a training depends on: plain values and tensors

    def start(self, watched: WatchedModel) -> None:
        """Called once when watching starts, before the first forward pass."""

    def before_forward(self, watched: WatchedModel, call: Pass) -> bool | None:
        """Called before each forward pass."""

    def forward_failed(self, watched: WatchedModel) -> None:
        """Called when a forward pass raised an exception."""

    def after_forward(self, watched: WatchedModel, call: Pass, outputs: Any) -> bool | None:
        """Called after each forward pass."""

    def after_loss(self, watched: WatchedModel, call: Pass, loss: Tensor, outputs: Any, targets: Any) -> bool | None:
        """Called once the loss of a pass is known. outputs, targets: arguments of the loss, None if unknown."""

    def backward_called(self, watched: WatchedModel, call: Pass, loss: Tensor) -> bool | None:
        """Called with the whole loss, of which a loss of torch may be one term, before its backward pass."""

    def before_backward(self, watched: WatchedModel, call: Pass, gradient: Tensor) -> bool | None:
        """Called when the backward pass has reached the outputs of the model, with the gradient of the outputs."""

    def before_step(self, watched: WatchedModel, optimizer: torch.optim.Optimizer) -> bool | None:
        """Called before each optimizer step."""

    def after_step(self, watched: WatchedModel, optimizer: torch.optim.Optimizer) -> bool | None:
        """Called after each optimizer step."""

    def settled(self, watched: WatchedModel, call: Pass) -> bool | None:
        """Called once it is known whether a pass was for training or validation (`call.kind`)."""

    def validated(self, watched: WatchedModel, outputs: Tensor, targets: Tensor) -> bool | None:
        """Called with the outputs and targets of a whole validation set."""

    def end_training(self, watched: WatchedModel) -> bool | None:
        """Called at the end of the training passes of an epoch, before the first validation pass that is observed."""

    def end_epoch(self, watched: WatchedModel) -> bool | None:
        """Called at the end of an epoch, after all deferred values have been read."""

    def state(self, watched: WatchedModel) -> dict[str, Any]:
        """State to be saved with a checkpoint of the training, in plain values and tensors."""
        return {name: getattr(self, name) for name in self.kept}

    def restore(self, watched: WatchedModel, state: dict[str, Any]) -> None:
        """Continue from a saved `state`; called after `start`."""
        for name in self.kept:
            if name in state:
                setattr(self, name, state[name])

    def finish(self, watched: WatchedModel) -> None:
        """Called when watching ends: remove all hooks of this instrument."""
