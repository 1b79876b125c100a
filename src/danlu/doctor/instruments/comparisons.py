"""Accuracy that the loop itself can compute in validation: the labels that it compares with predictions.

Where validation computes no loss, nothing else shows the number of right predictions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from danlu.doctor.comparisons import listen, stop_listening
from danlu.doctor.instruments.base import Instrument
from danlu.doctor.watched_model import Pass, WatchedModel


class Comparisons(Instrument):
    """Write accuracy.compared, accuracy.broadcast and epoch.compared."""

    name = "comparisons"

    def start(self, watched: WatchedModel) -> None:
        self._watched: WatchedModel | None = watched
        self._waits = 0  # samples of the validation pass whose predictions are still to be compared
        self._right: Tensor | None = None
        self._count = 0
        listen(self._compared)

    def before_forward(self, watched: WatchedModel, call: Pass) -> None:
        self._waits = 0

    def after_forward(self, watched: WatchedModel, call: Pass, outputs: Any) -> None:
        self._waits = 0 if call.grad else call.size

    def end_epoch(self, watched: WatchedModel) -> None:
        if self._count and self._right is not None:
            watched.write("accuracy.compared", float(self._right) / self._count, "val", watched.epoch)
            watched.write("epoch.compared", self._count, "val", watched.epoch)
        self._right, self._count, self._waits = None, 0, 0

    def finish(self, watched: WatchedModel) -> None:
        stop_listening(self._compared)
        self._watched = None

    def _compared(self, equal: Tensor, one: Tensor, other: Tensor) -> None:
        watched = self._watched
        if not self._waits or watched is None or watched.paused or one.numel() != self._waits:
            return
        if any(side.is_floating_point() and not torch.equal(side, side.round()) for side in (one, other)):
            return
        self._waits = 0
        if equal.numel() != one.numel():
            if _is_column_beside_row(one, other) and not watched.ledger.has("accuracy.broadcast"):
                watched.write("accuracy.broadcast", [list(one.shape), list(other.shape), list(equal.shape)])
            return
        self._count += equal.numel()
        with torch.no_grad():
            right = equal.detach().sum()
            self._right = right if self._right is None else self._right + right


def _is_column_beside_row(one: Tensor, other: Tensor) -> bool:
    """Return whether shapes are (N, 1) and (N,), of two tensors: labels are compared with each other on purpose."""
    return sorted([one.dim(), other.dim()]) == [1, 2] and one.data_ptr() != other.data_ptr()
