"""Direction in which a loss moves the log-probabilities of actions, against the rewards of these actions.

A descent on -(log_prob * reward) makes rewarded actions more probable: the gradient of each log-probability is the
negative of its reward. Rewards are known by the names that the program gives to them. Log-probabilities are those of
the distributions of torch, and those that a loss picks by `gather`.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from danlu.doctor.instruments.base import Instrument
from danlu.doctor.loss.graph import between
from danlu.doctor.observation.budget import is_scheduled
from danlu.doctor.observation.log_probabilities import LOG_PROBABILITIES
from danlu.doctor.observation.variables import numbers_in_frames
from danlu.doctor.observation.watched_model import Pass, WatchedModel

MIN_ACTIONS, MAX_CALLS = 4, 10_000  # actions of a step that are compared; calls whose gradients are kept
MAX_NODES = 64  # of the graph of a loss
REWARDS = {"reward", "return", "advantage", "adv", "gae", "rtg"}
OTHERS = {"cost", "loss", "neg", "negative", "mean", "std"}  # in names of what is none


class PolicyGradient(Instrument):
    """Write policy.reward_correlation."""

    name = "policy_gradient"

    def start(self, watched: WatchedModel) -> None:
        self._watched: WatchedModel | None = watched
        self._active = False  # a pass of this model since its last step
        self._gradients: list[Tensor | None] = []  # of the log-probabilities since the last step, in their order
        self._gathered: list[Tensor] = []  # gradients of numbers that the loss gathers
        LOG_PROBABILITIES.add(self._computed)

    def after_forward(self, watched: WatchedModel, call: Pass, outputs: Any) -> None:
        self._active = self._active or call.grad

    def backward_called(self, watched: WatchedModel, call: Pass, loss: Tensor) -> bool | None:
        if not is_scheduled(watched.step):
            return None
        found = [node for node in between(loss.grad_fn, None, MAX_NODES) if node.name() == "GatherBackward0"]
        keep = self._gathered
        for node in found:
            node.register_prehook(watched.timed_hook(self.name, lambda gradients: keep.append(gradients[0].detach())))
        return bool(found)

    def _computed(self, log_probabilities: Tensor) -> None:
        watched = self._watched
        if watched is None or watched.paused or not self._active or not is_scheduled(watched.step):
            return
        if len(self._gradients) < MAX_CALLS:
            index, kept = len(self._gradients), self._gradients
            kept.append(None)

            def keep(gradient: Tensor) -> None:
                kept[index] = gradient.detach()

            watched.tensor_hooks.add(log_probabilities, watched.timed_hook(self.name, keep))

    def before_step(self, watched: WatchedModel, optimizer: torch.optim.Optimizer) -> bool | None:
        computed = [one for one in self._gradients if one is not None]
        gradients = [*([computed] if computed else []), *([one] for one in self._gathered)]
        self._active, self._gradients, self._gathered = False, [], []
        if not gradients:
            return None
        found = [
            value
            for _, rewards in numbers_in_frames(names_rewards)
            for each in gradients
            if (value := correlation(each, rewards)) is not None
        ]
        if found:
            watched.write("policy.reward_correlation", max(found, key=abs))
        return True

    def finish(self, watched: WatchedModel) -> None:
        LOG_PROBABILITIES.remove(self._computed)
        self._watched = None


def names_rewards(name: str) -> bool:
    """Return whether a variable of this name holds rewards, returns or advantages."""
    words = set(re.split(r"[^a-z]+", name.lower()))
    words |= {word.removesuffix("s") for word in words}
    return bool(words & REWARDS) and not words & OTHERS


def correlation(gradients: list[Tensor], rewards: Tensor) -> float | None:
    """Correlation of the gradients of actions with their rewards (n,); None if they do not belong together."""
    each = [one.reshape(len(one), -1).mean(1) if one.dim() and len(one) == len(rewards) else one for one in gradients]
    gradient = torch.cat([one.flatten() for one in each]).double().cpu()
    if len(gradient) != len(rewards) or len(rewards) < MIN_ACTIONS:
        return None
    a, b = gradient - gradient.mean(), rewards - rewards.mean()
    size = float(a.norm() * b.norm())
    return float(a @ b) / size if size > 1e-12 else None
