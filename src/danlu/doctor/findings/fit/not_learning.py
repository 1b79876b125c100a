"""Finding fit.not_learning: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.progress import accuracies, both_losses, descent, still_falls
from danlu.doctor.drawings.over_time import epoch_losses
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger


def not_learning(ledger: Ledger) -> Iterable[Finding]:
    """After all epochs no better on validation than the best constant answer, and nothing graver was found."""
    course = both_losses(ledger)
    if course is None or len(course[1]) < 5:
        return
    train, val, chance = course
    skill, best = 1 - train[-1] / chance, 1 - min(val) / chance
    falls = (descent(ledger) or 0.0) > 0.02 and still_falls(val)  # from far above: it has not had its time
    if best < 0.02 and (mostly_frozen(ledger) or not beats_guessing(ledger)) and not falls:
        facts = {"skill": skill, "val_skill": best, "epochs": len(val), "chance": chance, "threshold": 0.02}
        yield Finding("fit.not_learning", "warning", 0.5, "", facts)


def beats_guessing(ledger: Ledger) -> bool:
    """Accuracy on validation, where there is one, clearly above the fraction of the commonest class."""
    scores, shares = accuracies(ledger, "val"), ledger.last("class.actual", "val")
    if not scores or not shares:
        return False
    guess = max(shares)
    return max(scores.values()) > guess + min(0.1, (1 - guess) / 3)


def mostly_frozen(ledger: Ledger) -> bool:
    """More than half of the weights are not trained: the rest may beat chance level and yet hardly move the loss."""
    sizes, trainable = ledger.facts("parameter.size"), ledger.facts("parameter.trainable")
    frozen = sum(sizes.get(name, 0) for name, value in trainable.items() if not value)
    return 2 * frozen > sum(sizes.values())


SPEC = FindingSpec(
    code="fit.not_learning",
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
