"""Learning-rate schedules: a factor of the peak learning rate as a pure function of the step.

A schedule depends on the step only and needs no state: a resumed run continues with the next step. The exception is
the class `Plateau`, which remembers the best metric so far.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from danlu.config import ScheduleConfig
from danlu.message import message
from danlu.refuse import one_of, refusal
from danlu.user_objects import find, is_own

DEFAULT_FACTOR = {"step": 0.1, "exponential": 0.95, "plateau": 0.5}  # for `schedule.factor: None`
ONE_CYCLE_START = 1 / 25  # initial learning rate of one-cycle, as a fraction of the peak

# The curves below: (epochs since the warm-up, epochs from warm-up to end, config) -> factor of the peak learning rate.


def constant(done: float, total: float, config: ScheduleConfig) -> float:
    """Constant learning rate."""
    return 1.0


def step(done: float, total: float, config: ScheduleConfig) -> float:
    """Step decay: factor^k after k times `every` epochs, or after k of the `milestones`."""
    # 1e-9 makes up for rounding just below an epoch boundary.
    if config.milestones:
        return _factor(config) ** sum(done + 1e-9 >= epoch for epoch in config.milestones)
    return _factor(config) ** math.floor(done / config.every + 1e-9)


def exponential(done: float, total: float, config: ScheduleConfig) -> float:
    """Exponential decay factor^epochs, applied at every step."""
    return _factor(config) ** done


def cosine(done: float, total: float, config: ScheduleConfig) -> float:
    """Cosine decay from 1 to `floor` (Loshchilov and Hutter, "SGDR", 2017, without restarts)."""
    return _cosine(1.0, config.floor, done / total)


def one_cycle(done: float, total: float, config: ScheduleConfig) -> float:
    """One-cycle: rise from 1/25 to 1 during the fraction `rise` of the training, then fall to `floor`, both cosines.

    Smith and Topin, "Super-Convergence", 2018.
    """
    progress = done / total
    if progress < config.rise:
        return _cosine(ONE_CYCLE_START, 1.0, progress / config.rise)
    return _cosine(1.0, config.floor, (progress - config.rise) / (1 - config.rise))


@dataclass(frozen=True)
class Schedule:
    """One entry of SCHEDULES.

    Args:
        curve: (epochs since the warm-up, epochs from warm-up to end, config) -> factor of the peak learning rate.
        description: One line for listings.
    """

    curve: Callable[[float, float, ScheduleConfig], float]
    description: str


SCHEDULES: dict[str, Schedule] = {
    "constant": Schedule(constant, "the peak learning rate throughout"),
    "step": Schedule(step, "multiplied by the factor every N epochs"),
    "exponential": Schedule(exponential, "multiplied by the factor each epoch, a little at every step"),
    "cosine": Schedule(cosine, "cosine decay to the floor"),
    "one-cycle": Schedule(one_cycle, "rise during a fraction of the training, then fall to the floor"),
    "plateau": Schedule(constant, "reduced when the validation metric stops improving"),
}


def build_schedule(
    config: ScheduleConfig, epochs: float, steps_per_epoch: float, lr: float = 1.0
) -> Callable[[int], float]:
    """Build a schedule: step (from 0) -> factor of the peak learning rate for that step.

    A warm-up of W steps rises linearly, (step + 1) / (W + 1); the curve of the schedule covers the rest. For "plateau"
    only the warm-up is returned; multiply it by `Plateau.factor`.

    Args:
        epochs: Length of the training in epochs, warm-up included.
        steps_per_epoch: Optimiser steps per epoch.
        lr: Peak learning rate, which a scheduler of the user may refer to.

    Raises:
        Refusal: Unknown schedule, or a warm-up as long as the training.
    """
    if is_own(config.name):
        if config.warmup:
            raise refusal(
                "schedule.warmup",
                message("learning.wanted.scheduler_your_own", "0 with a scheduler of your own"),
                config.warmup,
            )
        return find("scheduler", str(config.name))(epochs, steps_per_epoch, lr)
    curve = SCHEDULES[
        one_of("schedule", str(config.name), SCHEDULES, message("learning.wanted.known_schedule", "a known schedule"))
    ].curve
    if config.warmup >= epochs:
        raise refusal(
            "schedule.warmup",
            message(
                "learning.wanted.less_epochs_training", "less than the {epochs:g} epochs of the training", epochs=epochs
            ),
            config.warmup,
        )
    warmup_steps = config.warmup * steps_per_epoch

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        return curve((step - warmup_steps) / steps_per_epoch, epochs - config.warmup, config)

    return factor


class Plateau:
    """Reduce the learning rate when the validation metric stops improving.

    The attribute `factor` is the current factor of the peak learning rate. NaN counts as no improvement.

    Args:
        cut: Factor of each reduction; None means 0.5.
        patience: Epochs in a row without improvement before a reduction.
        mode: "min" if a smaller metric is better, "max" if a larger one is.
    """

    def __init__(self, cut: float | None, patience: int, mode: Literal["min", "max"] = "min") -> None:
        self.cut = DEFAULT_FACTOR["plateau"] if cut is None else cut
        self.patience = patience
        self.mode = mode
        self.factor = 1.0
        self.best: float | None = None
        self.bad_epochs = 0

    def step(self, value: float) -> None:
        """Update with the metric of one epoch."""
        better = self.best is None or (value < self.best if self.mode == "min" else value > self.best)
        if better and not math.isnan(value):
            self.best, self.bad_epochs = value, 0
        else:
            self.bad_epochs += 1
        if self.bad_epochs >= self.patience:
            self.factor, self.bad_epochs = self.factor * self.cut, 0

    def state_dict(self) -> dict[str, Any]:
        """Return factor, best metric and number of bad epochs."""
        return {"factor": self.factor, "best": self.best, "bad_epochs": self.bad_epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the state of `state_dict()`."""
        self.factor, self.best, self.bad_epochs = state["factor"], state["best"], state["bad_epochs"]


def _factor(config: ScheduleConfig) -> float:
    return DEFAULT_FACTOR[str(config.name)] if config.factor is None else config.factor


def _cosine(start: float, end: float, fraction: float) -> float:
    """Interpolate by half a cosine from start (fraction 0) to end (fraction 1)."""
    return end + (start - end) * (1 + math.cos(math.pi * min(fraction, 1.0))) / 2
