"""Finding optim.clipping_always: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from danlu.doctor.derived.progress import finite_median
from danlu.doctor.derived.updates import are_adaptive, clip_ratios
from danlu.doctor.drawings.over_time import pair
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message

MIN_ADAPTIVE_LIMIT = 1e-3  # norm below which the eps of Adam shortens the steps


def clipping_always(ledger: Ledger) -> Iterable[Finding]:
    """Nearly every step is clipped: its length is learning rate x limit for any gradient (Zhang et al. 2020)."""
    ratios = clip_ratios(ledger)
    if len(ratios) < 5:
        return
    clipped = sum(ratio < 0.95 for ratio in ratios) / len(ratios)
    limit = finite_median(ledger.values("gradient.norm"))
    raw = finite_median([r for r in ledger.values("gradient.raw_norm") if r < 1e20])
    facts = {"clipped": clipped, "fraction": median(ratios), "limit": limit, "raw": raw, "threshold": 0.9}
    facts["above"] = 2 * (raw or 1.0)
    if are_adaptive(ledger) and (limit or 0.0) > MIN_ADAPTIVE_LIMIT:
        return  # the length of the steps does not depend on that of the gradients
    if clipped >= 0.9 and median(ratios) < 0.5:
        yield Finding("optim.clipping_always", "warning", 0.9, "", facts)
    elif clipped >= 0.7 and median(ratios) < 0.7:
        yield Finding("optim.clipping_always", "note", 0.7, "", facts)


SPEC = FindingSpec(
    code="optim.clipping_always",
    order=370,
    severities=(
        "warning",
        "note",
    ),
    rule=clipping_always,
    words=Words(
        title="Nearly every step is clipped",
        cause=(
            "{clipped:%} of the steps are clipped: gradients of norm {raw} are scaled down to {limit}. So "
            "the limit, not the learning rate, determines the length of the steps."
        ),
        fix="Raise the limit above the usual norm, so that it only clips the rare large gradients.",
        snippet="torch.nn.utils.clip_grad_norm_(model.parameters(), {above})",
    ),
    charts=(
        pair(
            message("doctor.chart.norm_of_the_gradient", "Norm of the gradient"),
            message("doctor.chart.norm_all_parameters", "norm, all parameters"),
            ("gradient.raw_norm", "", message("doctor.chart.before_clipping", "before clipping")),
            ("gradient.norm", "", message("doctor.chart.as_used", "as used")),
            log=True,
        ),
    ),
    explains=(
        "optim.lr_too_low",
        "optim.slow_convergence",
        "fit.underfitting",
    ),
    needs=("gradient.clip_ratio",),
    overcome_at=0.9,
)
