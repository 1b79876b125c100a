"""Finding optim.oscillation: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from danlu.doctor.derived.curves import finite_start, jumps, lr_is_constant, turns
from danlu.doctor.derived.updates import late_cosines, top_lr, updates_oscillate
from danlu.doctor.drawings.over_time import series
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import CurveJudgement, FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.snippets import COSINE_DECAY


def oscillation(ledger: Ledger) -> Iterable[Finding]:
    """Successive updates point against each other: each step crosses the valley (Cohen et al. 2021)."""
    late = late_cosines(ledger)
    if updates_oscillate(ledger):
        facts = {"cosine": median(late), "measured": len(late), "threshold": -0.75, "lr": top_lr(ledger)}
        yield Finding("optim.oscillation", "warning", min(0.95, 0.3 - 0.65 * median(late)), "", facts)


MIN_CURVE = 10  # evaluations
NOISE = 0.12  # median change of the validation loss from evaluation to evaluation
STRONG_NOISE = 0.3


def noisy_validation(ledger: Ledger) -> Iterable[Finding]:
    """The validation loss jumps up and down from evaluation to evaluation."""
    losses = finite_start(ledger.values("loss.mean", "val"))
    if len(losses) < MIN_CURVE or min(losses) <= 0:
        return
    size = jumps(losses)
    if size > NOISE and turns(losses[len(losses) // 2 :]) > 0.5:
        facts = {"size": size, "evaluations": len(losses), "threshold": NOISE, "constant_lr": lr_is_constant(ledger)}
        severity = "warning" if size > STRONG_NOISE else "note"
        yield Finding("optim.oscillation", severity, 0.6, message("doctor.place.validation", "validation"), facts)


SPEC = FindingSpec(
    code="optim.oscillation",
    order=330,
    severities=(
        "warning",
        "note",
    ),
    rule=oscillation,
    words=Words(
        title="Steps oscillate across a valley",
        cause=(
            "Each update points against the one before (cosine {cosine}, where -1 is exactly opposite; "
            "{measured} measured). At learning rate {lr} the steps cross the valley of the loss and cancel "
            "each other."
        ),
        fix=("Decay the learning rate towards the end of training. A constant lower learning rate is often no better."),
        snippet=COSINE_DECAY,
    ),
    charts=(
        series(
            message("doctor.chart.successive_updates", "Successive updates"),
            message("doctor.chart.cosine", "cosine"),
            "update.cosine",
            levels=[(-0.75, message("doctor.chart.bouncing_below", "bouncing below")), (0.0, "")],
        ),
    ),
    needs=("update.cosine",),
    overcome_at=0.9,
    from_curves=CurveJudgement(
        rule=noisy_validation,
        needs=("loss.mean[val]",),
        words=Words(
            title="The validation loss jumps from evaluation to evaluation",
            cause=(
                "In the second half of {evaluations} evaluations it changed by {size:%} in the median, up as "
                "often as down: the learning rate is too high for the end of training, or the validation set is "
                "small."
            ),
            fix=(
                "Decay the learning rate towards the end (cosine), or average the weights (EMA); compare models "
                "by several evaluations, not by the best one, and enlarge a validation set of a few hundred "
                "samples."
            ),
            snippet=COSINE_DECAY,
        ),
    ),
)
