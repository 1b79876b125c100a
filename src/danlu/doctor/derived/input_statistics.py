"""Statistics of the inputs of training and validation."""

from __future__ import annotations

import math

from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.message import Message

MAX_INDEPENDENT = 16  # values of a sample that count as independent of each other
CHANCE_TIMES = 3.0  # times the number expected by chance, up to which equal and blank samples are no fault


def input_shift(ledger: Ledger) -> tuple[str, dict[str, float]] | None:
    """Compare the input statistics of training and validation.

    Returns the phase whose inputs deviate and the statistics, or None if they agree within sampling error. The phase
    farther from zero mean and unit variance is the one that deviates.
    """
    known = [[mean_of_epochs(ledger, f"input.{name}", phase) for phase in ("train", "val")] for name in ("mean", "std")]
    means, stds = ([value for value in pair if value is not None] for pair in known)
    if len(means) < 2 or len(stds) < 2 or min(stds) <= 0:
        return None
    slack = 3 / math.sqrt(max(1, min(independent_values(ledger, phase) for phase in ("train", "val"))))
    moved, scaled = abs(means[1] - means[0]) / stds[0], abs(math.log(stds[1] / stds[0]))
    if moved <= 0.4 + slack and scaled <= 0.35 + slack:
        return None
    odd = [abs(mean) + abs(math.log(std)) for mean, std in zip(means, stds)]
    facts = {"train_mean": means[0], "val_mean": means[1], "train_std": stds[0], "val_std": stds[1]}
    return ("train" if odd[0] > odd[1] else "val"), facts


def independent_values(ledger: Ledger, phase: str) -> int:
    """Number of values that the mean of the inputs rests on, of one epoch: validation sees the same samples in each.

    The columns or channels of a sample count up to MAX_INDEPENDENT; the many values of an image depend on each other.
    """
    rows = ledger.values("input.measured", phase) or ledger.values("input.samples", phase)
    columns = len(ledger.last("input.feature_means", phase, [0]))
    shape = ledger.last("input.shape", default=[])
    each = MAX_INDEPENDENT if len(shape) > 2 else min(columns, MAX_INDEPENDENT)
    return int(max(rows, default=0)) * each


def input_shift_text(facts: dict[str, float]) -> Message:
    """Sentence with the means and standard deviations of training and validation inputs, by the fields of `facts`."""
    text = "training inputs have mean {train_mean} and deviation {train_std}, validation's {val_mean} and {val_std}"
    return message("doctor.inputs_apart", text, **facts)


def mean_of_epochs(ledger: Ledger, name: str, phase: str) -> float | None:
    """Mean over the epochs of a name in one phase, finite values only; None if there are none."""
    values = [v for v in ledger.values(name, phase) if isinstance(v, int | float) and math.isfinite(v)]
    return sum(values) / len(values) if values else None


def are_tokens(ledger: Ledger) -> bool:
    """Return whether inputs are integers, also as floating-point numbers that an embedding of the model looks up."""
    return bool(ledger.last("input.tokens")) or "int" in str(ledger.last("input.dtype"))


def is_number_of_item(ledger: Ledger) -> bool:
    """Return whether an input is one integer, as a token or the number of an item, which are equal in many samples."""
    return are_tokens(ledger) and len(ledger.last("input.shape", default=[0, 0])) < 2


def blank_by_chance(ledger: Ledger) -> float:
    """Number of blank training samples that chance may make, as of short sequences of few levels."""
    samples, chances = ledger.values("input.samples", "train"), ledger.values("input.constant_by_chance", "train")
    return CHANCE_TIMES * sum(count * chance for count, chance in zip(samples, chances))


def repeated_by_chance(ledger: Ledger) -> float:
    """Fraction of the training samples of an epoch that chance may repeat: of n, 1 - (1 - exp(-pn)) / pn repeat others.

    p: probability that two samples are equal.
    """
    counts = zip(ledger.values("input.samples", "train"), ledger.values("input.equal_by_chance", "train"))
    pairs = [count * chance for count, chance in counts if count * chance > 0]
    return CHANCE_TIMES * sum(1 + math.expm1(-mean) / mean for mean in pairs) / max(1, len(pairs))


def leaked_by_chance(ledger: Ledger) -> float:
    """Fraction of the validation samples that chance may make equal to one of the training samples."""
    chance = mean_of_epochs(ledger, "input.equal_by_chance", "val") or 0.0
    return -CHANCE_TIMES * math.expm1(-chance * ledger.last("input.hashed", "train", 0))


def reevaluates_batches(ledger: Ledger) -> bool:
    """Return whether an optimiser evaluates the same batch several times per step (LBFGS)."""
    return any("LBFGS" in str(kind) for kind in ledger.facts("optimizer.kind").values())
