"""Models that losses are computed from while the optimizer that steps holds those of another model.

As a student whose teacher was given to the optimizer: each loss leads to the student alone, and the optimizer steps
without any gradient.
"""

from __future__ import annotations

import weakref

import torch
from torch import Tensor, nn

from danlu.doctor.loss.graph import leaves

EMPTY_STEPS = 4  # in a row, after which the model is watched
MAX_MODELS, MAX_LOOKS = 4, 64  # called models of no optimizer, and losses that are followed to their leaves


class Untrained:
    """Called modules whose parameters no optimizer holds."""

    def __init__(self) -> None:
        self._models: list[tuple[str, weakref.ref[nn.Module]]] = []
        self._reached: int | None = None  # index of the model that the losses since the last step lead to
        self._empty = self._looks = 0

    def add(self, module: nn.Module, name: str) -> None:
        """Add a module that is called with gradients; its parts, which are called later, are left out."""
        own = {id(p) for p in module.parameters()}
        known = [one() for _, one in self._models]
        if len(known) < MAX_MODELS and not any(one is not None and own <= _parameters(one) for one in known):
            self._models.append((name, weakref.ref(module)))

    def is_reached(self, loss: Tensor) -> bool:
        """Return whether a loss that leads to no training leads to one of these models."""
        if not self._models or loss.grad_fn is None or self._looks >= MAX_LOOKS:
            return False
        self._looks += 1
        found = {id(leaf) for leaf in leaves(loss.grad_fn)}
        for index, (_, reference) in enumerate(self._models):
            model = reference()
            if model is not None and found & _parameters(model):
                self._reached = index
                return True
        return False

    def stepped(self, optimizer: torch.optim.Optimizer) -> tuple[str, nn.Module] | None:
        """Name and module of a model that losses lead to while the steps of an optimizer have no gradient."""
        at, self._reached = self._reached, None
        if at is None:
            return None
        is_empty = all(p.grad is None for group in optimizer.param_groups for p in group["params"])
        self._empty = self._empty + 1 if is_empty else 0
        if self._empty < EMPTY_STEPS:
            return None
        name, reference = self._models[at]
        model, self._models, self._empty = reference(), [], 0
        return None if model is None else (name, model)


def _parameters(model: nn.Module) -> set[int]:
    return {id(p) for p in model.parameters() if p.requires_grad}
