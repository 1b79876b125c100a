"""Charts over steps: losses, learning rates, norms and memory; drawings of any one or two series."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from danlu.doctor.derived.progress import chance_loss, steps_taken
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.presentation.axis import Point, smooth
from danlu.doctor.presentation.plot import Curves, Line, Text
from danlu.message import Message

Fact = Mapping[str, Any]  # a finding, as in findings.json
MIN_SHOWN_STEPS = 60  # of a run whose loss peaks in its first steps
X_AXES = {"step": message("doctor.chart.step", "step"), "epoch": message("doctor.chart.epoch", "epoch")}
CHANCE_LEVEL = message("doctor.chart.chance_level", "chance level")
MAX_RAW_POINTS = 120  # longer curves are smoothed


def points_of(ledger: Ledger, name: str, where: str = "", times: float = 1.0) -> list[Point]:
    """(step or epoch, value) of a numeric series, with NaN and infinity."""
    steps, values = ledger.series(name, where)
    return [(s, times * v) for s, v in zip(steps, values) if isinstance(v, int | float)]


def course(points: list[Point], label: Message, noise: Message) -> list[Line]:
    """One line; for many points a smoothed line with the points faint behind it."""
    if len(points) <= MAX_RAW_POINTS:
        return [Line(label, points)]
    return [Line(noise, points, faint=True), Line(label, smooth(points))]


def omitted(ledger: Ledger, points: list[Point]) -> Message | str:
    """Note for a curve over steps that has gaps or ends before the training does; \"\" where it is complete."""
    steps = steps_taken(ledger)
    broken = next((step for step, value in points if not math.isfinite(value)), None)
    if broken is not None and not math.isfinite(points[-1][1]):
        return message("doctor.chart.no_number_from_step_on", "no number from step {step} on", step=f"{broken:,}")
    if not points or (points[-1][0] > 0.95 * steps and len(points) > 0.5 * steps):
        return ""
    return message(
        "doctor.chart.steps_shown",
        "{shown} of {steps} steps are shown, the last is {last}: to save time and memory, the doctor keeps only some.",
        shown=f"{len(points):,}",
        steps=f"{steps:,}",
        last=f"{points[-1][0]:,}",
    )


def step_losses(ledger: Ledger, **more: Any) -> Curves | None:
    """Training loss of each step."""
    points = points_of(ledger, "loss.step")
    if sum(math.isfinite(y) for _, y in points) < 2:
        return None
    lines = course(
        points,
        message("doctor.chart.mean_of_some_steps", "mean of some steps"),
        message("doctor.chart.each_step", "each step"),
    )
    aside = omitted(ledger, points)
    return Curves(
        message("doctor.chart.training_loss_of_each_step", "Training loss of each step"),
        message("doctor.chart.step", "step"),
        message("doctor.chart.loss", "loss"),
        lines,
        aside=aside,
        **more,
    )


def rising_loss(ledger: Ledger, finding: Fact) -> Curves | None:
    """Unsmoothed training loss with its peak, the step where it stops being finite, and chance level."""
    points = points_of(ledger, "loss.step")
    finite = [(s, v) for s, v in points if math.isfinite(v)]
    if len(finite) < 2:
        return None
    peak = max(finite, key=lambda p: p[1])
    broken = next((s for s, v in points if not math.isfinite(v)), None)
    marks = (
        [(broken, message("doctor.chart.no_number_from_step_on", "no number from step {step} on", step=f"{broken:,}"))]
        if broken
        else []
    )
    chance = chance_loss(ledger)
    levels = [(chance, CHANCE_LEVEL)] if chance else []
    title = message(
        "doctor.chart.training_loss_of_each_step_highest",
        "Training loss of each step; highest at step {step}",
        step=f"{peak[0]:,}",
    )
    near = max(MIN_SHOWN_STEPS, 4 * (broken or peak[0]))
    if near < 0.5 * points[-1][0]:  # an early peak is too narrow to see in the whole run
        points = [p for p in points if p[0] <= near]
        title = message(
            "doctor.chart.loss_of_the_first_steps",
            "Loss of the first {steps} steps; highest at step {step}",
            steps=f"{near:,}",
            step=f"{peak[0]:,}",
        )
    lines = [Line(message("doctor.chart.loss", "loss"), points)]
    return Curves(
        title,
        message("doctor.chart.step", "step"),
        message("doctor.chart.loss", "loss"),
        lines,
        None,
        levels=levels,
        marks=marks,
        rings=[peak],
    )


