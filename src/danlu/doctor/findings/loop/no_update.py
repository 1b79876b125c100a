"""Finding loop.no_update: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.updates import zero_lr_fraction
from danlu.doctor.drawings.counts import counts
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message

REASONS = {
    "no_step": message("finding.loop.no_update.no_step", "optimizer.step() is never called"),
    "no_backward": message(
        "finding.loop.no_update.no_backward",
        "backward() is never called, or on something that does not depend on the model",
    ),
    "neither": message("finding.loop.no_update.neither", "neither backward() nor optimizer.step() is called"),
    "other_tensors": message(
        "finding.loop.no_update.other_tensors", "the optimiser holds other tensors than the model's parameters"
    ),
    "unchanged": message("finding.loop.no_update.unchanged", "the optimiser steps, but no weight changes"),
    "zero_gradient": message("finding.loop.no_update.zero_gradient", "every gradient is exactly 0"),
    "zero_lr": message("finding.loop.no_update.zero_lr", "the learning rate is zero, or was in most steps"),
}
IN_ORDER = message("finding.loop.no_update.order", "Run these lines, in this order, for each batch.")
FIXES = {
    "other_tensors": message(
        "finding.loop.no_update.same_model", "Create the optimiser from the parameters of the model that is called."
    ),
    "unchanged": message(
        "finding.loop.no_update.precision",
        "Raise the learning rate: each step is smaller than the precision of the weights.",
    ),
    "zero_gradient": message(
        "finding.loop.no_update.constant",
        "Look for an output that does not depend on the weights: dead ReLUs, a softmax over one output, a sign or a rounding, "
        "a loss that is constant.",
    ),
    "zero_lr": message(
        "finding.loop.no_update.set_lr", "Set a learning rate, or check the schedule that made it zero."
    ),
}  # of the cases where the order of the calls is right


def no_update(ledger: Ledger) -> Iterable[Finding]:
    """Weights that do not change, and the reason."""
    forwards = sum(ledger.last("run.forwards", phase, 0) for phase in ("train", "val"))
    backwards = ledger.last("run.backwards", default=None)
    steps = ledger.last("run.optimizer_steps", default=None)
    facts = {"forwards": forwards, "backwards": backwards, "steps": steps}
    changed = [max(ledger.values("parameter.changed", n)) for n in ledger.wheres("parameter.changed")]
    frozen = bool(changed) and max(changed) == 0 and len(ledger.values("update.norm")) >= 2
    trains = ledger.last("loop.val_in_train", default=0) > 0.5 or ledger.last("loop.val_with_grad", default=0) > 0.5
    case, confidence = None, 0.0
    if steps == 0 and (ledger.last("run.weights_moved") or ledger.last("run.lent_weights") == 2):
        return  # the loop updates them itself
    if steps == 0 and backwards and backwards >= 4:
        case, confidence = "no_step", 0.97
    elif (
        steps and backwards == 0 and steps >= 2 and forwards
    ):  # without recorded calls, the loop may call parts of the model directly
        case, confidence = "no_backward", 0.95
    elif steps == 0 and backwards == 0 and forwards >= 4 and trains:
        case, confidence = "neither", 0.85
    elif _holds_nothing(ledger) and steps:
        case, confidence = "other_tensors", 0.97
    elif frozen:
        rates = [max(ledger.values("optimizer.lr", group)) for group in ledger.wheres("optimizer.lr")]
        zero = max(ledger.values("gradient.norm"), default=1.0) == 0
        unused = rates and (max(rates) == 0 or zero_lr_fraction(ledger) > 0.5)
        case, confidence = "zero_lr" if unused else "zero_gradient" if zero else "unchanged", 0.95
        if case == "zero_gradient":
            confidence = 0.6  # dead units, or outputs that do not fit the loss, are its cause where they are found
    if case is not None:
        facts |= {"reason": REASONS[case], "do": FIXES.get(case, IN_ORDER), "fix": case if case in FIXES else "order"}
        yield Finding("loop.no_update", "error", confidence, "", facts)


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
        cause=(
            "{reason}. So far the model was called {forwards} times, backward() {backwards} times and "
            "optimizer.step() {steps} times."
        ),
        fix="{do}",
        snippet={
            "order": ("optimizer.zero_grad()\nloss = loss_fn(model(x), y)\nloss.backward()\noptimizer.step()"),
            "other_tensors": "optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)",
            "zero_lr": ('for g in optimizer.param_groups:\n    g["lr"] = 1e-3'),
            "unchanged": ('for g in optimizer.param_groups:\n    g["lr"] = 1e-3'),
            "zero_gradient": (
                "loss_fn(model(x), y).backward()\n"
                "for name, p in model.named_parameters():\n"
                "    print(name, None if p.grad is None else p.grad.abs().max().item())"
            ),
        },
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
