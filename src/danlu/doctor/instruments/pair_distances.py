"""Distances of pairs that a loss pulls together, against those of pairs that it pushes apart.

Siamese and triplet losses compare embeddings. Where the labels of the pairs are inverted, or positive and negative are
swapped, the loss pulls together what lies far apart and pushes apart what is alike: at the start and, since no
embedding can satisfy it, at the end. The gradient of each distance tells its side, whatever the arguments of the loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.loss.graph import between, shape_of
from danlu.doctor.observation.budget import is_scheduled
from danlu.doctor.observation.watched_model import Pass, WatchedModel

MAX_NODES = 96  # of the graph of a loss
NORMS = ("NormBackward1", "LinalgVectorNormBackward0")
MIN_PAIRS = 4  # on each side
MAX_SEPARATION = 0.97  # chance that a pulled pair is farther apart; more: the distance itself decides, as in a penalty


class PairDistances(Instrument):
    """Write pair.*"""

    name = "pair_distances"

    def start(self, watched: WatchedModel) -> None:
        self._sides: list[tuple[Tensor, Tensor]] = []  # distances, and whether each pair is pulled together

    def after_loss(self, watched: WatchedModel, call: Pass, loss: Tensor, outputs: Any, targets: Any) -> bool | None:
        if not call.grad or loss.grad_fn is None or not is_scheduled(watched.step):
            return None
        found = list(distances(loss.grad_fn))
        if len(found) != 2 and not (len(found) == 1 and has_labels(loss.grad_fn, found[0][0])):
            return None
        self._sides = []
        for node, lengths in found:
            node.register_prehook(watched.timed_hook(self.name, self._side_of(lengths, len(found) == 1)))
        return True

    def _side_of(self, lengths: Tensor, labelled: bool) -> Any:
        """Hook that records the side of each pair. labelled: labels decide, else all pairs of a distance are alike."""

        def hook(gradients: tuple[Tensor, ...]) -> None:
            with torch.no_grad():
                gradient = gradients[0].flatten()
                pulled = gradient > 0 if labelled else (gradient >= 0).all().expand_as(gradient)
                alike = labelled or bool((gradient >= 0).all()) != bool((gradient <= 0).all())
                if alike and len(gradient) == len(lengths):
                    self._sides.append((lengths, pulled))

        return hook

    def before_step(self, watched: WatchedModel, optimizer: torch.optim.Optimizer) -> None:
        sides, self._sides = self._sides, []
        if not sides:
            return
        lengths, pulled = (torch.cat(parts) for parts in zip(*sides))
        near, far = lengths[pulled].float(), lengths[~pulled].float()
        if min(len(near), len(far)) < MIN_PAIRS:
            return
        if float((near[:, None] > far[None]).float().mean()) > MAX_SEPARATION:
            return
        deviation = (near.var() / len(near) + far.var() / len(far)).sqrt().clamp(min=1e-12)
        watched.write("pair.pulled", float(near.mean()))
        watched.write("pair.pushed", float(far.mean()))
        watched.write("pair.reversed", float((near.mean() - far.mean()) / deviation))


def distances(loss: Any) -> Iterator[tuple[Any, Tensor]]:
    """Iterate over the distances of embeddings in a loss: (node, lengths (N,)).

    Args:
        loss: its grad_fn.
    """
    for node in between(loss, None, MAX_NODES):
        shape = shape_of(node)
        if len(shape) not in (1, 2) or shape[1:] not in ([], [1]) or shape[0] < MIN_PAIRS:
            continue
        below: Any = node.next_functions[0][0] if node.next_functions else None
        try:
            if node.name() in NORMS and _is_difference(below):
                yield node, node._saved_result.detach().flatten()
            elif node.name() == "SumBackward1" and _is_squared_difference(below):
                yield node, below._saved_self.detach().flatten(1).norm(dim=1)
        except (AttributeError, RuntimeError):  # freed
            return


def has_labels(loss: Any, distance: Any) -> bool:
    """Return whether labels of two values choose between terms of a distance, by a product or torch.where.

    Args:
        loss, distance: grad_fn of both.
    """
    for node in between(loss, distance, MAX_NODES):
        if node.name() == "WhereBackward0":
            return True
        factors = (node._saved_other, node._saved_self) if node.name() == "MulBackward0" else ()
        labels = [one for one in factors if isinstance(one, Tensor) and not one.requires_grad and one.numel() > 1]
        if any(one.unique().numel() == 2 for one in labels):
            return True
    return False


def _is_squared_difference(node: Any) -> bool:
    return node.name() == "PowBackward0" and node._saved_exponent == 2 and _is_difference(node.next_functions[0][0])


def _is_difference(node: Any) -> bool:
    """Return whether a tensor is the difference of two tensors with gradients, past added constants."""
    while node is not None and node.name() in ("AddBackward0", "AddBackward1"):
        node = node.next_functions[0][0]
    return node is not None and node.name() == "SubBackward0" and all(one for one, _ in node.next_functions)
