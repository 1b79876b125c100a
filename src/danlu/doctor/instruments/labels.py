"""Agreement of labels between neighbouring inputs, and changes of the validation set between epochs.

Two similar samples share a label more often than two random ones, unless inputs and labels are mismatched
(nearest-neighbour test of independence within a batch, after Friedman and Rafsky 1983).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.observation.watched_model import Pass, WatchedModel, tensors_in

MAX_SAMPLES = 64  # per batch
FEATURES, SIDE = 512, 16  # values per sample and rows per image after striding; less than twice as many are kept
MAX_VALUES = 64  # of a target
MIN_ALIKE = 0.5  # of neighbours in the order of the labels, with the same class
MIN_COMPARED = 16  # samples; in fewer a binary column may agree by chance
MIN_CHANGE = 1e-3  # change of a projection relative to its norm, above rounding errors


class Labels(Instrument):
    """Write label.kinship, label.kinship_chance, input.holds_target and input.val_redrawn"""

    name = "labels"
    kept = ("_validation_noted", "_before")

    def start(self, watched: WatchedModel) -> None:
        self._validation_noted = False  # in this epoch
        self._before: tuple[list[float], list[float]] | None = None  # labels and projections of the previous epoch

    def after_loss(self, watched: WatchedModel, call: Pass, loss: Tensor, outputs: Any, targets: Any) -> bool | None:
        inputs = next(tensors_in((call.args, call.kwargs)), None)
        if inputs is None or not paired(inputs, targets) or (self._validation_noted and not call.grad):
            return None
        if not watched.may(self.name, call):
            return None
        rows = features(inputs.detach()[:MAX_SAMPLES])
        labels = targets.detach()[:MAX_SAMPLES].flatten(1) if targets.dim() > 1 else targets.detach()[:MAX_SAMPLES]
        labels = labels.squeeze(1) if labels.dim() > 1 and labels.shape[1] == 1 else labels
        if call.grad:
            if labels.dim() == 1 and rows.shape[1] > 1:
                watched.write_deferred("input.holds_target", holds(rows, labels), "", call.step)
            found, chance = kinship(rows, labels)
            watched.write_deferred("label.kinship", found, "", call.step)
            watched.write_deferred("label.kinship_chance", chance, "", call.step)
        elif labels.dim() == 1:
            self._validation_noted = True
            self._note(watched, rows, labels)
        return True

    def end_epoch(self, watched: WatchedModel) -> None:
        self._validation_noted = False

    def _note(self, watched: WatchedModel, rows: Tensor, labels: Tensor) -> None:
        """Compare the first validation samples with those of the previous epoch, by label and projection."""
        direction = torch.cos(torch.arange(rows.shape[1], device=rows.device, dtype=torch.float32))
        projections = rows @ direction / rows.norm(dim=1).clamp(min=1e-30) / math.sqrt(rows.shape[1])
        epoch = watched.epoch

        def compare(numbers: list[float]) -> None:
            half = len(numbers) // 2
            now = (numbers[:half], numbers[half:])
            before, self._before = self._before, now
            if before and before[0] == now[0] and len(set(now[0])) > 1:
                moved = sum(not abs(a - b) <= MIN_CHANGE for a, b in zip(before[1], now[1]))
                watched.ledger.add("input.val_redrawn", moved / half, "val", epoch)

        watched.deferred.add(torch.cat([labels.to(projections.dtype), projections]), compare)


def paired(inputs: Tensor, targets: Any) -> bool:
    """Return whether there are at least eight floating-point samples with one label or a few values each."""
    if not isinstance(targets, Tensor) or inputs.dim() < 2 or not inputs.is_floating_point():
        return False
    if not targets.dim() or not 8 <= inputs.shape[0] == targets.shape[0]:
        return False
    each = targets.numel() // targets.shape[0]
    return each == 1 or (targets.is_floating_point() and each <= MAX_VALUES)


def features(inputs: Tensor) -> Tensor:
    """Flatten to (N, D) with at most about a thousand values per sample; images are strided in rows and columns."""
    for axis in range(2, inputs.dim()):
        inputs = inputs[(slice(None),) * axis + (slice(None, None, max(1, inputs.shape[axis] // SIDE)),)]
    rows = inputs.flatten(1)
    return rows[:, :: max(1, rows.shape[1] // FEATURES)].float()


def holds(rows: Tensor, labels: Tensor) -> Tensor:
    """Return whether a column equals the labels or, for classes, has one value per class, other than the next class's.

    Args:
        rows: (N, C).
        labels: (N,); several samples of a class are needed.
    """
    if labels.is_floating_point():
        return (rows == labels[:, None].float()).all(0).any() & (labels != labels[0]).any()
    order = labels.argsort()
    ordered, labels = rows[order], labels[order]
    alike = labels[1:] == labels[:-1]
    usual = (alike.float().mean() >= MIN_ALIKE) & ~alike.all() & (len(labels) >= MIN_COMPARED)
    return ((ordered[1:] == ordered[:-1]) == alike[:, None]).all(0).any() & usual


def kinship(rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Measure the agreement of the labels of nearest neighbours in a batch.

    Args:
        rows: inputs, (N, D).
        labels: (N,) integers for classes, (N,) or (N, V) floats for values.

    Returns:
        The agreement, 0 at chance level and 1 at most (chance-corrected fraction of neighbours of the same class, or
        correlation of the values), and its standard deviation under independence.
    """
    count = len(rows)
    scaled = (rows - rows.mean(0)) / rows.std(0).clamp(min=1e-6)  # independent of the units of the columns
    near = torch.cdist(scaled, scaled).fill_diagonal_(math.inf).argmin(1)
    if not labels.is_floating_point():
        same = labels[:, None] == labels[None]
        expected = (same.float().sum() - count) / (count * (count - 1))
        found = (labels[near] == labels).float().mean()
        rest = (1 - expected).clamp(min=1e-6)
        # Twice the variance of independent pairs: being nearest neighbours is often mutual.
        return (found - expected) / rest, (2 * expected / rest / count).sqrt()
    values = labels.float()
    centred = (values - values.mean(0)) / values.std(0, correction=0).clamp(min=1e-12)
    found = (centred[near] * centred).mean() + 1 / (count - 1)
    return found, torch.full_like(found, math.sqrt(2 / count))
