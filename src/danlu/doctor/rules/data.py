"""Findings about data. Each rule reads the ledger and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import Phrase
from danlu.doctor.rules.progress import accuracies

ENOUGH = 5  # labels per class without one of the first: chance leaves it out of fewer
EXPECTED = 10  # labels of a class: chance hardly leaves it out of so many
FEW_LEAKED = 4  # fewer identical samples may be chance: a blank picture, a default row


def leak(ledger: Ledger) -> Iterable[Finding]:
    """Validation samples that were trained on (Barz and Denzler 2020 found 3 % in CIFAR-10)."""
    if _calls_again(ledger) or not ledger.last("run.backwards", default=1):
        return  # without a backward pass nothing tells training from validation
    leaked, share = ledger.last("input.leaked", default=0), ledger.last("input.leaked_share", default=0.0)
    if leaked >= FEW_LEAKED and share > 0.01:
        seen = ledger.last("input.hashed", "val", 0)
        confidence = min(0.98, 0.8 + 0.02 * leaked)
        facts = {"leaked": int(leaked), "share": share, "seen": seen}
        yield Finding("data.leak", "error" if share > 0.05 else "warning", confidence, "validation", facts)


def duplicates(ledger: Ledger) -> Iterable[Finding]:
    """Samples that come more than once in an epoch, or with different labels."""
    if _calls_again(ledger):
        return
    conflicts, hashed = ledger.last("input.label_conflicts", default=0), ledger.last("input.hashed", "train", 0)
    told = ledger.last("run.epoch_by", default="") != "none"  # else the whole run is one epoch, and all comes again
    share = max(ledger.values("input.repeated", "train"), default=0.0) if told else 0.0
    facts = {"repeated": share, "conflicts": int(conflicts), "seen": hashed}
    if conflicts >= 2 and conflicts > 0.005 * hashed:
        yield Finding("data.duplicates", "warning", 0.85, "training", facts)
    elif share > 0.05:
        yield Finding("data.duplicates", "warning", 0.75, "training", facts)


def imbalance(ledger: Ledger) -> Iterable[Finding]:
    """One class so rare that plain accuracy hides it (He and Garcia 2009): a warning where it is found less often."""
    shares = _mean_rows(ledger.values("class.actual", "train"))
    held = _mean_rows(ledger.values("class.correct", "val"))
    seen = max(ledger.values("epoch.samples", "train"), default=math.inf)
    if len(shares) < 2 or len(shares) > 100 or seen < 20 * len(shares):
        return  # of so few samples a class may be rare by chance
    if any(True for _ in not_shuffled(ledger)):
        return  # the batches looked at are no fair sample of sorted data
    k, most = min(range(len(shares)), key=shares.__getitem__), max(range(len(shares)), key=shares.__getitem__)
    if shares[k] * len(shares) < 0.3 and shares[most] > 8 * shares[k] and shares[k] > 0:
        found = (held[k], held[most]) if len(held) == len(shares) else (0.0, 0.0)
        facts = {"class": k, "share": shares[k], "common": shares[most], "found": found[0], "found_common": found[1]}
        hidden = shares[k] * len(shares) < 0.06  # so rare that never saying it costs next to nothing
        badly = 0 <= found[0] < found[1] - 0.1
        places = ledger.last("output.rows", default=1) > 1 or len(ledger.last("output.shape", default=[])) > 2
        severity = "warning" if (badly or hidden) and not places else "note"  # most places are background
        yield Finding("data.imbalance", severity, 0.8 if badly else 0.7, f"class {k}", facts)


def label_range(ledger: Ledger) -> Iterable[Finding]:
    """Labels that the loss cannot mean: outside 0..K-1, counted from 1, or -1 and 1 where 0 and 1 are wanted."""
    kind, outputs = ledger.last("loss.kind", default=""), ledger.last("output.count", default=0)
    low, high = _extreme(ledger, "target.min", min), _extreme(ledger, "target.max", max)
    outside = sum(ledger.values("target.outside"))
    facts = {"low": low, "high": high, "outputs": outputs, "outside": int(outside)}
    if outside:
        yield Finding("data.label_range", "error", 0.97, "", facts | {"problem": "outside"})
    elif kind in ("bce", "bce_logits") and low is not None and (low < 0 or (high or 0) > 1):
        yield Finding("data.label_range", "error", 0.95, "", facts | {"problem": "sign"})
    elif kind in ("cross_entropy", "nll"):
        shares = _mean_rows(ledger.values("class.actual", "train"))
        held = _mean_rows(ledger.values("class.actual", "val"))
        absent = len(shares) >= 3 and shares[0] == 0 and min(shares[1:]) > 0 and not (held and held[0])
        if absent and _labels_seen(ledger) >= ENOUGH * len(shares):
            yield Finding("data.label_range", "error", 0.9, "", facts | {"problem": "from one"})


def label_noise(ledger: Ledger) -> Iterable[Finding]:
    """Labels that sure predictions contradict, in training and in validation (Northcutt et al. 2021).

    Predictions of more than 0.8 that are often wrong are a warning. Where noise has kept the model from being so sure,
    errors as frequent among the surest third of the predictions as among all are a note: classes that overlap, and a
    model that has not learnt enough, err where they are unsure.
    """
    learned, fitted = late_accuracy(ledger, "val"), late_accuracy(ledger, "train")
    chance = _chance(ledger)
    if learned is None or learned < min(2 * chance, chance + 0.25) or (fitted or 0) - learned >= 0.1:
        return
    if any(True for _ in split_shift(ledger)) or _apart(ledger):
        return  # a class that training lacks is contradicted in validation, and rightly labelled
    train, val = (_late(ledger, "label.contradicted", phase) for phase in ("train", "val"))
    sure, right = (_late(ledger, name, "val") for name in ("label.confident", "label.confident_correct"))
    surest, errors = surest_and_all_errors(ledger, "val")
    known = {"contradicted": val, "training": train, "confident": sure, "right": right, "surest": 1 - surest}
    facts = {name: value for name, value in known.items() if value is not None}
    if sure is not None and right is not None and val is not None and sure >= 0.3 and val > 0.045 and right < 0.93:
        yield Finding("data.label_noise", "warning", min(0.9, 0.6 + 2 * val), "", facts)
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


def not_normalised(ledger: Ledger) -> Iterable[Finding]:
    """Inputs far from zero mean and unit scale, or columns of very different scale (LeCun et al. 1998, section 4.3)."""
    mean, std = ledger.last("input.mean", "train"), ledger.last("input.std", "train")
    if mean is None or std is None or not (math.isfinite(mean) and math.isfinite(std)):
        return
    if "int" in str(ledger.last("input.dtype", default="")):
        return  # tokens
    order = ledger.facts("layer.order")
    if order and "Norm" in str(ledger.facts("layer.kind").get(min(order, key=order.__getitem__))):
        return  # the model begins by normalising
    stds = [s for s in ledger.last("input.feature_stds", "train", []) if s > 0]
    spread = max(stds) / min(stds) if len(stds) > 1 else 1.0
    offset = abs(mean) / max(std, 1e-12)
    facts = {"mean": mean, "std": std, "spread": spread, "offset": offset}
    pictures = len(ledger.last("input.shape", default=[])) > 2
    if std > 15 or abs(mean) > 15 or std < 1e-3:
        yield Finding("data.not_normalised", "error" if std > 15 or abs(mean) > 15 else "warning", 0.92, "", facts)
    elif (offset > 6 and abs(mean) > 3) or (not pictures and spread > 50 and max(stds) > 5):
        yield Finding("data.not_normalised", "warning", 0.85, "", facts)


def degenerate(ledger: Ledger) -> Iterable[Finding]:
    """Blank samples, or samples with numbers that are not finite."""
    seen = sum(ledger.values("input.samples", "train"))
    blank, bad = sum(ledger.values("input.constant", "train")), sum(ledger.values("input.nonfinite", "train"))
    shape = ledger.last("input.shape", default=[])
    facts = {"blank": int(blank), "nonfinite": int(bad), "seen": int(seen)}
    if bad and not ledger.has("nonfinite.step"):  # else numerics.nonfinite names the sample
        yield Finding("data.degenerate", "error", 0.95, "", facts)
    elif blank > 0.02 * seen and blank >= 3 and math.prod(shape[1:] or [1]) > 4:
        yield Finding("data.degenerate", "warning", 0.85, "", facts)


def not_shuffled(ledger: Ledger) -> Iterable[Finding]:
    """Batches whose labels differ from all labels by far more than chance has it.

    Either from batch to batch, or, where few batches were looked at, because the first ones hold few of the classes.
    """
    steps, distances = ledger.series("batch.label_distance")
    expected = dict(zip(*ledger.series("batch.label_distance_expected")))
    pairs = [(d, expected.get(s, 0.0)) for s, d in zip(steps, distances)]
    held = _mean_rows(ledger.values("class.actual", "val"))  # empty where the loop takes no loss in validation
    known = held or _mean_rows(ledger.values("class.actual", "train"))
    if len(pairs) < 3 or len(known) < 3:
        return
    distance, chance = (sum(part) / len(pairs) for part in zip(*pairs))
    first = (ledger.values("class.actual", "train") or [[]])[0]
    size = (ledger.values("batch.size") or [0])[0]
    classes = sum(share > 0 for share in first)
    # A shuffled batch of `size` misses a class of share p with chance (1 - p)^size.
    usual = sum(1 - (1 - p) ** size for p in known)
    facts = {"distance": distance, "expected": chance, "batches": len(pairs), "classes": classes, "usual": usual}
    one_class = size >= 8 and len(first) == len(held) and classes < 0.4 * usual
    if distance > 2.2 * chance and distance > 0.3 and size >= 8:
        yield Finding("data.not_shuffled", "error", min(0.95, 0.6 + 0.1 * distance / max(chance, 0.01)), "", facts)
    elif one_class:
        yield Finding("data.not_shuffled", "error", 0.85, "", facts)


def _apart(ledger: Ledger) -> tuple[str, dict[str, float]] | None:
    """Which phase's inputs stand away from the other's, and the numbers; None where they agree.

    A few samples are seen of each: what chance makes of so few is let pass. Of two that differ, the one farther from
    zero mean and unit scale is the odd one.
    """
    known = [[_mean(ledger, f"input.{name}", phase) for phase in ("train", "val")] for name in ("mean", "std")]
    means, stds = ([value for value in pair if value is not None] for pair in known)
    if len(means) < 2 or len(stds) < 2 or min(stds) <= 0:
        return None
    seen = [sum(ledger.values("input.samples", phase)) for phase in ("train", "val")]
    slack = 3 / math.sqrt(max(1, min(seen)))
    moved, scaled = abs(means[1] - means[0]) / stds[0], abs(math.log(stds[1] / stds[0]))
    if moved <= 0.4 + slack and scaled <= 0.35 + slack:
        return None
    odd = [abs(mean) + abs(math.log(std)) for mean, std in zip(means, stds)]
    facts = {"train_mean": means[0], "val_mean": means[1], "train_std": stds[0], "val_std": stds[1]}
    return ("train" if odd[0] > odd[1] else "val"), facts


def _said(facts: dict[str, float]) -> Phrase:
    numbers = (facts[name] for name in ("train_mean", "train_std", "val_mean", "val_std"))
    return Phrase("training inputs have mean {} and deviation {}, validation's {} and {}", *numbers)


def split_shift(ledger: Ledger) -> Iterable[Finding]:
    """Validation inputs or labels that are distributed otherwise than training's."""
    apart = _apart(ledger)
    if apart and apart[0] == "val":
        yield Finding("data.split_shift", "error", 0.9, "inputs", {"problem": _said(apart[1])} | apart[1])
        return
    train, val = (_mean_rows(ledger.values("class.actual", phase)) for phase in ("train", "val"))
    if len(train) == len(val) > 1:
        distance = sum(abs(a - b) for a, b in zip(train, val)) / 2
        least = max(0.02, EXPECTED / max(1, _labels_seen(ledger)))
        missing = [k for k, (a, b) in enumerate(zip(train, val)) if b > least and a < 0.15 * b]
        if distance > 0.3 and missing and not _runs(ledger):
            problem = Phrase("training has hardly any labels of the classes {}", missing[:8])
            facts = {"problem": problem, "apart": distance, "classes": missing[:8]}
            yield Finding("data.split_shift", "error", 0.85, "labels", facts)


