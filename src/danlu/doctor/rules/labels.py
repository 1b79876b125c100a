"""Findings about labels: outside what the loss can mean, wrong, or without any bearing on the inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import Phrase
from danlu.doctor.rules.data import inputs_apart, labels_seen, late_accuracy, mean_rows, split_shift
from danlu.doctor.rules.progress import accuracies

ENOUGH = 5  # labels per class without one of the first: chance leaves it out of fewer


def label_range(ledger: Ledger) -> Iterable[Finding]:
    """Labels that the loss cannot mean: outside 0..K-1, counted from 1, or -1 and 1 where 0 and 1 are wanted."""
    kind, outputs = ledger.last("loss.kind", default=""), ledger.last("output.count", default=0)
    low, high = _extreme(ledger, "target.min", min), _extreme(ledger, "target.max", max)
    outside = sum(ledger.values("target.outside"))
    facts = {"low": low, "high": high, "outputs": outputs, "outside": int(outside)}
    if outside:
        yield Finding("data.label_range", "error", 0.97, "", facts | {"problem": Phrase("outside")})
    elif kind in ("bce", "bce_logits") and low is not None and (low < 0 or (high or 0) > 1):
        yield Finding("data.label_range", "error", 0.95, "", facts | {"problem": Phrase("sign")})
    elif kind in ("cross_entropy", "nll"):
        shares = mean_rows(ledger.values("class.actual", "train"))
        held = mean_rows(ledger.values("class.actual", "val"))
        absent = len(shares) >= 3 and shares[0] == 0 and min(shares[1:]) > 0 and not (held and held[0])
        if absent and labels_seen(ledger) >= ENOUGH * len(shares):
            yield Finding("data.label_range", "error", 0.9, "", facts | {"problem": Phrase("from one")})


def label_noise(ledger: Ledger) -> Iterable[Finding]:
    """Labels that sure predictions contradict, in training and in validation (Northcutt et al. 2021).

    Predictions of more than 0.8 that are often wrong are a warning, if the surest third errs at least half as often as
    all: a model that is merely too sure of itself is right there. Where noise has kept the model from being so sure,
    errors as frequent among the surest third as among all are a note: classes that overlap, and a model that has not
    learnt enough, err where they are unsure.
    """
    learned, fitted = late_accuracy(ledger, "val"), late_accuracy(ledger, "train")
    chance = _chance(ledger)
    if learned is None or learned < min(2 * chance, chance + 0.25) or (fitted or 0) - learned >= 0.1:
        return
    if any(True for _ in split_shift(ledger)) or inputs_apart(ledger):
        return  # a class that training lacks is contradicted in validation, and rightly labelled
    train, val = (_late(ledger, "label.contradicted", phase) for phase in ("train", "val"))
    sure, right = (_late(ledger, name, "val") for name in ("label.confident", "label.confident_correct"))
    surest, errors = surest_and_all_errors(ledger, "val")
    known = {"contradicted": val, "training": train, "confident": sure, "right": right, "surest": 1 - surest}
    facts = {name: value for name, value in known.items() if value is not None}
    contradicted = 0.0 if val is None or sure is None or right is None or sure < 0.3 or right >= 0.93 else val
    if contradicted > 0.045 and (not errors or 0.5 * errors < surest < 0.5):  # beyond that it has not learnt the task
        yield Finding("data.label_noise", "warning", min(0.9, 0.6 + 2 * contradicted), "", facts)
    elif min(surest, surest_and_all_errors(ledger, "train")[0]) > max(0.08, 0.7 * errors):
        yield Finding("data.label_noise", "note", 0.7, "", facts)


def surest_and_all_errors(ledger: Ledger, phase: str) -> tuple[float, float]:
    """Share of errors among the surest third of the predictions, and among all, over the same epochs of the second half
    of the run; (0, 0) where none was measured."""
    epochs = len(ledger.values("loss.mean", phase))
    surest = dict(zip(*ledger.series("label.surest_correct", phase)))
    every = dict(zip(*ledger.series("accuracy.mean", phase)))
    late = [epoch for epoch in surest if epoch in every and epoch > epochs / 2]
    if not late:
        return 0.0, 0.0
    return 1 - sum(surest[epoch] for epoch in late) / len(late), 1 - sum(every[epoch] for epoch in late) / len(late)


def labels_shuffled(ledger: Ledger) -> Iterable[Finding]:
    """Inputs tell nothing of labels: training goes down by memory alone while validation stays at chance
    (Zhang et al. 2017); or it stays at chance too, and samples that lie near one another share no labels."""
    kin, noise = kinship(ledger)
    if kin > max(0.15, 4 * noise):
        return  # neighbours share labels
    unrelated = noise < 0.08 and kin < 2 * noise
    fitted, held = late_accuracy(ledger, "train"), late_accuracy(ledger, "val")
    chance = _chance(ledger)
    losses, held_losses = (ledger.values("loss.mean", phase) for phase in ("train", "val"))
    if fitted is not None and held is not None and len(losses) >= 2 and len(held_losses) >= 2:
        best = max(accuracies(ledger, "val").values())
        learning = losses[-1] < 0.97 * losses[0]
        worse = held_losses[-1] > min(held_losses) * 1.02
        facts = {"train": fitted, "val": held, "best": best, "chance": chance, "kinship": kin}
        if fitted > chance + 0.08 and best < chance + 0.06 and learning and worse:
            yield Finding("data.labels_shuffled", "error", 0.85, "", facts)
        elif unrelated and best < chance + 0.06 and len(losses) >= 5:
            yield Finding("data.labels_shuffled", "warning", 0.7, "", facts)
        return
    explained = ledger.values("explained.mean", "val")
    fit = _late(ledger, "explained.mean", "train")
    if not explained or fit is None or max(explained) >= 0.03:
        return
    facts = {"train": fit, "val": explained[-1], "best": max(explained), "chance": 0.0, "kinship": kin}
    if fit > 0.15:
        yield Finding("data.labels_shuffled", "error", 0.75, "", facts)
    elif unrelated and len(losses) >= 5:
        yield Finding("data.labels_shuffled", "warning", 0.7, "", facts)


def kinship(ledger: Ledger) -> tuple[float, float]:
    """(likeness of neighbours' labels over all measured batches, its standard deviation by chance: infinite where
    none was measured)."""
    found = [v for v in ledger.values("label.kinship") if math.isfinite(v)]
    noise = [v for v in ledger.values("label.kinship_chance") if math.isfinite(v)]
    if not found or len(found) != len(noise):
        return 0.0, math.inf
    return sum(found) / len(found), math.sqrt(sum(v * v for v in noise)) / len(noise)


def _extreme(ledger: Ledger, name: str, of: Callable[[list[float]], float]) -> float | None:
    values = [v for phase in ledger.wheres(name) for v in ledger.values(name, phase)]
    return of(values) if values else None


def _late(ledger: Ledger, name: str, phase: str) -> float | None:
    """Mean of the last third of the epochs."""
    values = [v for v in ledger.values(name, phase) if isinstance(v, int | float) and math.isfinite(v)]
    late = values[-max(1, len(values) // 3) :]
    return sum(late) / len(late) if late else None


def _chance(ledger: Ledger) -> float:
    """Accuracy of always saying the commonest class."""
    return max(mean_rows(ledger.values("class.actual", "val")) or [0.5])


RULES: dict[str, Callable[[Ledger], Iterable[Finding]]] = {
    "data.label_range": label_range,
    "data.label_noise": label_noise,
    "data.labels_shuffled": labels_shuffled,
}
