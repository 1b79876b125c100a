"""What an instrument is: callbacks at the events of a training, all of them optional."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from danlu.doctor.watched_model import Pass, WatchedModel


class Instrument:
    """Measures one family of quantities and writes them to the ledger.

    Callbacks run under torch.no_grad() and never change tensors, buffers, modes or generators. `before_backward` may
    run in autograd's own thread. `may` asks the budget; a callback that measured says so by returning True.
    """

    name = ""

    def start(self, watched: WatchedModel) -> None:
        """The doctor has come; the model has not been called."""

    def before_forward(self, watched: WatchedModel, call: Pass) -> bool | None:
        """The model is about to be called."""

    def after_forward(self, watched: WatchedModel, call: Pass, outputs: Any) -> bool | None:
        """The model has returned."""

    def after_loss(self, watched: WatchedModel, call: Pass, loss: Tensor, outputs: Any, targets: Any) -> bool | None:
        """The loss of this pass is known. outputs and targets as the loss got them; None where it is unknown."""

    def before_backward(self, watched: WatchedModel, call: Pass, gradient: Tensor) -> bool | None:
        """The backward pass has reached the model's outputs, and no parameter yet. gradient: that of the outputs."""

    def before_step(self, watched: WatchedModel, optimizer: torch.optim.Optimizer) -> bool | None:
        """The optimiser is about to step."""

    def after_step(self, watched: WatchedModel, optimizer: torch.optim.Optimizer) -> bool | None:
        """The optimiser has stepped."""

    def settled(self, watched: WatchedModel, call: Pass) -> bool | None:
        """It is known whether this pass was for training or validation (call.kind)."""

    def validated(self, watched: WatchedModel, outputs: Tensor, targets: Tensor) -> bool | None:
        """The loop has told all answers of its validation at once."""

    def end_training(self, watched: WatchedModel) -> bool | None:
        """The training part of an epoch is over; the first validation pass is about to begin (where it is seen)."""

    def end_epoch(self, watched: WatchedModel) -> bool | None:
        """An epoch is over; all deferred values are in."""

    def finish(self, watched: WatchedModel) -> None:
        """The doctor leaves: take off every hook of one's own."""