def augmentation_harmful(ledger: Ledger) -> Iterable[Finding]:
    """Training inputs changed so much that they are no longer like validation's, to the harm of both; or validation
    samples that change from epoch to epoch, which only training's should."""
    redrawn = ledger.values("input.val_redrawn", "val")
    if len(redrawn) >= 2 and min(redrawn) > 0.5:
        problem = Phrase(
            "{:%} of validation's samples change from epoch to epoch under the same labels", round(redrawn[-1], 2)
        )
        do = Phrase("Give the random transform to the training set alone; resize and normalise alone for validation.")
        facts = {"problem": problem, "do": do, "share": redrawn[-1], "epochs": len(redrawn) + 1, "threshold": 0.5}
        yield Finding("data.augmentation_harmful", "warning", 0.85, "validation", facts)
        return
    apart = _apart(ledger)
    fitted, held = late_accuracy(ledger, "train"), late_accuracy(ledger, "val")
    if apart and apart[0] == "train" and fitted is not None and held is not None:
        problem = _said(apart[1])
        do = Phrase("Weaken it until training pictures can be told by eye: smaller noise, erasing and rotation.")
        facts = {"problem": problem, "do": do, "train": fitted, "val": held} | apart[1]
        yield Finding("data.augmentation_harmful", "warning", 0.85, "training", facts)


