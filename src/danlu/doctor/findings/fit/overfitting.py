"""Finding fit.overfitting: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean, median

from danlu.doctor.derived.curves import MIN_POINTS, evaluation, metric_still_improves, start_of
from danlu.doctor.derived.progress import epoch_losses_of_splits, is_best_epoch_late, steps_taken
from danlu.doctor.drawings.over_epochs import epoch_losses
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import CurveJudgement, FindingSpec, Words
from danlu.doctor.ledger import Ledger

MIN_STEPS = 20  # training steps; shorter curves are mostly noise
RISE_BY_CHANCE = 2.5  # of a mean loss over its chance level, for one sample; a few confident mistakes make it
MIN_BENDS = 4  # epochs for them to be known
MIN_SAMPLES = 20  # validation samples; the loss of fewer may rise by a single one


def overfitting(ledger: Ledger) -> Iterable[Finding]:
    """Validation worsens while training still improves (Prechelt 1998)."""
    course = epoch_losses_of_splits(ledger)
    if course is None or 0 < steps_taken(ledger) < MIN_STEPS:
        return
    train, val, chance = course
    best = val.index(min(val))
    end = median(val[-3:])  # one epoch with a high loss is no trend
    rise, ratio = (end - val[best]) / chance, end / max(val[best], 1e-12)
    gained = (train[best] - train[-1]) / chance
    gap = (end - train[-1]) / chance
    facts = {"best_epoch": best + 1, "epochs": len(val), "best": val[best], "last": end, "train": train[-1]}
    facts |= {"rise": ratio - 1, "gap": gap, "threshold": 0.3}
    learnt = 1 - train[-1] / chance > 0.5
    samples = ledger.last("epoch.samples", "val")
    by_chance = RISE_BY_CHANCE / samples**0.5 if samples else 0.0
    by_noise = bends(val) / chance  # of a loss that jumps up and down, whose lowest value is no turning point
    rises = ratio > 1.3 and rise > max(0.1, by_chance, by_noise) and gained > 0.02 and learnt and gap > 0.1
    if rises and (samples or MIN_SAMPLES) >= MIN_SAMPLES:
        yield Finding("fit.overfitting", "warning", min(0.9, 0.6 + rise), "", facts)
    elif learnt and gap > 0.05 and (gap > 0.15 or median(val[-3:]) > 1.05 * val[best]) and not is_best_epoch_late(val):
        yield Finding("fit.overfitting", "note", 0.75, "", facts)


def bends(losses: list[float]) -> float:
    """Median change of the slope from epoch to epoch in the second half; 0 on a line, and for few epochs."""
    late = losses[len(losses) // 2 :]
    found = [abs(after - 2 * here + before) for before, here, after in zip(late, late[1:], late[2:])]
    return median(found) if len(found) >= MIN_BENDS else 0.0


def overfitting_of_curves(ledger: Ledger) -> Iterable[Finding]:
    """The validation loss rises again while the training loss keeps falling; a note where a metric still improves."""
    course, start = epoch_losses_of_splits(ledger), start_of(ledger)
    if course is None or start is None or len(course[1]) < MIN_POINTS:
        return
    train, val, _ = course
    best, late, end = val.index(min(val)), fmean(train[-2:]), median(val[-3:])
    rise, ratio, gained = (end - val[best]) / start, end / max(val[best], 1e-12), (train[best] - late) / start
    facts = {"best_epoch": best + 1, "at": evaluation(ledger, best + 1), "epochs": len(val), "best": val[best]}
    facts |= {"last": val[-1], "train": train[-1], "rise": ratio - 1, "threshold": 0.3}
    if gained < 0.02 or val[-1] < train[-1] or is_best_epoch_late(val):
        return
    if ratio > 1.3 and rise > 0.05 and not metric_still_improves(ledger):
        yield Finding("fit.overfitting", "warning", min(0.9, 0.6 + rise), "", facts)
    elif ratio > 1.05 and rise > 0.01:
        yield Finding("fit.overfitting", "note", 0.7, "", facts)


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
            "The training loss kept falling to {train}, while the validation loss was lowest in epoch "
            "{best_epoch} of {epochs} ({best}) and is now {last}. The model memorises the training samples."
        ),
        fix=(
            "Keep the weights of the best epoch ({best_epoch}). More data, augmentation, weight decay, "
            "dropout or a smaller model help further."
        ),
        snippet=('if val_loss < best_loss:\n    best_loss = val_loss\n    torch.save(model.state_dict(), "best.pt")'),
    ),
    charts=(epoch_losses,),
    explains=(
        "model.too_large",
        "fit.trained_too_long",
    ),
    contradicts=(
        "fit.regularisation_too_strong",
        "fit.underfitting",
        "fit.stopped_early",
        "optim.slow_convergence",
    ),
    needs=(
        "loss.mean[val]",
        "loss.kind",
    ),
    alone=True,
    from_curves=CurveJudgement(
        rule=overfitting_of_curves,
        needs=("loss.mean[val]", "loss.mean[train]", "curves.start"),
        words=Words(
            title="Overfitting",
            cause=(
                "The training loss kept falling to {train}, while the validation loss was lowest at {at} "
                "({best}, evaluation {best_epoch} of {epochs}) and ended at {last}: the model memorises the "
                "training samples."
            ),
            fix=(
                "Keep the weights of {at}; more data or augmentation, weight decay, dropout or a smaller model "
                "help further."
            ),
            snippet=(
                'if val_loss < best_loss:\n    best_loss = val_loss\n    torch.save(model.state_dict(), "best.pt")'
            ),
        ),
    ),
)
