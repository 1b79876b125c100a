"""Finding loop.optimizer_recreated: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.drawings.over_time import loss_with_restarts
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message

STATE = message(
    "finding.loop.optimizer_recreated.state", "Momentum and the running averages of Adam start from 0 again each time."
)
NO_STATE = message(
    "finding.loop.optimizer_recreated.no_state", "SGD without momentum keeps no state, so that nothing is lost."
)


def optimizer_recreated(ledger: Ledger) -> Iterable[Finding]:
    """A new optimiser for the same parameters: momentum and the averages of Adam start at zero again."""
    steps, _ = ledger.series("optimizer.replaced")
    if ledger.last("optimizer.alternates"):
        steps = []  # both are used on, as for two losses of one model
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
    facts["lost"] = STATE if has_memory else NO_STATE
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
        title="The optimiser is recreated during training (times: {times})",
        cause="At the steps {steps} a new optimiser took over the same parameters. {lost}",
        fix=("Create the optimiser once, before the loop over epochs, and change its learning rate with a scheduler."),
        snippet=(
            "optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)\n"
            "scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)\n"
            "for epoch in range(epochs):\n"
            "    for x, y in loader:\n"
            "        optimizer.zero_grad()\n"
            "        loss = loss_fn(model(x), y)\n"
            "        loss.backward()\n"
            "        optimizer.step()\n"
            "    scheduler.step()"
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
