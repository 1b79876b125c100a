"""Write the curves of a log into a ledger, under the names that instruments use."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from danlu.doctor.curves.columns import (
    PARTS_OF_SEVERAL_MODELS,
    VALIDATION,
    is_gradient_norm,
    is_learning_rate,
    is_loss,
    is_metric,
    is_reinforcement,
    is_validation,
    part_of_loss,
    words_of,
)
from danlu.doctor.curves.log import Curve, Log, Point
from danlu.doctor.ledger import Ledger
from danlu.message import message
from danlu.refuse import refusal

MAX_METRICS = 8
START_POINTS = 3  # first training losses whose mean is the start, where there are many


def recorded_curves(log: Log) -> tuple[Ledger, dict[str, str]]:
    """The curves as a ledger, and their names by meaning ("training loss": "train/loss").

    Raises:
        Refusal: no loss is among the curves, the losses are those of several models, or of reinforcement learning.
    """
    curves = {name: _in_order(points) for name, points in log.curves.items() if points}
    losses = {name: points for name, points in curves.items() if is_loss(name)}
    _refuse_unjudgeable(log, curves, losses)
    fine, train, train_name = _training(losses)
    val, val_name = _validation(losses)
    if not fine and not val:
        names = ", ".join(sorted(curves)[:8]) or "none"
        raise refusal(
            "LOG",
            message(
                "doctor.wanted.log_training_validation_loss",
                "a log with a training or validation loss (curves of {path}: {names})",
                path=log.path,
                names=names,
            ),
            str(log.path),
        )
    shift = 1 if log.axis == "epoch" and min(one[0].x for one in curves.values()) == 0 else 0
    ledger = Ledger()
    ledger.add("curves.axis", log.axis)
    used = {"training loss": train_name, "validation loss": val_name}
    for name, points in ((train_name, fine), (val_name, val)):
        _record_nonfinite(ledger, name, points, shift)
    for x, value in fine:
        ledger.add("loss.step", value, "", int(x) + shift)
    _record_epochs(ledger, train or fine, val, shift, by_epoch=bool(train) or log.axis == "epoch")
    used |= _record_others(ledger, curves, [point.x for point in val], shift)
    last = max(points[-1].x for points in curves.values())
    ledger.add("run.finished", int(last) + shift)
    return ledger, {meaning: name for meaning, name in used.items() if name}


def _refuse_unjudgeable(log: Log, curves: Mapping[str, Curve], losses: Mapping[str, Curve]) -> None:
    several = sorted(name for name in losses if PARTS_OF_SEVERAL_MODELS & set(part_of_loss(name)))
    whole = [name for name in losses if not part_of_loss(name)]
    if is_reinforcement(curves):
        wanted = message(
            "doctor.wanted.log_whose_loss_meant",
            "a log whose loss is meant to fall; that of reinforcement learning need not",
        )
        raise refusal("LOG", wanted, str(log.path))
    if several and not whole:
        wanted = message(
            "doctor.wanted.log_loss_model_losses",
            "a log with the loss of one model; the losses of several ({several}) need not fall",
            several=", ".join(several),
        )
        raise refusal("LOG", wanted, str(log.path))


def _in_order(points: Sequence[Point]) -> Curve:
    """Points by x, of equal x the last, as after a resumed run; without NaN that stands for a missing value."""
    ordered = [Point(x, value) for x, value in sorted({point.x: point.value for point in points}.items())]
    missing = [math.isnan(point.value) for point in ordered]
    last = max((i for i, point in enumerate(ordered) if math.isfinite(point.value)), default=-1)
    inside = missing[: last + 1]
    gap = longest = 0
    for one in inside:
        gap = gap + 1 if one else 0
        longest = max(longest, gap)
    trailing = len(ordered) - 1 - last
    kept = ordered[: last + 1] if 0 < trailing <= longest else ordered
    return [point for i, point in enumerate(kept) if i > last or not missing[i]]


def _training(losses: Mapping[str, Curve]) -> tuple[Curve, Curve, str]:
    """(training loss as finely as it is known, training loss by epoch or [], name)."""
    own = {name: points for name, points in losses.items() if not is_validation(name)}
    total = {name: points for name, points in own.items() if not part_of_loss(name)}
    if not total:
        points, name = _sum(own)
        return points, [], name
    by_epoch = [name for name in total if "epoch" in words_of(name)]
    others = [name for name in total if name not in by_epoch] or by_epoch
    fine = max(others, key=lambda name: ("train" in words_of(name), len(total[name])))
    return total[fine], total[by_epoch[0]] if by_epoch else [], fine


def _validation(losses: Mapping[str, Curve]) -> tuple[Curve, str]:
    """(validation loss, name); the test set only where there is no validation set."""
    own = {name: points for name, points in losses.items() if is_validation(name)}
    held = {name: points for name, points in own.items() if (VALIDATION - {"test"}) & set(words_of(name))} or own
    total = {name: points for name, points in held.items() if not part_of_loss(name)}
    by_epoch = {name: points for name, points in total.items() if "step" not in words_of(name)} or total
    points, name = _sum(dict([max(by_epoch.items(), key=lambda one: len(one[1]))]) if by_epoch else held)
    return [point for point in points if point.value != 0.0], name  # exactly 0: an epoch without validation


def _sum(curves: Mapping[str, Curve]) -> tuple[Curve, str]:
    """The sum of curves over the x that all have, and its name; ([], "") without curves."""
    if not curves:
        return [], ""
    values = [dict(points) for points in curves.values()]
    shared = sorted(set.intersection(*(set(one) for one in values)))
    return [Point(x, math.fsum(one[x] for one in values)) for x in shared], " + ".join(curves)


def _record_nonfinite(ledger: Ledger, name: str, points: Curve, shift: int) -> None:
    broken = next((point for point in points if not math.isfinite(point.value)), None)
    if broken is not None:
        value = "nan" if math.isnan(broken.value) else "inf"
        ledger.add("curves.nonfinite", value, name, int(broken.x) + shift)


def _record_epochs(ledger: Ledger, train: Curve, val: Curve, shift: int, by_epoch: bool) -> None:
    """Losses by evaluation, numbered from 1, each with the mean training loss since the one before; and the start."""
    before, number = -math.inf, 0
    for x, value in val:
        since = [point.value for point in train if before < point.x <= x]
        before = x
        if train and not since:
            continue
        number += 1
        ledger.add("curves.validation", int(x) + shift, "", number)
        ledger.add("loss.mean", value, "val", number)
        if since:
            ledger.add("loss.mean", fmean(since), "train", number)
    if not val and by_epoch:
        for number, point in enumerate(train, 1):
            ledger.add("loss.mean", point.value, "train", number)
    values = [point.value for point in (*train, *val) if math.isfinite(point.value)]
    if values and min(values) >= 0:
        first = [point.value for point in train if math.isfinite(point.value)]
        count = START_POINTS if len(first) > 20 * START_POINTS else 1
        starts = [fmean(first[:count])] if first else []
        starts += [point.value for point in val[:1] if math.isfinite(point.value)]
        ledger.add("curves.start", max(starts))


def _record_others(ledger: Ledger, curves: Mapping[str, Curve], evaluations: list[float], shift: int) -> dict[str, str]:
    """Learning rate, norm of the gradient and metrics; their names by meaning."""
    used = {}
    rates = [name for name in curves if is_learning_rate(name) and not is_loss(name)]
    if rates:
        rate = max(rates, key=lambda name: max(point.value for point in curves[name]))
        _record(ledger, "optimizer.lr", rate, curves[rate], shift)
        used["learning rate"] = rate
    norms = [name for name in curves if is_gradient_norm(name)]
    if norms:
        _record(ledger, "gradient.norm", "", curves[norms[0]], shift)
        used["norm of the gradient"] = norms[0]
    for name in _preferred(name for name in curves if is_metric(name)):
        for number, point in enumerate(curves[name], 1):
            at = bisect_right(evaluations, point.x) if evaluations else number
            if math.isfinite(point.value) and at:
                ledger.put("user.metric", point.value, name, at)
    return used


def _record(ledger: Ledger, name: str, where: str, points: Curve, shift: int) -> None:
    for x, value in points:
        ledger.add(name, value, where, int(x) + shift)


def _preferred(names: Iterable[str]) -> list[str]:
    """Metrics of validation first."""
    return sorted(names, key=lambda name: not is_validation(name))[:MAX_METRICS]
