"""Charts over epochs: training and validation losses, accuracies, and metrics that the loop reports."""

from __future__ import annotations

import math

from danlu.doctor.derived.progress import accuracies, chance_loss
from danlu.doctor.drawings.over_time import CHANCE_LEVEL, Fact, loss_and_chance, points_of, series
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.presentation.plot import Curves, Line


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
            message("doctor.chart.explained_fraction_of_the_variance", "Explained fraction of the variance (R²)"),
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
    return Curves(title, message("doctor.chart.epoch", "epoch"), y, lines, percent=y != "R²", levels=levels)


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
            message("doctor.chart.fraction_of_samples", "fraction of samples"),
            lines,
            percent=True,
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
        title, message("doctor.chart.fraction", "fraction"), "input.val_redrawn", x="epoch", where="val", percent=True
    )(ledger, finding)


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
    points = points_of(ledger, name)
    return (
        Curves(
            title,
            message("doctor.chart.epoch", "epoch"),
            message("doctor.chart.fraction_of_passes", "fraction of passes"),
            [Line(message("doctor.chart.fraction", "fraction"), points)],
            percent=True,
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
                    message("doctor.chart.metric_as_told", "{metric}, reported by the loop", metric=metric),
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
        Line(message("doctor.chart.as_the_loop_told_it", "reported by the loop"), told),
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