def loss_and_chance(ledger: Ledger, finding: Fact) -> Curves | None:
    """Training loss against chance level, with the interval in which it stood still."""
    chance, steps = chance_loss(ledger), ledger.series("loss.step")[0]
    still, stretch = (finding.get("evidence") or {}).get("steps"), None
    if finding.get("code") == "optim.plateau_saddle" and still and steps:
        stretch = (steps[0], min(still, steps[-1]), message("doctor.chart.stands_still", "stands still"))
    elif finding.get("code") == "optim.slow_convergence" and steps:
        stretch = (steps[3 * len(steps) // 4], steps[-1], message("doctor.chart.still_falling", "still falling"))
    return step_losses(ledger, levels=[(chance, CHANCE_LEVEL)] if chance else [], stretch=stretch)


def loss_with_restarts(ledger: Ledger, finding: Fact) -> Curves | None:
    """Training loss with the steps at which the optimiser lost its state."""
    steps = list((finding.get("evidence") or {}).get("steps") or [])
    marks = [
        (s, message("doctor.chart.optimiser_made_anew", "optimiser made anew") if i == 0 else "")
        for i, s in enumerate(steps)
    ]
    return step_losses(ledger, marks=marks)


def loss_and_floor(ledger: Ledger, finding: Fact) -> Curves | None:
    """Training loss against the least cross entropy that K outputs within [a, b] can reach."""
    facts = finding.get("evidence") or {}
    spans = {"softmax": 1.0, "sigmoid": 1.0, "tanh": 2.0}
    outputs = ledger.last("output.count") or 0
    if facts.get("loss") != "cross_entropy" or facts.get("activation") not in spans or outputs < 2:
        return None
    floor = math.log(1 + (outputs - 1) * math.exp(-spans[facts["activation"]]))
    return step_losses(
        ledger,
        levels=[
            (
                floor,
                message(
                    "doctor.chart.least_that_allows", "least that {activation} allows", activation=facts["activation"]
                ),
            )
        ],
    )


def loss_broken(ledger: Ledger, finding: Fact) -> Curves | None:
    """Training loss with the step and layer at which it stopped being finite."""
    facts = finding.get("evidence") or {}
    step = facts.get("step")
    where = f": {finding['where']}" if finding.get("where") else ""
    kind = "NaN" if str(facts.get("value", "nan")) == "nan" else "∞"
    marks = [(step, f"{kind}{where}")] if step is not None else []
    points = points_of(ledger, "loss.step")
    if sum(math.isfinite(y) for _, y in points) < 2:
        return None
    return Curves(
        message("doctor.chart.training_loss_of_each_step", "Training loss of each step"),
        message("doctor.chart.step", "step"),
        message("doctor.chart.loss", "loss"),
        [Line(message("doctor.chart.loss", "loss"), points)],
        None,
        marks=marks,
    )


def series(
    title: Text, y: Text, name: str, *, x: str = "step", where: str = "", times: float = 1.0, **more: Any
) -> Callable[[Ledger, Fact], Curves | None]:
    """Make a drawing of one series; levels, band and other options are those of `Curves`."""

    def draw(ledger: Ledger, finding: Fact) -> Curves | None:
        points = points_of(ledger, name, where, times)
        if sum(math.isfinite(v) for _, v in points) < 2:
            return None
        lines = course(
            points,
            message("doctor.chart.mean_of_some_steps", "mean of some steps"),
            message("doctor.chart.each_step", "each step"),
        )
        aside = omitted(ledger, points) if x == "step" else ""
        return Curves(title, X_AXES[x], y, lines, aside=aside, **more)

    return draw


def pair(
    title: Text, y: Text, first: tuple[str, str, Message], second: tuple[str, str, Message], **more: Any
) -> Callable[[Ledger, Fact], Curves | None]:
    """Make a drawing of two series on one axis. first, second: (name in the ledger, where, label)."""
    options = {"x": "step", "times": 1.0} | more
    x, times = options.pop("x"), options.pop("times")

    def draw(ledger: Ledger, finding: Fact) -> Curves | None:
        lines = []
        for name, where, label in (first, second):
            points = points_of(ledger, name, where, times)
            if points:
                lines.append(Line(label, smooth(points) if len(points) > MAX_RAW_POINTS else points))
        return Curves(title, X_AXES[x], y, lines, **options) if lines else None

    return draw


def rate(ledger: Ledger, finding: Fact) -> Curves | None:
    """Learning rate by step, with the end of the first epoch."""
    group = (finding.get("evidence") or {}).get("group") or next(iter(ledger.wheres("optimizer.lr")), "")
    changes, ends = points_of(ledger, "optimizer.lr", group), ledger.values("run.steps")
    if not changes:
        return None
    line = [p for before, after in pairwise(changes) for p in (before, (after[0], before[1]))] + changes[-1:]
    line += [(ends[-1], changes[-1][1])] if ends and ends[-1] > changes[-1][0] else []
    marks = [(ends[0], message("doctor.chart.end_of_epoch_1", "end of epoch 1"))] if ends and finding else []
    return Curves(
        message("doctor.chart.learning_rate_of_each_step", "Learning rate of each step"),
        message("doctor.chart.step", "step"),
        message("doctor.chart.learning_rate", "learning rate"),
        [Line(message("doctor.chart.learning_rate", "learning rate"), line)],
        None,
        marks=marks,
    )


def memory(ledger: Ledger, finding: Fact) -> Curves | None:
    """Memory in use in MiB, by epoch or step, of the series that the evidence names; None without it."""
    name = (finding.get("evidence") or {}).get("series", "memory.process")
    points = (
        points_of(ledger, name, times=2**-20)
        if name in ("memory.device", "memory.process", "memory.process_step")
        else []
    )
    x = message("doctor.chart.step", "step") if name.endswith("_step") else message("doctor.chart.epoch", "epoch")
    return (
        Curves(
            message("doctor.chart.memory_in_use", "Memory in use"),
            x,
            "MiB",
            [Line(message("doctor.chart.memory", "memory"), points)],
        )
        if points
        else None
    )