def _runs(ledger: Ledger) -> bool:
    """Whether classes come in runs: then a look at some batches says nothing of all labels."""
    return any(True for _ in not_shuffled(ledger))


def _mean(ledger: Ledger, name: str, phase: str) -> float | None:
    values = [v for v in ledger.values(name, phase) if isinstance(v, int | float) and math.isfinite(v)]
    return sum(values) / len(values) if values else None


def _labels_seen(ledger: Ledger) -> float:
    """Training samples whose labels were counted, over all epochs."""
    columns = (ledger.values(f"epoch.{name}", "train") for name in ("samples", "measured", "batches"))
    return sum(samples * measured / max(1, batches) for samples, measured, batches in zip(*columns))


def _calls_again(ledger: Ledger) -> bool:
    """Optimisers that call the model on the same batch several times a step, with and without gradients."""
    return any("LBFGS" in str(kind) for kind in ledger.facts("optimizer.kind").values())


def _mean_rows(rows: list[list[float]]) -> list[float]:
    """Mean of the shares of all epochs: an epoch may have been seen in part."""
    rows = [row for row in rows if isinstance(row, list) and len(row) == len(rows[0])]
    return [sum(column) / len(rows) for column in zip(*rows)] if rows else []


def _extreme(ledger: Ledger, name: str, of: Callable[[list[float]], float]) -> float | None:
    values = [v for phase in ledger.wheres(name) for v in ledger.values(name, phase)]
    return of(values) if values else None


