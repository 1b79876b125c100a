"""Finding loop.gradients_discarded: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from danlu.doctor.drawings.over_time import series
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message

MIN_FRACTION = 0.8  # of the steps with several micro-batches
MIN_STEPS = 3


def gradients_discarded(ledger: Ledger) -> Iterable[Finding]:
    """Gradients of several batches before each step, all but the last of which are cleared."""
    fractions = ledger.values("optimizer.discarded")
    lost = [fraction for fraction in fractions if fraction > 0]
    if len(lost) < MIN_STEPS or len(lost) < MIN_FRACTION * len(fractions):
        return
    fraction = median(lost)
    facts = {"fraction": fraction, "batches": round(1 / (1 - fraction)), "measured": len(fractions)}
    yield Finding("loop.gradients_discarded", "error", 0.95, "", facts)


SPEC = FindingSpec(
    code="loop.gradients_discarded",
    order=225,
    severities=("error",),
    rule=gradients_discarded,
    words=Words(
        title="The gradients of most batches are cleared before they are used",
        cause=(
            "backward() runs for {batches} batches before each optimizer.step(), but the gradients are cleared before each "
            "of these batches. The step uses that of the last batch alone: {fraction:%} of the batches are computed in vain."
        ),
        fix=(
            "Call optimizer.step() for each batch; or, to accumulate gradients, clear them only after the step, and divide "
            "the loss by the number of batches."
        ),
        snippet=(
            "k = 4  # batches per step\n"
            "for i, (x, y) in enumerate(loader):\n"
            "    (loss_fn(model(x), y) / k).backward()\n"
            "    if (i + 1) % k == 0:\n"
            "        optimizer.step()\n"
            "        optimizer.zero_grad()"
        ),
    ),
    charts=(
        series(
            message("doctor.chart.gradients_cleared_before_the_step", "Gradients cleared before the step"),
            message("doctor.chart.fraction_of_the_batches", "fraction of the batches"),
            "optimizer.discarded",
            percent=True,
        ),
    ),
    explains=("optim.*", "fit.*"),
    needs=("optimizer.discarded",),
    concerns=lambda ledger: ledger.has("optimizer.discarded"),
    alone=True,
)
