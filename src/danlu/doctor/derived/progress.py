"""Progress of a training on a scale that does not depend on the task.

Skill is 1 - loss / loss at chance level, where chance level is the best constant answer: 0 is chance level, 1 is
perfect. Both losses are counted from the lowest possible one, which label smoothing raises above 0. For squared errors
skill is R2, for cross entropy the explained fraction of the labels' entropy (McFadden 1974).
"""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import fmean, median

from danlu.doctor.ledger import Ledger
from danlu.doctor.loss.loss_kind import CROSS_ENTROPIES

EARLY_BLOCKS = 20  # equal intervals of the steps
EARLY_LEVEL = 0.8  # of the loss at chance level
MIN_DESCENT = 0.02  # of the loss at chance level, in the last quarter of the steps (`descent`)
STEADY_DESCENT = 0.25  # of the whole descent; 0.375 where the loss falls along a line
MIN_RISE = 2.0  # times the start; less may be noise of the batches


def chance_loss(ledger: Ledger) -> float | None:
    """Loss at chance level (of the best constant answer); None where loss or targets are not known well enough."""
    if ledger.has("curves.start"):  # of a log, which has no targets: the nearest that is known
        return ledger.last("curves.start")
    measured = ledger.values("loss.chance")
    if measured:
        late = [loss for loss in measured[len(measured) // 2 :] if math.isfinite(loss)]  # class frequencies settle
        return fmean(late) if late and fmean(late) > 0 else None
    return _computed_chance_loss(ledger)


def _computed_chance_loss(ledger: Ledger) -> float | None:
    """The same by the formula of the loss, from the frequencies or the spread of the targets."""
    kind, outputs = ledger.last("loss.kind"), ledger.last("output.count") or 1
    spread = ledger.first("target.std", "train")
    # Training labels may all have been mixed.
    class_frequencies = ledger.first("class.actual", "train") or ledger.first("class.actual", "val")
    frequencies = ledger.first("target.frequencies", "train") or ledger.first("target.frequencies", "val")
    mean = ledger.first("target.mean", "train", ledger.first("target.mean", "val"))
    if not frequencies and mean is not None and (outputs > 2 or not class_frequencies):  # several outputs per sample
        frequencies = [mean] if 0 <= mean <= 1 else [0.0]
    if kind in ("bce", "bce_logits") and frequencies:  # each label is known by its frequency alone
        entropy = -fmean(weighted_log(one) + weighted_log(1 - one) for one in frequencies)
        return entropy if entropy > 0.01 else None
    if kind in CROSS_ENTROPIES and class_frequencies:
        entropy = -sum(map(weighted_log, class_frequencies))
        return entropy if entropy > 0.01 else None
    if kind in ("mse", "half_mse") and spread:
        return spread**2 if kind == "mse" else spread**2 / 2
    if kind == "l1" and spread:
        return spread * math.sqrt(2 / math.pi)  # of a normal distribution
    return None


def chance_loss_of(ledger: Ledger, phase: str) -> float | None:
    """Loss at chance level of one phase: of squared errors that of its own targets, whose spread may be another."""
    squared = {"mse": 1.0, "half_mse": 0.5}.get(str(ledger.last("loss.kind")))
    spread = [one for one in ledger.values("target.std", phase) if math.isfinite(one)]
    if squared is None or not spread or ledger.has("loss.chance") or ledger.has("curves.start"):
        return chance_loss(ledger)
    return squared * fmean(one**2 for one in spread) or None


def lowest_loss(ledger: Ledger) -> float:
    """Lowest possible loss: for a cross entropy with label smoothing, the entropy of a smoothed label; else 0."""
    smoothing, outputs = ledger.last("loss.option", "label_smoothing") or 0.0, ledger.last("output.count") or 1
    if ledger.last("loss.kind") != "cross_entropy" or not 0 < smoothing < 1 or outputs < 2:
        return 0.0
    other = smoothing / outputs
    return -weighted_log(1 - smoothing + other) - (outputs - 1) * weighted_log(other)


def weighted_log(probability: float) -> float:
    """p log p, a term of the entropy in nats; 0 for p = 0, its limit."""
    return probability * math.log(probability) if probability > 0 else 0.0


def skills(ledger: Ledger, phase: str) -> list[float]:
    """Skill 1 - loss / loss at chance level of every epoch; empty where chance level is not known."""
    chance = chance_loss(ledger)
    if not chance:
        return []
    lowest = lowest_loss(ledger)
    lowest = lowest if lowest < chance else 0.0
    losses = ledger.values("loss.mean", phase)
    return [1 - (loss - lowest) / (chance - lowest) if math.isfinite(loss) else -math.inf for loss in losses]


def accuracies(ledger: Ledger, phase: str) -> dict[int, float]:
    """Epoch -> accuracy as measured, or as reported by the loop for epochs that the budget skipped."""
    found = dict(zip(*ledger.series("accuracy.mean", phase)))
    for metric in ledger.wheres("user.metric"):
        low = metric.lower()
        told_phase = "val" if "val" in low or "test" in low else "train"
        if "acc" not in low or told_phase != phase:
            continue
        told = dict(zip(*ledger.series("user.metric", metric)))
        unit = 100 if max(told.values()) > 1 else 1
        found = {epoch: value / unit for epoch, value in told.items()} | found
    return found


def epoch_samples(ledger: Ledger) -> int:
    """Training samples of an epoch: the maximum over epochs, since skipped steps are not counted."""
    return max(ledger.values("epoch.samples", "train"), default=0)


def has_backward_passes(ledger: Ledger) -> bool:
    """Return whether there are at least half as many backward passes as steps; else training looks like validation."""
    backwards, steps = ledger.last("run.backwards", default=1), ledger.last("run.steps", default=0)
    return backwards > 0 and 2 * backwards >= steps


def has_even_epochs(ledger: Ledger) -> bool:
    """Return whether epochs that end with a validation have the same length.

    They do not where the model is called without gradients at irregular times, as by an agent that acts.
    """
    ends = ledger.values("run.steps")
    lengths = [after - before for before, after in pairwise([0, *ends])]
    whole = lengths[:-1]  # the last may be cut short
    return ledger.last("run.epoch_by") == "epoch()" or not whole or max(lengths) <= 1.1 * min(whole) + 1


def steps_taken(ledger: Ledger) -> int:
    """Training steps so far; more than the losses in the ledger where steps were skipped or thinned out."""
    steps = ledger.series("loss.step")[0]
    return max(int(ledger.last("run.finished", default=0) or 0), max(steps, default=0), len(steps))


def loss_diverged(ledger: Ledger) -> bool:
    """Return whether the loss rose far above its start and the loss at chance level, and did not come back below that.

    A loss that falls afterwards recovers from a bad start or a learning rate that is too high; it does not lack time.
    """
    losses = ledger.values("loss.step")
    if not losses:
        return False
    if not all(map(math.isfinite, losses)):
        return True
    chance = chance_loss(ledger) or 0.0
    start = max(losses[0], chance)
    return (
        start > 0 and max(losses) > MIN_RISE * start and fmean(losses[-max(1, len(losses) // 10) :]) > (chance or start)
    )


def loss_blocks(ledger: Ledger, blocks: int = 10, name: str = "loss.step") -> list[float]:
    """Training loss by step, or another fact, as means of `blocks` equal intervals; fewer where steps are fewer."""
    losses = ledger.values(name)
    size = max(1, len(losses) // blocks)
    return [sum(losses[i : i + size]) / size for i in range(0, len(losses) - size + 1, size)]


def reached_early(ledger: Ledger) -> bool:
    """Return whether the loss was clearly below chance level after the first tenth of the steps, and stayed there.

    A bad start did no harm then. False while the training has hardly begun.
    """
    chance, blocks = chance_loss(ledger), loss_blocks(ledger, EARLY_BLOCKS)
    if not chance or len(blocks) < EARLY_BLOCKS:
        return False
    later = blocks[EARLY_BLOCKS // 10 :]
    return all(map(math.isfinite, later)) and max(later) < EARLY_LEVEL * chance


def finite_median(values: list[float]) -> float | None:
    """Median of the finite values."""
    finite = [v for v in values if math.isfinite(v)]
    return median(finite) if finite else None


def last_loss(ledger: Ledger, phase: str) -> float | None:
    """Mean loss of the last epoch; None if there is none."""
    return (ledger.values("loss.mean", phase) or [None])[-1]


def late_losses(ledger: Ledger) -> tuple[float, float] | None:
    """Mean training loss of the half before the last quarter of the steps, and of the last quarter.

    None without eight finite blocks of steps.
    """
    blocks = loss_blocks(ledger, 8)
    if len(blocks) < 8 or not all(map(math.isfinite, blocks)):
        return None
    quarter = len(blocks) // 4
    return fmean(blocks[-3 * quarter : -quarter]), fmean(blocks[-quarter:])


def descent(ledger: Ledger) -> float | None:
    """Fall of the training loss late in the run (`late_losses`), in fractions of the loss at chance (or the first)."""
    losses = late_losses(ledger)
    if losses is None:
        return None
    return (losses[0] - losses[1]) / max(chance_loss(ledger) or loss_blocks(ledger, 8)[0], 1e-12)


def falls_until_end(ledger: Ledger) -> bool:
    """Return whether the training loss still falls at the end of the run: by much, or as fast as all the time before.

    The latter is so where a small learning rate or few steps leave the loss near its start.
    """
    late, blocks = descent(ledger), loss_blocks(ledger, 8)
    if late is None or not blocks:
        return False
    fallen = (blocks[0] - blocks[-1]) / max(chance_loss(ledger) or blocks[0], 1e-12)
    steadily = all(after < before for before, after in pairwise(blocks)) and late > STEADY_DESCENT * fallen > 0
    return late > MIN_DESCENT or steadily


def is_best_epoch_late(losses: list[float]) -> bool:
    """Return whether the best epoch is among the last tenth of the epochs."""
    return losses.index(min(losses)) >= 0.9 * len(losses) - 1


def epoch_losses_of_splits(ledger: Ledger) -> tuple[list[float], list[float], float] | None:
    """(training losses, validation losses, loss at chance level) by epoch; None unless all are known and finite."""
    train, val = ledger.values("loss.mean", "train"), ledger.values("loss.mean", "val")
    chance = chance_loss(ledger)
    if not chance or len(train) < 2 or len(train) != len(val) or not all(map(math.isfinite, train + val)):
        return None
    return train, val, chance
