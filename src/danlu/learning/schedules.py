"""How the learning rate changes: a factor of the peak rate as a pure function of the step.

Being a function of the step and nothing else, a schedule needs no state: a resumed run asks for the next step. Only
halving on a plateau has a memory, the class `Plateau`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from danlu.config import ScheduleConfig
from danlu.refuse import one_of, refusal

FACTOR = {"step": 0.1, "exponential": 0.95, "plateau": 0.5}  # what `schedule.factor: None` stands for
ONE_CYCLE_START = 1 / 25  # first rate of one-cycle as a share of the peak

# Each course below: (epochs since the warm-up, epochs from there to the end, config) -> factor of the peak rate.


def constant(done: float, total: float, config: ScheduleConfig) -> float:
    return 1.0


def step(done: float, total: float, config: ScheduleConfig) -> float:
    """factor^k after k times `every` epochs, or after k of the `milestones`."""
    # 1e-9: an epoch boundary that rounding put just below a whole number is still the boundary.
    if config.milestones:
        return _factor(config) ** sum(done + 1e-9 >= epoch for epoch in config.milestones)
    return _factor(config) ** math.floor(done / config.every + 1e-9)


def exponential(done: float, total: float, config: ScheduleConfig) -> float:
    """factor^epochs, falling a little at every step."""
    return _factor(config) ** done


def cosine(done: float, total: float, config: ScheduleConfig) -> float:
    """Half a cosine from 1 to `floor` (Loshchilov and Hutter, "SGDR", 2017, without restarts)."""
    return _cosine(1.0, config.floor, done / total)


def one_cycle(done: float, total: float, config: ScheduleConfig) -> float:
    """Up from 1/25 to 1 during the share `rise` of the training, then down to `floor`, both half a cosine.

    Smith and Topin, "Super-Convergence", 2018.
    """
    share = done / total
    if share < config.rise:
        return _cosine(ONE_CYCLE_START, 1.0, share / config.rise)
    return _cosine(1.0, config.floor, (share - config.rise) / (1 - config.rise))


@dataclass(frozen=True)
class Schedule:
    """A course and one line about it."""

    course: Callable[[float, float, ScheduleConfig], float]
    description: str


SCHEDULES: dict[str, Schedule] = {
    "constant": Schedule(constant, "the peak rate throughout"),
    "step": Schedule(step, "multiplied by the factor every so many epochs"),
    "exponential": Schedule(exponential, "multiplied by the factor each epoch, smoothly"),
    "cosine": Schedule(cosine, "half a cosine down to the floor"),
    "one-cycle": Schedule(one_cycle, "up for a share of the training, then down to the floor"),
    "plateau": Schedule(constant, "cut when validation stops improving"),
}


def build_schedule(config: ScheduleConfig, epochs: float, steps_per_epoch: float) -> Callable[[int], float]:
    """Step, counted from 0, -> the factor of the peak rate with which that step is taken.

    `warmup` epochs of W steps rise linearly, (step + 1) / (W + 1), and the schedule's own course fills the rest. For
    "plateau" this is the warm-up alone; multiply it with `Plateau.factor`.
    Raises Refusal for an unknown schedule, or a warm-up that leaves no epoch.
    """
    course = SCHEDULES[one_of("schedule", str(config.name), SCHEDULES, "a known schedule")].course
    if config.warmup >= epochs:
        raise refusal("schedule.warmup", f"less than the {epochs:g} epochs of the training", config.warmup)
    rise = config.warmup * steps_per_epoch

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / (rise + 1)
        return course((step - rise) / steps_per_epoch, epochs - config.warmup, config)

    return factor


class Plateau:
    """Cuts the rate when the validation figure stops improving.

    cut: what a cut multiplies the rate by (None: 0.5). patience: that many epochs in a row without improvement make a
    cut. mode: whether a smaller or a larger figure is better. NaN is no improvement.
    factor: the present factor of the peak rate.
    """

    def __init__(self, cut: float | None, patience: int, mode: Literal["min", "max"] = "min") -> None:
        self.cut = FACTOR["plateau"] if cut is None else cut
        self.patience = patience
        self.mode = mode
        self.factor = 1.0
        self.best: float | None = None
        self.bad_epochs = 0

    def step(self, value: float) -> None:
        """Take in one epoch's figure."""
        better = self.best is None or (value < self.best if self.mode == "min" else value > self.best)
        if better and not math.isnan(value):
            self.best, self.bad_epochs = value, 0
        else:
            self.bad_epochs += 1
        if self.bad_epochs >= self.patience:
            self.factor, self.bad_epochs = self.factor * self.cut, 0

    def state_dict(self) -> dict[str, Any]:
        return {"factor": self.factor, "best": self.best, "bad_epochs": self.bad_epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.factor, self.best, self.bad_epochs = state["factor"], state["best"], state["bad_epochs"]


def _factor(config: ScheduleConfig) -> float:
    return FACTOR[str(config.name)] if config.factor is None else config.factor


def _cosine(start: float, end: float, share: float) -> float:
    """Half a cosine from start (share 0) to end (share 1)."""
    return end + (start - end) * (1 + math.cos(math.pi * min(share, 1.0))) / 2
