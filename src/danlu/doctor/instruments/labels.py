"""Labels beside their inputs: do neighbours share them, and does validation show the same samples in each epoch?

Two samples that lie near one another have more often the same label than two at random, unless inputs and labels do
not belong together (the nearest-neighbour test of independence, after Friedman and Rafsky 1983, within a batch).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.watched_model import Pass, WatchedModel, tensors_in

SAMPLES = 64  # of a batch, at most
FEATURES, SIDE = 512, 16  # values of a sample, rows of an image: at most twice as many
MOVED = 1e-3  # change of a sample's projection against its length that no rounding brings about


class Labels(Instrument):
    """Writes label.kinship, label.kinship_chance and input.val_redrawn"""

    name = "labels"

    def start(self, watched: WatchedModel) -> None:
        self._validation_noted = False  # at validation, in this epoch
        self._before: tuple[list[float], list[float]] | None = None  # labels and projections of the epoch before

    def after_loss(self, watched: WatchedModel, call: Pass, loss: Tensor, outputs: Any, targets: Any) -> bool | None:
        inputs = next(tensors_in((call.args, call.kwargs)), None)
        if inputs is None or not paired(inputs, targets) or (self._validation_noted and not call.grad):
            return None
        if not watched.may(self.name, call):
            return None
        rows = features(inputs.detach()[:SAMPLES])
        labels = targets.detach()[:SAMPLES].flatten()
        if call.grad:
            found, chance = kinship(rows, labels)
            watched.write_deferred("label.kinship", found, "", call.step)
            watched.write_deferred("label.kinship_chance", chance, "", call.step)
        else:
            self._validation_noted = True
            self._note(watched, rows, labels)
        return True

    def end_epoch(self, watched: WatchedModel) -> None:
        self._validation_noted = False

    def _note(self, watched: WatchedModel, rows: Tensor, labels: Tensor) -> None:
        """The first samples of validation: their labels, and of each one number that depends on all its values."""
        ahead = torch.cos(torch.arange(rows.shape[1], device=rows.device, dtype=torch.float32))
        projections = rows @ ahead / rows.norm(dim=1).clamp(min=1e-30) / math.sqrt(rows.shape[1])
        epoch = watched.epoch

        def compare(numbers: list[float]) -> None:
            half = len(numbers) // 2
            now = (numbers[:half], numbers[half:])
            before, self._before = self._before, now
            if before and before[0] == now[0] and len(set(now[0])) > 1:
                moved = sum(not abs(a - b) <= MOVED for a, b in zip(before[1], now[1]))
                watched.ledger.add("input.val_redrawn", moved / half, "val", epoch)

        watched.deferred.add(torch.cat([labels.to(projections.dtype), projections]), compare)


def paired(inputs: Tensor, targets: Any) -> bool:
    """One label or value for each of at least eight samples of numbers."""
    if not isinstance(targets, Tensor) or inputs.dim() < 2 or not inputs.is_floating_point():
        return False
    return 8 <= inputs.shape[0] == targets.shape[0] == targets.numel()


def features(inputs: Tensor) -> Tensor:
    """(N, at most some hundred values of each sample): of images every so many rows and columns."""
    for axis in range(2, inputs.dim()):
        inputs = inputs[(slice(None),) * axis + (slice(None, None, max(1, inputs.shape[axis] // SIDE)),)]
    rows = inputs.flatten(1)
    return rows[:, :: max(1, rows.shape[1] // FEATURES)].float()


def kinship(rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(how alike the labels of nearest neighbours are, the standard deviation of that by chance), from one batch.

    rows: (N, D); labels: (N,), integers for classes, else values (0 and 1 among them). 0 is what unrelated labels show,
    1 is always the same. For classes the share of neighbours of one class, less what the classes' shares bring about;
    for values their correlation.
    """
    count = len(rows)
    scaled = (rows - rows.mean(0)) / rows.std(0).clamp(min=1e-6)  # no column outweighs the others by its unit
    near = torch.cdist(scaled, scaled).fill_diagonal_(math.inf).argmin(1)
    if not labels.is_floating_point():
        same = labels[:, None] == labels[None]
        usual = (same.float().sum() - count) / (count * (count - 1))
        found = (labels[near] == labels).float().mean()
        rest = (1 - usual).clamp(min=1e-6)
        # Twice the variance of independent pairs: neighbours are often each other's.
        return (found - usual) / rest, (2 * usual / rest / count).sqrt()
    values = labels.float()
    centred = (values - values.mean()) / values.std(correction=0).clamp(min=1e-12)
    found = (centred[near] * centred).mean() + 1 / (count - 1)
    return found, torch.full_like(found, math.sqrt(2 / count))