def _late(ledger: Ledger, name: str, phase: str) -> float | None:
    """Mean of the last third of the epochs."""
    values = [v for v in ledger.values(name, phase) if isinstance(v, int | float) and math.isfinite(v)]
    late = values[-max(1, len(values) // 3) :]
    return sum(late) / len(late) if late else None


def late_accuracy(ledger: Ledger, phase: str) -> float | None:
    """Mean accuracy of the last third of the epochs, as measured or as the loop told it."""
    found = accuracies(ledger, phase)
    late = [found[epoch] for epoch in sorted(found)[-max(1, len(found) // 3) :] if math.isfinite(found[epoch])]
    return sum(late) / len(late) if late else None


def _chance(ledger: Ledger) -> float:
    """Accuracy of always saying the commonest class."""
    return max(_mean_rows(ledger.values("class.actual", "val")) or [0.5])


RULES: dict[str, Callable[[Ledger], Iterable[Finding]]] = {
    "data.leak": leak,
    "data.duplicates": duplicates,
    "data.imbalance": imbalance,
    "data.label_range": label_range,
    "data.label_noise": label_noise,
    "data.labels_shuffled": labels_shuffled,
    "data.not_normalised": not_normalised,
    "data.degenerate": degenerate,
    "data.not_shuffled": not_shuffled,
    "data.split_shift": split_shift,
    "data.augmentation_harmful": augmentation_harmful,
}
