"""Finding fit.overfitting: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from danlu.doctor.derived.progress import epoch_losses_of_splits, is_best_epoch_late, steps_taken
from danlu.doctor.drawings.over_epochs import epoch_losses
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger

MIN_STEPS = 20  # training steps; shorter curves are mostly noise


def overfitting(ledger: Ledger) -> Iterable[Finding]:
    """Validation worsens while training still improves (Prechelt 1998)."""
    course = epoch_losses_of_splits(ledger)
    if course is None or 0 < steps_taken(ledger) < MIN_STEPS:
        return
    train, val, chance = course
    best = val.index(min(val))
    rise, share = (val[-1] - val[best]) / chance, val[-1] / max(val[best], 1e-12)
    gained = (train[best] - train[-1]) / chance
    gap = (val[-1] - train[-1]) / chance
    facts = {"best_epoch": best + 1, "epochs": len(val), "best": val[best], "last": val[-1], "train": train[-1]}
    facts |= {"rise": share - 1, "gap": gap, "threshold": 0.3}
    learnt = 1 - train[-1] / chance > 0.5
    if share > 1.3 and rise > 0.1 and gained > 0.02 and learnt and gap > 0.1:
        yield Finding("fit.overfitting", "warning", min(0.9, 0.6 + rise), "", facts)
    elif learnt and gap > 0.05 and (gap > 0.15 or median(val[-3:]) > 1.05 * val[best]) and not is_best_epoch_late(val):
        yield Finding("fit.overfitting", "note", 0.75, "", facts)


SPEC = FindingSpec(
    code="fit.overfitting",
    order=500,
    severities=(
        "warning",
        "note",
    ),
    rule=overfitting,
    words=Words(
        title="Overfitting",
        cause=(
            "The training loss kept falling to {train}, while the validation loss was lowest in epoch {best_epoch} of "
            "{epochs} ({best}) and is now {last}: the model memorises the training samples."
        ),
        fix=(
            "Keep the weights of epoch {best_epoch}; more data or augmentation, weight decay, dropout or a smaller "
            "model "
            "help further."
        ),
    ),
    charts=(epoch_losses,),
    explains=(
        "model.too_large",
        "fit.trained_too_long",
    ),
    needs=(
        "loss.mean[val]",
        "loss.kind",
    ),
    alone=True,
)
