"""Regularisation during training: dropout schedules, constraints of the weights and their moving average."""

from __future__ import annotations

import copy
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd


class DropoutSchedule:
    """Dropout during the first or the last phase of training only, for every nn.Dropout of a model.

    Liu et al., "Dropout Reduces Underfitting", 2023.

    Args:
        when: "early" enables dropout up to the fraction `until` of the training (against underfitting), "late" from
            there on (against overfitting), "always" throughout.
        until: Fraction of the training, in [0, 1].
    """

    def __init__(self, model: nn.Module, when: Literal["always", "early", "late"], until: float) -> None:
        self.when, self.until = when, until
        self.dropouts = [(module, module.p) for module in model.modules() if isinstance(module, _DropoutNd)]

    def set(self, progress: float) -> None:
        """Enable or disable dropout. progress: fraction of the training that is done, in [0, 1]."""
        early = progress < self.until
        on = self.when == "always" or (self.when == "early") == early
        for module, p in self.dropouts:
            module.p = p if on else 0.0


class WeightConstraints:
    """L1 penalty and max-norm constraint, applied to the weights after each step of the optimiser.

    L1: |w| <- max(0, |w| - lr mu), the proximal step of mu |w|_1 (Parikh and Boyd, "Proximal Algorithms", 2014, section
    6.5.2). Unlike a term in the loss it sets weights to exactly 0 and works alike for all optimisers. With weight decay
    it is the elastic net. Max norm: the weights of an output unit that are longer than `max_norm` are scaled back, the
    projection of Srivastava et al., "Dropout", 2014, section 5.1. A weight decay has the same solution as some max norm
    (Lagrange multiplier).

    Args:
        l1: mu.
        max_norm: Max Euclidean norm of the weights of one output unit; None for no limit.
        decay_all: Whether L1 applies to biases and normalisation layers too; max norm never does.
    """

    def __init__(self, l1: float, max_norm: float | None, decay_all: bool) -> None:
        self.l1, self.max_norm, self.decay_all = l1, max_norm, decay_all

    @torch.no_grad()
    def apply(self, optimizer: torch.optim.Optimizer) -> None:
        """Apply both to the parameters of an optimiser, with the learning rate of their group."""
        for group in optimizer.param_groups:
            for weight in group["params"]:
                if self.l1 and (weight.ndim > 1 or self.decay_all):
                    weight.copy_(F.softshrink(weight, float(group["lr"]) * self.l1))
                if self.max_norm is not None and weight.ndim > 1:
                    weight.copy_(weight.renorm(2, 0, self.max_norm))


class WeightAverage:
    """Exponential moving average of weights and buffers: average <- decay average + (1 - decay) weights.

    The attribute `model` is a copy of the network with the averaged weights, in evaluation mode. Integer buffers (batch
    norm's counter) are copied. The decay of update n is at most n / (n + 9), so that the initial weights do not
    dominate the first 1 / (1 - decay) updates. Polyak and Juditsky, "Acceleration of Stochastic Approximation by
    Averaging", 1992.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0
        self._average = list(_tensors(self.model))

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Update the average with the weights of `model` after an optimiser step."""
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 9))
        pairs = list(zip(self._average, _tensors(model), strict=True))
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        if floats:
            torch._foreach_lerp_([a for a, _ in floats], [w for _, w in floats], 1 - decay)  # pyright: ignore[reportPrivateImportUsage]
        for average, now in pairs:
            if not average.is_floating_point():
                average.copy_(now)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of updates and the averaged weights."""
        return {"updates": self.updates, "model": self.model.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the state of `state_dict()`."""
        self.updates = state["updates"]
        self.model.load_state_dict(state["model"])


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
