"""Findings about samples: how they are split, scaled, ordered and changed. Those about labels stand in labels.py."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from statistics import fmean

from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import Phrase
from danlu.doctor.rules.progress import accuracies, even_epochs, goes_back

EXPECTED = 10  # labels of a class: chance hardly leaves it out of so many
FEW_LEAKED = 4  # fewer identical samples may be chance: a blank image, a default row


def leak(ledger: Ledger) -> Iterable[Finding]:
    """Validation samples that were trained on (Barz and Denzler 2020 found 3 % in CIFAR-10)."""
    if _calls_again(ledger) or not goes_back(ledger) or not even_epochs(ledger):
        return
    leaked, share = ledger.last("input.leaked", default=0), ledger.last("input.leaked_share", default=0.0)
    if leaked >= FEW_LEAKED and share > 0.01:
        seen = ledger.last("input.hashed", "val", 0)
        confidence = min(0.98, 0.8 + 0.02 * leaked)
        facts = {"leaked": int(leaked), "share": share, "seen": seen}
        yield Finding("data.leak", "error" if share > 0.05 else "warning", confidence, Phrase("validation"), facts)


def duplicates(ledger: Ledger) -> Iterable[Finding]:
    """Samples that come more than once in an epoch, or with different labels."""
    if _calls_again(ledger) or not even_epochs(ledger):
        return
    conflicts, hashed = ledger.last("input.label_conflicts", default=0), ledger.last("input.hashed", "train", 0)
    told = ledger.last("run.epoch_by", default="") != "none"  # else the whole run is one epoch, and all comes again
    repeated = ledger.values("input.repeated", "train") if told else []
    # Copies come back each epoch; what the last batch carries over into the next one need not.
    share = fmean(repeated) if repeated else 0.0
    facts = {"repeated": share, "conflicts": int(conflicts), "seen": hashed}
    if conflicts >= 2 and conflicts > 0.005 * hashed:
        yield Finding("data.duplicates", "warning", 0.85, Phrase("training"), facts)
    elif share > 0.05:
        yield Finding("data.duplicates", "warning", 0.75, Phrase("training"), facts)


def imbalance(ledger: Ledger) -> Iterable[Finding]:
    """One class so rare that plain accuracy hides it (He and Garcia 2009): a warning where it is found less often."""
    shares = mean_rows(ledger.values("class.actual", "train"))
    held = mean_rows(ledger.values("class.correct", "val"))
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
        yield Finding("data.imbalance", severity, 0.8 if badly else 0.7, Phrase("class {}", k), facts)


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
    images = len(ledger.last("input.shape", default=[])) > 2
    if std > 15 or abs(mean) > 15 or std < 1e-3:
        yield Finding("data.not_normalised", "error" if std > 15 or abs(mean) > 15 else "warning", 0.92, "", facts)
    elif (offset > 6 and abs(mean) > 3) or (not images and spread > 50 and max(stds) > 5):
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
    held = mean_rows(ledger.values("class.actual", "val"))  # empty where the loop takes no loss in validation
    known = held or mean_rows(ledger.values("class.actual", "train"))
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


def inputs_apart(ledger: Ledger) -> tuple[str, dict[str, float]] | None:
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
    apart = inputs_apart(ledger)
    if apart and apart[0] == "val":
        yield Finding("data.split_shift", "error", 0.9, Phrase("inputs"), {"problem": _said(apart[1])} | apart[1])
        return
    train, val = (mean_rows(ledger.values("class.actual", phase)) for phase in ("train", "val"))
    if len(train) == len(val) > 1:
        distance = sum(abs(a - b) for a, b in zip(train, val)) / 2
        least = max(0.02, EXPECTED / max(1, labels_seen(ledger)))
        missing = [k for k, (a, b) in enumerate(zip(train, val)) if b > least and a < 0.15 * b]
        if distance > 0.3 and missing and not _runs(ledger):
            problem = Phrase("training has hardly any labels of the classes {}", missing[:8])
            facts = {"problem": problem, "apart": distance, "classes": missing[:8]}
            yield Finding("data.split_shift", "error", 0.85, Phrase("labels"), facts)


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
        yield Finding("data.augmentation_harmful", "warning", 0.85, Phrase("validation"), facts)
        return
    apart = inputs_apart(ledger)
    fitted, held = late_accuracy(ledger, "train"), late_accuracy(ledger, "val")
    if apart and apart[0] == "train" and fitted is not None and held is not None:
        problem = _said(apart[1])
        do = Phrase("Weaken it until training images can be told by eye: smaller noise, erasing and rotation.")
        facts = {"problem": problem, "do": do, "train": fitted, "val": held} | apart[1]
        yield Finding("data.augmentation_harmful", "warning", 0.85, Phrase("training"), facts)


def _runs(ledger: Ledger) -> bool:
    """Whether classes come in runs: then a look at some batches says nothing of all labels."""
    return any(True for _ in not_shuffled(ledger))


def _mean(ledger: Ledger, name: str, phase: str) -> float | None:
    values = [v for v in ledger.values(name, phase) if isinstance(v, int | float) and math.isfinite(v)]
    return sum(values) / len(values) if values else None


def labels_seen(ledger: Ledger) -> float:
    """Training samples whose labels were counted, over all epochs."""
    columns = (ledger.values(f"epoch.{name}", "train") for name in ("samples", "measured", "batches"))
    return sum(samples * measured / max(1, batches) for samples, measured, batches in zip(*columns))


def _calls_again(ledger: Ledger) -> bool:
    """Optimisers that call the model on the same batch several times a step, with and without gradients."""
    return any("LBFGS" in str(kind) for kind in ledger.facts("optimizer.kind").values())


def mean_rows(rows: list[list[float]]) -> list[float]:
    """Mean of the shares of all epochs: an epoch may have been seen in part."""
    rows = [row for row in rows if isinstance(row, list) and len(row) == len(rows[0])]
    return [sum(column) / len(rows) for column in zip(*rows)] if rows else []


def late_accuracy(ledger: Ledger, phase: str) -> float | None:
    """Mean accuracy of the last third of the epochs, as measured or as the loop told it."""
    found = accuracies(ledger, phase)
    late = [found[epoch] for epoch in sorted(found)[-max(1, len(found) // 3) :] if math.isfinite(found[epoch])]
    return sum(late) / len(late) if late else None


RULES: dict[str, Callable[[Ledger], Iterable[Finding]]] = {
    "data.leak": leak,
    "data.duplicates": duplicates,
    "data.imbalance": imbalance,
    "data.not_normalised": not_normalised,
    "data.degenerate": degenerate,
    "data.not_shuffled": not_shuffled,
    "data.split_shift": split_shift,
    "data.augmentation_harmful": augmentation_harmful,
}
