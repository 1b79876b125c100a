"""Accuracy that the loop itself can compute in validation: the labels that it compares with predictions.

Where validation computes no loss, nothing else shows the number of right predictions. The predictions also show how the
loop takes them from the outputs: at 0.5, where these are scores, along the axis of the samples, or not at all, as where
the values that torch.max returns are compared, not the indices.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.observation.comparisons import COMPARISONS
from danlu.doctor.observation.watched_model import Pass, WatchedModel
from danlu.doctor.probes.sample import first_tensor

MAX_WHOLE = 0.5  # of the scores
MAX_OUTPUTS = 1_000_000  # numbers of a pass whose predictions are looked at


class Comparisons(Instrument):
    """Write accuracy.compared, .broadcast, .at_half, .across and .of_scores, and epoch.compared."""

    name = "comparisons"

    def start(self, watched: WatchedModel) -> None:
        self._watched: WatchedModel | None = watched
        self._waits = 0  # samples of the validation pass whose predictions are still to be compared
        self._outputs: Tensor | None = None  # of that pass
        self._right: Tensor | None = None
        self._count = 0
        self._inside = False  # of the doctor's own comparisons, which are heard as well
        # predictions wrongly taken from the outputs
        self._taken = {"accuracy.at_half": 0, "accuracy.across": 0, "accuracy.of_scores": 0}
        COMPARISONS.add(self._compared)

    def before_forward(self, watched: WatchedModel, call: Pass) -> None:
        self._waits, self._outputs = 0, None

    def after_forward(self, watched: WatchedModel, call: Pass, outputs: Any) -> None:
        self._waits = 0 if call.grad else call.size
        found = None if call.grad else first_tensor(outputs)
        few = found is not None and found.is_floating_point() and 0 < found.numel() <= MAX_OUTPUTS
        self._outputs = found if few else None

    def end_epoch(self, watched: WatchedModel) -> None:
        if self._count and self._right is not None:
            watched.write("accuracy.compared", float(self._right) / self._count, "val", watched.epoch)
            watched.write("epoch.compared", self._count, "val", watched.epoch)
        for name, count in self._taken.items():
            if count:
                watched.write(name, count, "val", watched.epoch)
        self._right, self._count, self._waits, self._outputs = None, 0, 0, None
        self._taken = dict.fromkeys(self._taken, 0)

    def finish(self, watched: WatchedModel) -> None:
        COMPARISONS.remove(self._compared)
        self._watched = self._outputs = None

    def _compared(self, equal: Tensor, one: Tensor, other: Tensor) -> None:
        watched = self._watched
        if watched is None or watched.paused or self._inside:
            return
        outputs, self._outputs = self._outputs, None
        if outputs is not None and equal.device == outputs.device:
            self._inside = True
            with torch.no_grad():
                self._taken["accuracy.at_half"] += taken_at_half(outputs, one, other)
                self._taken["accuracy.across"] += taken_across(outputs, one, other)
                if self._waits and one.numel() == self._waits:
                    self._taken["accuracy.of_scores"] += compared_as_scores(one, other)
            self._inside = False
        if not self._waits or one.numel() != self._waits:
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


def taken_at_half(outputs: Tensor, *compared: Tensor) -> int:
    """Number of predictions of scores above 0.5 (or of rounded scores) that scores above 0 contradict; else 0."""
    scores = outputs.detach().reshape(-1)
    if any(one.numel() != scores.numel() for one in compared):
        return 0
    if bool(scores.amin() >= 0) and bool(scores.amax() <= 1):  # probabilities
        return 0
    given = [one.detach().reshape(-1) for one in compared]
    if any(bool(((scores > 0) == one).all()) for one in given):
        return 0  # the predictions of a good model; those at 0.5 may equal the labels
    for wrong in (scores > 0.5, scores.round()):
        if any(bool((wrong == one).all()) for one in given):
            return int((wrong != (scores > 0)).sum())
    return 0


def taken_across(outputs: Tensor, *compared: Tensor) -> int:
    """Number of predictions that are the samples with the highest score of each class, not the classes; else 0."""
    scores = outputs.detach()
    if scores.dim() != 2 or scores.shape[0] != scores.shape[1] or len(scores) < 2:
        return 0  # otherwise there are not as many predictions as labels
    across, along = scores.argmax(0), scores.argmax(1)
    given = [one.detach().reshape(-1) for one in compared if one.numel() == len(scores)]
    if any(bool((along == one).all()) for one in given) or not any(bool((across == one).all()) for one in given):
        return 0
    return len(scores)


def compared_as_scores(one: Tensor, other: Tensor) -> int:
    """Number of values, if one side holds scores, most of them no integers, and the other labels; else 0."""
    sides = [side.detach() for side in (one, other)]
    whole = [bool((side == side.round()).all()) if side.is_floating_point() else True for side in sides]
    if whole[0] == whole[1]:
        return 0
    scores, labels = sides[whole.index(False)].reshape(-1), sides[whole.index(True)].reshape(-1)
    rounded = scores.round()  # the logarithm of a probability near 1 may be 0
    few = bool((scores == rounded).float().mean() <= MAX_WHOLE) and not bool((labels == rounded).all())
    return scores.numel() if few else 0


def _is_column_beside_row(one: Tensor, other: Tensor) -> bool:
    """Return whether shapes are (N, 1) and (N,), of two tensors: labels are compared with each other on purpose."""
    return sorted([one.dim(), other.dim()]) == [1, 2] and one.data_ptr() != other.data_ptr()
