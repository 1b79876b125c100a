"""Finding optim.oscillation: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from danlu.doctor.derived.updates import late_cosines, top_lr, updates_oscillate
from danlu.doctor.drawings.over_time import series
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message


def oscillation(ledger: Ledger) -> Iterable[Finding]:
    """Successive updates point against each other: each step crosses the valley (Cohen et al. 2021)."""
    late = late_cosines(ledger)
    if updates_oscillate(ledger):
        facts = {"cosine": median(late), "measured": len(late), "threshold": -0.75, "lr": top_lr(ledger)}
        yield Finding("optim.oscillation", "warning", min(0.95, 0.3 - 0.65 * median(late)), "", facts)


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
            "Each update points against the one before (cosine {cosine}, {measured} measured): the learning rate {lr} "
            "is at the "
            "edge of what the steepest direction allows, so successive steps cancel."
        ),
        fix=(
            "Decay the learning rate towards the end of training: "
            "torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs), stepped once per epoch. A constant lower "
            "learning rate is often no better here."
        ),
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
)
