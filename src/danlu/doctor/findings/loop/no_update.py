"""Finding loop.no_update: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.drawings.counts import counts
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message


def no_update(ledger: Ledger) -> Iterable[Finding]:
    """Weights that do not change, and the reason."""
    forwards = sum(ledger.last("run.forwards", phase, 0) for phase in ("train", "val"))
    backwards = ledger.last("run.backwards", default=None)
    steps = ledger.last("run.optimizer_steps", default=None)
    facts = {"forwards": forwards, "backwards": backwards, "steps": steps}
    changed = [max(ledger.values("parameter.changed", n)) for n in ledger.wheres("parameter.changed")]
    frozen = bool(changed) and max(changed) == 0 and len(ledger.values("update.norm")) >= 2
    trains = ledger.last("loop.val_in_train", default=0) > 0.5 or ledger.last("loop.val_with_grad", default=0) > 0.5
    reason, confidence = None, 0.0
    if steps == 0 and ledger.last("run.weights_moved"):
        return  # the loop updates them itself
    if steps == 0 and backwards and backwards >= 4:
        reason, confidence = message("finding.loop.no_update.no_step", "optimizer.step() is never called"), 0.97
    elif steps and backwards == 0 and steps >= 2 and forwards:  # a model without recorded calls may be called in parts
        reason = message(
            "finding.loop.no_update.no_backward",
            "backward() is never called, or on something that does not depend on the model",
        )
        confidence = 0.95
    elif steps == 0 and backwards == 0 and forwards >= 4 and trains:
        reason, confidence = (
            message("finding.loop.no_update.neither", "neither backward() nor optimizer.step() is called"),
            0.85,
        )
    elif _holds_nothing(ledger) and steps:
        reason, confidence = (
            message(
                "finding.loop.no_update.other_tensors", "the optimiser holds other tensors than the model's parameters"
            ),
            0.97,
        )
    elif frozen:
        rates = [max(ledger.values("optimizer.lr", group)) for group in ledger.wheres("optimizer.lr")]
        reason, confidence = (
            message("finding.loop.no_update.unchanged", "the optimiser steps, but no weight changes"),
            0.95,
        )
        if rates and max(rates) == 0:
            reason = message("finding.loop.no_update.zero_lr", "the learning rate is zero")
    if reason is not None:
        yield Finding("loop.no_update", "error", confidence, "", facts | {"reason": reason})


def _holds_nothing(ledger: Ledger) -> bool:
    held = ledger.facts("parameter.held")
    return bool(held) and not any(held.values())


SPEC = FindingSpec(
    code="loop.no_update",
    order=240,
    severities=("error",),
    rule=no_update,
    words=Words(
        title="The weights do not change",
        cause="{reason} (passes {forwards}, backward passes {backwards}, optimiser steps {steps}).",
        fix=(
            "The order of a step is: optimizer.zero_grad(); loss = loss_fn(model(x), y); loss.backward(); "
            "optimizer.step(), with optimizer = torch.optim.SGD(model.parameters(), lr=0.05) created from this model."
        ),
    ),
    charts=(
        counts(
            message("doctor.chart.what_was_called_and_how", "What was called, and how often"),
            message("doctor.chart.calls", "calls"),
            [
                ("forwards", message("doctor.chart.forward_passes", "forward passes"), None),
                ("backwards", message("doctor.chart.backward_passes", "backward passes"), None),
                ("steps", message("doctor.chart.optimiser_steps", "optimiser steps"), None),
            ],
        ),
    ),
    explains=(
        "fit.*",
        "optim.*",
        "model.unreached",
        "loop.params_not_in_optimizer",
        "loop.missing_zero_grad",
        "gradient.*",
        "activation.*",
        "model.too_small",
    ),
    needs=("run.optimizer_steps",),
)
