"""Direction in which a generator's loss moves the discriminator's output, against the discriminator's own loss.

The two are trained against each other: for generated samples their losses move the output in opposite directions. A
generator whose loss has the label of the discriminator's ("fake") helps the discriminator instead of deceiving it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.observation.budget import is_scheduled
from danlu.doctor.observation.watched_model import Pass, WatchedModel, tensors_in

MAX_FEATURES = 4096  # of a sample that are compared
MIN_AGREEMENT = 0.8  # of the signs of the gradients of a batch
MAX_DISTANCE = 0.7  # of the batch of generated samples to the nearer plain batch, relative to the other one


@dataclass
class Seen:
    """One pass: mean of its inputs, whether another model made them, and sign of the gradient of its outputs."""

    features: Tensor
    generated: bool
    sign: float = 0.0


class Adversary(Instrument):
    """Write adversary.same_direction, of a model that gets samples of another model that is trained."""

    name = "adversary"

    def start(self, watched: WatchedModel) -> None:
        self._passes: list[Seen] = []  # the last ones, since those that were compared

    def after_forward(self, watched: WatchedModel, call: Pass, outputs: Any) -> bool | None:
        inputs = next(tensors_in((call.args, call.kwargs)), None)
        scores = next(tensors_in(outputs), None)
        if not call.grad or not is_scheduled(watched.step) or inputs is None or scores is None:
            return None
        if not inputs.is_floating_point() or inputs.dim() < 2 or not scores.requires_grad or scores.numel() > 1e6:
            return None
        seen = Seen(inputs.detach().flatten(1)[:, :MAX_FEATURES].float().mean(0), inputs.grad_fn is not None)
        watched.tensor_hooks.add(scores, watched.timed_hook(self.name, lambda gradient: self._add(seen, gradient)))
        return True

    def _add(self, seen: Seen, gradient: Tensor) -> None:
        seen.sign = float(gradient.detach().sign().mean())
        self._passes = [*self._passes[-3:], seen]

    def before_step(self, watched: WatchedModel, optimizer: torch.optim.Optimizer) -> None:
        self._compare(watched)

    def before_forward(self, watched: WatchedModel, call: Pass) -> None:
        self._compare(watched)

    def _compare(self, watched: WatchedModel) -> None:
        """Compare the last pass, where it was on generated samples, with the plain passes before it."""
        if not self._passes or not self._passes[-1].generated:
            return
        (*plain, last), self._passes = self._passes, []
        sides = {one.sign > 0: one for one in plain if not one.generated and abs(one.sign) > MIN_AGREEMENT}
        if len(sides) < 2 or abs(last.sign) < MIN_AGREEMENT:
            return
        if any(one.features.shape != last.features.shape for one in sides.values()):
            return
        apart = {side: float((one.features - last.features).norm()) for side, one in sides.items()}
        nearer = min(apart, key=lambda side: apart[side])
        if apart[nearer] < MAX_DISTANCE * apart[not nearer]:  # else generated and real samples cannot be told apart
            watched.write("adversary.same_direction", int((last.sign > 0) == nearer))
