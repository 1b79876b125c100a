"""Finding fit.trained_too_long: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from statistics import median

from danlu.doctor.derived.curves import evaluation
from danlu.doctor.derived.progress import accuracies, epoch_losses_of_splits
from danlu.doctor.drawings.over_epochs import epoch_losses
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import CurveJudgement, FindingSpec, Words
from danlu.doctor.ledger import Ledger


def trained_too_long(ledger: Ledger) -> Iterable[Finding]:
    """The best epoch is long past, and later epochs brought no improvement (Prechelt 1998)."""
    course = epoch_losses_of_splits(ledger)
    if course is None or len(course[1]) < 20:
        return
    _, val, chance = course
    best = val.index(min(val))
    scores = accuracies(ledger, "val")
    peak = max(scores, key=scores.__getitem__) if scores else best + 1
    if best + 1 < 0.6 * len(val) and peak < 0.7 * len(val) and (chance - val[best]) / chance > 0.1:
        facts = {"best_epoch": best + 1, "epochs": len(val), "best": val[best], "last": val[-1], "score_epoch": peak}
        yield Finding("fit.trained_too_long", "note", 0.7, "", facts)


def trained_too_long_of_curves(ledger: Ledger) -> Iterable[Finding]:
    """The same, where the validation loss also ended above its best, with the step or epoch of that evaluation."""
    for finding in trained_too_long(ledger):
        if median(ledger.values("loss.mean", "val")[-3:]) < 1.03 * finding.evidence["best"]:
            continue  # the loss is flat: its best epoch is the best by chance
        at = evaluation(ledger, finding.evidence["best_epoch"])
        yield replace(finding, evidence=finding.evidence | {"at": at})


SPEC = FindingSpec(
    code="fit.trained_too_long",
    order=560,
    severities=("note",),
    rule=trained_too_long,
    words=Words(
        title="Training went on too long",
        cause=(
            "The validation loss was lowest in epoch {best_epoch} of {epochs} ({best}) and ended at {last}; "
            "the later epochs brought no improvement."
        ),
        fix=("Stop when the validation loss has not improved for a fifth of the epochs, and keep the best weights."),
        snippet=('if val_loss < best_loss:\n    best_loss = val_loss\n    torch.save(model.state_dict(), "best.pt")'),
    ),
    charts=(epoch_losses,),
    contradicts=(
        "fit.stopped_early",
        "optim.slow_convergence",
    ),
    needs=(
        "loss.mean[val]",
        "loss.kind",
    ),
    alone=True,
    from_curves=CurveJudgement(
        rule=trained_too_long_of_curves,
        needs=("loss.mean[val]", "loss.mean[train]", "curves.start"),
        words=Words(
            title="Training went on too long",
            cause=(
                "The validation loss was lowest at {at} ({best}, evaluation {best_epoch} of {epochs}) and ended "
                "at {last}; what followed brought no improvement."
            ),
            fix=("Stop when validation has not improved for a fifth of the evaluations, and keep the best weights."),
            snippet=(
                'if val_loss < best_loss:\n    best_loss = val_loss\n    torch.save(model.state_dict(), "best.pt")'
            ),
        ),
    ),
)
