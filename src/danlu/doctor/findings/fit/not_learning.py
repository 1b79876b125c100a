"""Finding fit.not_learning: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.progress import accuracies, descent, epoch_losses_of_splits, is_best_epoch_late
from danlu.doctor.drawings.over_time import epoch_losses
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger


def not_learning(ledger: Ledger) -> Iterable[Finding]:
    """Validation is no better than the best constant answer after all epochs."""
    course = epoch_losses_of_splits(ledger)
    if course is None or len(course[1]) < 5:
        return
    train, val, chance = course
    skill, best = 1 - train[-1] / chance, 1 - min(val) / chance
    falls = (descent(ledger) or 0.0) > 0.02 and is_best_epoch_late(
        val
    )  # the loss started far above and is still falling
    if best < 0.02 and (is_mostly_frozen(ledger) or not beats_chance(ledger)) and not falls:
        facts = {"skill": skill, "val_skill": best, "epochs": len(val), "chance": chance, "threshold": 0.02}
        yield Finding("fit.not_learning", "warning", 0.5, "", facts)


def beats_chance(ledger: Ledger) -> bool:
    """Accuracy on validation, where there is one, clearly above the frequency of the most frequent class."""
    scores, shares = accuracies(ledger, "val"), ledger.last("class.actual", "val")
    if not scores or not shares:
        return False
    guess = max(shares)
    return max(scores.values()) > guess + min(0.1, (1 - guess) / 3)


def is_mostly_frozen(ledger: Ledger) -> bool:
    """More than half of the weights are not trained: the others may beat chance level although the loss hardly changes."""
    sizes, trainable = ledger.facts("parameter.size"), ledger.facts("parameter.trainable")
    frozen = sum(sizes.get(name, 0) for name, value in trainable.items() if not value)
    return 2 * frozen > sum(sizes.values())


SPEC = FindingSpec(
    code="fit.not_learning",
    order=530,
    severities=("warning",),
    rule=not_learning,
    words=Words(
        title="Nothing is learnt",
        cause=(
            "After {epochs} epochs the validation loss is no better than that of the best constant answer ({chance}), "
            "and no graver fault was found."
        ),
        fix=(
            "Overfit one batch first: train on 16 samples until the loss is near zero. If that works, check that inputs "
            "and labels belong together and that the inputs can tell the answer."
        ),
    ),
    before_training=Words(
        title="One batch cannot be learnt by heart",
        cause=(
            "After {steps} steps of Adam on the same {samples} samples the loss went from {first} to {last}; a sound "
            "model goes close to zero."
        ),
        fix="Do not train longer: look at the model, the loss and the labels first.",
    ),
    charts=(epoch_losses,),
    needs=(
        "loss.mean[val]",
        "loss.kind",
    ),
)
