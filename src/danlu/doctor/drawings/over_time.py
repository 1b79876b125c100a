"""Charts over steps or epochs: losses, learning rates, norms and fractions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from danlu.doctor.axis import Point, smooth
from danlu.doctor.derived.progress import accuracies, chance_loss, steps_taken
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.plot import Curves, Line, Text
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


def epoch_losses(ledger: Ledger, finding: Fact) -> Curves | None:
    """Training and validation loss by epoch, with the best validation epoch and chance level."""
    train, val = points_of(ledger, "loss.mean", "train"), points_of(ledger, "loss.mean", "val")
    if len(train) < 2 and len(val) < 2:
        return loss_and_chance(ledger, finding)
    lines = [
        Line(name, line)
        for name, line in (
            (message("doctor.chart.training", "training"), train),
            (message("doctor.chart.validation", "validation"), val),
        )
        if line
    ]
    facts, chance = finding.get("evidence") or {}, chance_loss(ledger)
    best = facts.get("best_epoch")
    rings = [p for p in val if p[0] == best]
    marks = [(best, message("doctor.chart.best_epoch", "best: epoch {epoch}", epoch=best))] if best else []
    beyond = bool(chance) and chance > 3 * max((y for _, y in train + val if math.isfinite(y)), default=0.0)
    levels = [(chance, CHANCE_LEVEL)] if chance and not beyond and not best else []
    title = message("doctor.chart.mean_loss_of_each_epoch", "Mean loss of each epoch")
    return Curves(
        title,
        message("doctor.chart.epoch", "epoch"),
        message("doctor.chart.loss", "loss"),
        lines,
        None,
        levels=levels,
        marks=marks,
        rings=rings,
    )


def epoch_accuracies(ledger: Ledger, finding: Fact) -> Curves | None:
    """Training and validation accuracy by epoch, with that of always predicting the most frequent class."""
    train, val = (sorted(accuracies(ledger, phase).items()) for phase in ("train", "val"))
    title, y, level = (
        message("doctor.chart.accuracy_of_each_epoch", "Accuracy of each epoch"),
        message("doctor.chart.accuracy", "accuracy"),
        (finding.get("evidence") or {}).get("chance"),
    )
    if not train and not val:
        train, val = (points_of(ledger, "explained.mean", phase) for phase in ("train", "val"))
        title, y = (
            message("doctor.chart.explained_share_of_the_variance", "Explained fraction of the variance (R²)"),
            "R²",
        )
    if not train and not val:
        return None
    lines = [
        Line(name, line)
        for name, line in (
            (message("doctor.chart.training", "training"), train),
            (message("doctor.chart.validation", "validation"), val),
        )
        if line
    ]
    levels = [(level, CHANCE_LEVEL)] if level is not None else []
    return Curves(title, message("doctor.chart.epoch", "epoch"), y, lines, share=y != "R²", levels=levels)


def contradicted(ledger: Ledger, finding: Fact) -> Curves | None:
    """Fraction of labels that confident predictions contradict, by epoch."""
    facts = finding.get("evidence") or {}
    if (facts.get("confident") or 0.0) < 0.3 or (facts.get("contradicted") or 0.0) < 0.045:
        return None  # based on other signs
    lines = [
        Line(name, found)
        for name, phase in (
            (message("doctor.chart.training", "training"), "train"),
            (message("doctor.chart.validation", "validation"), "val"),
        )
        if (found := points_of(ledger, "label.contradicted", phase))
    ]
    title = message("doctor.chart.labels_that_a_sure_prediction", "Labels that a sure prediction contradicts")
    return (
        Curves(
            title,
            message("doctor.chart.epoch", "epoch"),
            message("doctor.chart.share_of_samples", "fraction of samples"),
            lines,
            share=True,
        )
        if lines
        else None
    )


def redrawn(ledger: Ledger, finding: Fact) -> Curves | None:
    """Fraction of validation samples that changed since the epoch before."""
    if finding.get("where") != "validation":
        return None
    title = message(
        "doctor.chart.validation_samples_that_changed_since", "Validation samples that changed since the epoch before"
    )
    return series(
        title, message("doctor.chart.share", "fraction"), "input.val_redrawn", x="epoch", where="val", share=True
    )(ledger, finding)


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
    group = finding.get("where") or next(iter(ledger.wheres("optimizer.lr")), "")
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
        [Line(message("doctor.chart.rate", "learning rate"), line)],
        None,
        marks=marks,
    )


def fractions_by_epoch(ledger: Ledger, finding: Fact) -> Curves | None:
    """Fraction of passes in the wrong mode, or number of graphs that are kept, by epoch."""
    code, where = finding.get("code"), finding.get("where")
    if code == "loop.wrong_mode":
        name = "loop.train_in_eval" if where == "train" else "loop.val_in_train"
        title = (
            message("doctor.chart.training_passes_in_eval_mode", "Training passes in eval mode")
            if where == "train"
            else message("doctor.chart.validation_passes_in_train_mode", "Validation passes in train mode")
        )
        y, share = message("doctor.chart.share_of_passes", "fraction of passes"), True
    elif ledger.has("graph.alive", str(where)) and "alive" in (finding.get("evidence") or {}):
        points = points_of(ledger, "graph.alive", str(where))
        lines = [Line(message("doctor.chart.graphs", "graphs"), points)]
        return Curves(
            message("doctor.chart.graphs_alive_at_the_end", "Graphs alive at the end of the epoch"),
            message("doctor.chart.epoch", "epoch"),
            message("doctor.chart.graphs", "graphs"),
            lines,
        )
    else:
        name, title = (
            "loop.val_with_grad",
            message("doctor.chart.validation_passes_that_record_gradients", "Validation passes that record gradients"),
        )
        y, share = message("doctor.chart.share_of_passes", "fraction of passes"), True
    points = points_of(ledger, name)
    return (
        Curves(
            title,
            message("doctor.chart.epoch", "epoch"),
            y,
            [Line(message("doctor.chart.share", "fraction"), points)],
            share=share,
        )
        if points
        else None
    )


def reported_metrics(ledger: Ledger) -> list[Curves]:
    """One chart for each metric reported by doctor.epoch(name=value), except accuracies, which have their own."""
    drawn = []
    for metric in ledger.wheres("user.metric"):
        points = points_of(ledger, "user.metric", metric)
        if "acc" not in metric.lower() and sum(math.isfinite(v) for _, v in points) > 1:
            drawn.append(
                Curves(
                    message("doctor.chart.metric_as_told", "{metric}, as the loop told it", metric=metric),
                    message("doctor.chart.epoch", "epoch"),
                    metric,
                    [Line(metric, points)],
                )
            )
    return drawn


def reported_and_correct(ledger: Ledger, finding: Fact) -> Curves | None:
    """Metric as reported by the loop against the mean over all samples."""
    metric = str(finding.get("where", ""))
    phase = "val" if "val" in metric.lower() or "test" in metric.lower() else "train"
    name = "accuracy.mean" if "acc" in metric.lower() else "loss.mean"
    right, told = points_of(ledger, name, phase), points_of(ledger, "user.metric", metric)
    if right and told and max(v for _, v in told) > 1 >= max(v for _, v in right) and name == "accuracy.mean":
        told = [(e, v / 100) for e, v in told]
    lines = [
        Line(message("doctor.chart.as_the_loop_told_it", "as the loop told it"), told),
        Line(message("doctor.chart.over_all_samples", "over all samples"), right),
    ]
    y = (
        message("doctor.chart.accuracy", "accuracy")
        if name == "accuracy.mean"
        else message("doctor.chart.loss", "loss")
    )
    return (
        Curves(
            message("doctor.chart.the_loop_s_own_figure", "The loop's own figure"),
            message("doctor.chart.epoch", "epoch"),
            y,
            lines,
        )
        if told and right
        else None
    )


def memory(ledger: Ledger, finding: Fact) -> Curves | None:
    name = f"memory.{finding.get('where') or 'process'}"
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
