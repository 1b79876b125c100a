"""Finding fit.not_learning: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import fmean

from danlu.doctor.derived.curves import is_warming_up, metric_still_improves, start_of, training_curve
from danlu.doctor.derived.labels import mean_rows
from danlu.doctor.derived.progress import (
    accuracies,
    chance_loss,
    chance_loss_of,
    descent,
    epoch_losses_of_splits,
    is_best_epoch_late,
    loss_blocks,
    steps_taken,
)
from danlu.doctor.drawings.over_epochs import epoch_losses
from danlu.doctor.drawings.over_time import loss_and_chance
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import CurveJudgement, FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.loss.loss_kind import SQUARED
from danlu.doctor.phrase import message
from danlu.doctor.snippets import FIT_16_SAMPLES

MIN_STEPS_VALIDATED = 40  # training steps before validation losses at chance level are a finding
MIN_STEPS = 60  # training steps before a training loss at chance level is a finding
MANY_STEPS = 300  # after which it is a warning
SOME_STEPS, SOME_EPOCHS = 150, 8  # the same, where the data were seen this often
MIN_COMPARISONS, MIN_COMPARED = 5, 150  # epochs, and predictions in each, that the loop compares with labels
MAX_FREQUENT = 0.6  # of a class; with a more frequent one, accuracy at chance level is weak evidence
MAX_FAINT_SKILL = 0.05  # of training and validation, which is hardly more than chance level
MIN_SKILL = 0.02  # fraction of the loss at chance level explained
FAR_ABOVE = 100.0  # times the loss at chance level: no training that ends there has learnt, however fast its loss falls
MOVED = 3.0  # times the loss at chance level at the start; batches of the same targets differ less


def not_learning(ledger: Ledger) -> Iterable[Finding]:
    """The loss is no better than that of the best constant answer: in validation, or without one in training."""
    course = epoch_losses_of_splits(ledger)
    if course is None or len(course[1]) < 5:
        yield from list(_by_training_loss(ledger)) or _by_comparisons(ledger)
        return
    if 0 < steps_taken(ledger) < MIN_STEPS_VALIDATED or is_warming_up(ledger):
        return
    train, val, chance = course
    skill, best = 1 - train[-1] / chance, 1 - min(val) / chance
    own = [chance_loss_of(ledger, phase) or chance for phase in ("train", "val")]
    late = [1 - train[-1] / own[0], 1 - min(val) / own[1]]  # by the spread of the targets of each split
    falls = (descent(ledger) or 0.0) > MIN_SKILL and is_best_epoch_late(
        val
    )  # the loss started far above and is still falling
    if best < MIN_SKILL and (is_mostly_frozen(ledger) or not beats_chance(ledger)) and not falls:
        facts = {"skill": skill, "val_skill": best, "epochs": len(val), "chance": chance, "threshold": MIN_SKILL}
        facts["seen"] = message(
            "finding.fit.not_learning.validation",
            "After {epochs} epochs the validation loss was at best {loss}",
            epochs=len(val),
            loss=min(val),
        )
        yield Finding("fit.not_learning", "warning", 0.5, "", facts)
    elif max(late) < MAX_FAINT_SKILL and not beats_chance(ledger):
        facts = {"skill": late[0], "val_skill": late[1], "epochs": len(val), "chance": own[1]}
        facts |= {"threshold": MAX_FAINT_SKILL}
        facts["seen"] = message(
            "finding.fit.not_learning.validation",
            "After {epochs} epochs the validation loss was at best {loss}",
            epochs=len(val),
            loss=min(val),
        )
        yield Finding("fit.not_learning", "note", 0.5, "", facts)


def _by_training_loss(ledger: Ledger) -> Iterable[Finding]:
    """The training loss of the last quarter of the steps, where validation losses are missing or too few."""
    chance, steps, blocks = chance_loss(ledger), steps_taken(ledger), loss_blocks(ledger, 8)
    if targets_move(ledger):
        return
    if not chance or steps < MIN_STEPS or len(blocks) < 8 or not all(map(math.isfinite, blocks)):
        return
    late = fmean(blocks[-2:])
    skill = 1 - late / chance
    far_above = steps >= MANY_STEPS and late > FAR_ABOVE * chance
    still_falling = (descent(ledger) or 0.0) > MIN_SKILL and not far_above
    if skill < MIN_SKILL and not still_falling and not beats_chance(ledger) and not beats_chance(ledger, "train"):
        facts = {"skill": skill, "steps": steps, "loss": late, "chance": chance, "threshold": MIN_SKILL}
        facts["seen"] = message(
            "finding.fit.not_learning.training",
            "After {steps} steps the training loss was {loss}",
            steps=steps,
            loss=late,
        )
        often = steps >= SOME_STEPS and len(ledger.values("loss.mean", "train")) >= SOME_EPOCHS
        often = often and not ledger.facts("layer.recurrent")  # sequences are learnt slowly
        yield Finding("fit.not_learning", "warning" if steps >= MANY_STEPS or often else "note", 0.5, "", facts)


def _by_comparisons(ledger: Ledger) -> Iterable[Finding]:
    """The accuracy of the predictions that the loop compares with labels, where validation has no loss."""
    found, counts = ledger.values("accuracy.compared", "val"), ledger.values("epoch.compared", "val")
    frequencies, steps = mean_rows(ledger.values("class.actual", "train")), steps_taken(ledger)
    if len(found) < MIN_COMPARISONS or steps < SOME_STEPS or min(counts) < MIN_COMPARED or len(frequencies) < 2:
        return
    chance, best = max(frequencies), max(found[len(found) // 2 :])
    spread = math.sqrt(chance * (1 - chance) / counts[-1])
    if chance < MAX_FREQUENT and best < chance + 2 * spread:
        facts = {"accuracy": best, "steps": steps, "chance": chance, "epochs": len(found), "threshold": 2 * spread}
        facts["seen"] = message(
            "finding.fit.not_learning.compared",
            "After {epochs} epochs the accuracy of the predictions that the loop compares with labels was at best {accuracy}",
            epochs=len(found),
            accuracy=best,
        )
        yield Finding("fit.not_learning", "warning", 0.6, "", facts)


def targets_move(ledger: Ledger) -> bool:
    """Return whether the targets of a regression grow in training, as those by a copy of the model do (Q-learning)."""
    levels = [one for one in ledger.values("loss.chance") if math.isfinite(one)]
    third = len(levels) // 3
    return ledger.last("loss.kind") in SQUARED and third >= 2 and fmean(levels[-third:]) > MOVED * fmean(levels[:third])


def beats_chance(ledger: Ledger, phase: str = "val") -> bool:
    """Accuracy in a phase, where there is one, clearly above the frequency of the most frequent class."""
    scores = accuracies(ledger, phase)
    frequencies = ledger.last("class.actual", phase) or ledger.last("class.actual", "train")
    if not scores or not frequencies:
        return False
    guess = max(frequencies)
    return max(scores.values()) > guess + min(0.1, (1 - guess) / 3)


def is_mostly_frozen(ledger: Ledger) -> bool:
    """More than half of the weights are not trained: the others may beat chance level although the loss hardly changes."""
    sizes, trainable = ledger.facts("parameter.size"), ledger.facts("parameter.trainable")
    frozen = sum(sizes.get(name, 0) for name, value in trainable.items() if not value)
    return 2 * frozen > sum(sizes.values())


MIN_CURVE = 5  # points of a training curve


def not_learning_of_curves(ledger: Ledger) -> Iterable[Finding]:
    """The training loss is the same at the end as at the start, and no metric improved."""
    start, losses = start_of(ledger), training_curve(ledger)
    if start is None or len(losses) < MIN_CURVE or not all(map(math.isfinite, ledger.values("loss.step"))):
        return
    first, late = losses[0], fmean(losses[-max(1, len(losses) // 4) :])
    steady = max(losses) < 1.1 * min(losses) and late > 0.98 * first
    if steady and late > 0.01 and not metric_still_improves(ledger):
        facts = {"first": first, "late": late, "threshold": MIN_SKILL}
        yield Finding("fit.not_learning", "warning", 0.6, "", facts)


SPEC = FindingSpec(
    code="fit.not_learning",
    order=530,
    severities=(
        "warning",
        "note",
    ),
    rule=not_learning,
    words=Words(
        title="The model does not learn",
        cause="{seen}; giving the same best answer for every sample reaches {chance}.",
        fix=(
            "Train on 16 samples until the loss is near 0. If that fails, check the model, the loss and the "
            "learning rate. If it works, check that inputs and labels belong together, and that the inputs "
            "determine the answer."
        ),
        snippet=FIT_16_SAMPLES,
    ),
    before_training=Words(
        title="One batch cannot be memorised",
        cause=(
            "After {steps} steps of Adam on the same {samples} samples the loss went from {first} to {last}; a "
            "correct model gets close to zero."
        ),
        fix="Do not train longer: check the model, the loss and the labels first.",
    ),
    charts=(
        epoch_losses,
        loss_and_chance,
    ),
    needs=(
        "loss.step",
        "loss.kind",
    ),
    alone=True,
    from_curves=CurveJudgement(
        rule=not_learning_of_curves,
        needs=("loss.step", "curves.start"),
        words=Words(
            title="The model does not learn",
            cause=("The training loss was {first} at the start and is {late} at the end; no metric improved either."),
            fix=(
                "Overfit one batch first: train on 16 samples until the loss is near zero. If that fails, check "
                "the learning rate, that the optimiser holds the parameters, and that zero_grad(), backward() "
                "and step() are called in this order; if it works, check that inputs and labels belong together."
            ),
            snippet=FIT_16_SAMPLES,
        ),
    ),
)
