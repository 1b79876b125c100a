"""Finding loop.optimizer_recreated: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.drawings.over_time import loss_with_restarts
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger


def optimizer_recreated(ledger: Ledger) -> Iterable[Finding]:
    """A new optimiser for the same parameters: momentum and the averages of Adam start at zero again."""
    steps, _ = ledger.series("optimizer.replaced")
    lost = [
        s for label in ledger.wheres("optimizer.state_lost") for s in ledger.series("optimizer.state_lost", label)[0]
    ]
    times = len(steps) + len(lost)
    if not times:
        return
    kinds = set(ledger.facts("optimizer.kind").values())
    momentum = max(
        (max(ledger.values("optimizer.momentum", g)) for g in ledger.wheres("optimizer.momentum")), default=0
    )
    has_memory = momentum > 0 or kinds - {"SGD"}
    severity = "warning" if has_memory else "note"
    facts = {"times": times, "steps": (steps + lost)[:8], "momentum": momentum}
    yield Finding("loop.optimizer_recreated", severity, 0.95 if times > 1 else 0.6, "", facts)


SPEC = FindingSpec(
    code="loop.optimizer_recreated",
    order=260,
    severities=(
        "warning",
        "note",
    ),
    rule=optimizer_recreated,
    words=Words(
        title="The optimiser is recreated during training ({times} times)",
        cause=(
            "A new optimiser starts without momentum and without Adam's averages; at steps {steps} the state was lost."
        ),
        fix=(
            "Create the optimiser once, before the loop over epochs; change its learning rate with a scheduler or "
            "optimizer.param_groups[0]['lr'] = ..."
        ),
    ),
    charts=(loss_with_restarts,),
    explains=(
        "data.label_noise",
        "optim.slow_convergence",
        "optim.lr_too_low",
        "fit.underfitting",
    ),
    needs=("optimizer.kind",),
)
