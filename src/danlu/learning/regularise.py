"""What acts on a network during training besides the loss: when dropout is on, and an average of the weights."""

from __future__ import annotations

import copy
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd


class DropoutSchedule:
    """Dropout in the first or the last part of the training only.

    early: on until the share `until` of the training, against underfitting; late: on from there, against overfitting;
    always: on throughout (Liu et al., "Dropout Reduces Underfitting", 2023). Acts on every nn.Dropout of the model.
    """

    def __init__(self, model: nn.Module, when: Literal["always", "early", "late"], until: float) -> None:
        self.when, self.until = when, until
        self.dropouts = [(module, module.p) for module in model.modules() if isinstance(module, _DropoutNd)]

    def set(self, progress: float) -> None:
        """progress: share of the training that is done, in [0, 1]."""
        early = progress < self.until
        on = self.when == "always" or (self.when == "early") == early
        for module, p in self.dropouts:
            module.p = p if on else 0.0


class WeightAverage:
    """An exponential moving average of weights and buffers: average <- decay average + (1 - decay) weights.

    `model` is a copy of the network that holds the average, always in evaluation mode. Whole-number buffers (batch
    norm's counter) are copied. Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992.
    Before 1 / (1 - decay) updates the start would weigh too much, so the decay of update n is at most n / (n + 9).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0
        self._average = list(_tensors(self.model))

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights after a step of the optimiser."""
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
        return {"updates": self.updates, "model": self.model.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.updates = state["updates"]
        self.model.load_state_dict(state["model"])


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
