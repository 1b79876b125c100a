"""Finding numerics.updates_lost: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from danlu.doctor.derived.learning import final_skill
from danlu.doctor.derived.updates import top_lr
from danlu.doctor.drawings.over_time import series
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message

MIN_LOST_FRACTION = 0.5  # of the weights with a gradient
MIN_STEPS = 5
GOOD_SKILL = 0.9  # fraction of the loss at chance level explained; above it the loss of updates did no harm


def updates_lost(ledger: Ledger) -> Iterable[Finding]:
    """Weights of 16 bits that most steps leave as they are, since the update is less than the spacing of such numbers."""
    fractions = ledger.values("update.lost")
    if len(fractions) < MIN_STEPS or median(fractions) < MIN_LOST_FRACTION:
        return
    facts = {"fraction": median(fractions), "lr": top_lr(ledger), "measured": len(fractions)}
    good = (final_skill(ledger) or 0.0) >= GOOD_SKILL
    yield Finding("numerics.updates_lost", "note" if good else "warning", 0.92, "", facts)


SPEC = FindingSpec(
    code="numerics.updates_lost",
    order=312,
    severities=("warning", "note"),
    rule=updates_lost,
    words=Words(
        title="Most updates are lost to rounding",
        cause=(
            "At learning rate {lr}, {fraction:%} of the weights that have a gradient are the same after a step as before. The "
            "weights are 16-bit numbers, which have only two or three decimal digits: a smaller change is rounded to none."
        ),
        fix="Keep the weights in float32 and compute in 16 bits by autocast; or use a much higher learning rate.",
        snippet=(
            "model.float()\n"
            'with torch.autocast("cpu", dtype=torch.bfloat16):  # or "cuda"\n'
            "    loss = loss_fn(model(x), y)"
        ),
    ),
    charts=(
        series(
            message("doctor.chart.weights_that_a_step_left", "Weights that a step left as they were"),
            message("doctor.chart.fraction", "fraction"),
            "update.lost",
            percent=True,
        ),
    ),
    explains=("optim.lr_too_low", "optim.slow_convergence", "optim.plateau_minimum", "fit.*", "loop.no_update"),
    needs=("update.lost",),
    concerns=lambda ledger: ledger.has("update.lost"),
)
