"""Finding loop.missing_zero_grad: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from danlu.doctor.drawings.over_time import series
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message

CLEAR = message("finding.loop.missing_zero_grad.clear", "Clear the gradients once per step, before backward().")
IN_CLOSURE = message(
    "finding.loop.missing_zero_grad.in_closure",
    "The optimiser evaluates its closure several times in a step, and each evaluation finds the gradient of the one before in "
    ".grad. PyTorch adds the new gradient to it, so that the optimiser is given sums of gradients at different weights.",
)
CLEAR_IN_CLOSURE = message(
    "finding.loop.missing_zero_grad.clear_in_closure", "Clear the gradients inside the closure, before backward()."
)


def missing_zero_grad(ledger: Ledger) -> Iterable[Finding]:
    """The gradient of the last step is still there when the next backward pass begins.

    The first step of an epoch is ignored: some loops zero the gradients only there.
    """
    again = ledger.values("optimizer.closure_leftover")
    if len(again) >= 2 and sum(again) >= 0.8 * len(again):
        facts = {"measured": len(again), "seen": IN_CLOSURE, "do": CLEAR_IN_CLOSURE, "fix": "closure"}
        yield Finding("loop.missing_zero_grad", "error", 0.97, "", facts)
        return
    first = {end + 1 for end in ledger.values("run.steps")}
    measured = [(s, v) for s, v in zip(*ledger.series("optimizer.leftover_ratio")) if s not in first]
    steps, ratios = [s for s, _ in measured], [v for _, v in measured]
    if len(ratios) < 2:
        return
    kept = [ratio for ratio in ratios if ratio > 0.3]
    if len(kept) >= 0.8 * len(ratios):
        facts = {"fraction": median(kept), "measured": len(ratios), "step": steps[-1], "do": CLEAR, "fix": "step"}
        facts["seen"] = message(
            "finding.loop.missing_zero_grad.seen",
            "When backward() begins, {fraction:%} of the last step's gradient is still in .grad. PyTorch adds the new gradient to "
            "it, so that every step repeats all earlier ones.",
            fraction=facts["fraction"],
        )
        confidence = 0.97 if median(kept) > 0.9 else 0.85
        yield Finding("loop.missing_zero_grad", "error", confidence, "", facts)


SPEC = FindingSpec(
    code="loop.missing_zero_grad",
    order=220,
    severities=("error",),
    rule=missing_zero_grad,
    words=Words(
        title="Gradients accumulate from step to step",
        cause="{seen}",
        fix="{do}",
        snippet={
            "step": "optimizer.zero_grad()\nloss = loss_fn(model(x), y)\nloss.backward()\noptimizer.step()",
            "closure": (
                "optimizer = torch.optim.LBFGS(model.parameters())\n\n\n"
                "def closure():\n"
                "    optimizer.zero_grad()\n"
                "    loss = loss_fn(model(x), y)\n"
                "    loss.backward()\n"
                "    return loss\n\n\n"
                "optimizer.step(closure)"
            ),
        },
    ),
    charts=(
        series(
            message("doctor.chart.gradient_left_over_from_the", "Gradient left over from the step before"),
            message("doctor.chart.fraction_of_the_last_step", "fraction of the last step's gradient"),
            "optimizer.leftover_ratio",
            levels=[(0.0, message("doctor.chart.zeroed", "zeroed"))],
            percent=True,
        ),
    ),
    explains=(
        "data.label_noise",
        "optim.*",
        "gradient.exploding",
        "numerics.nonfinite",
        "fit.*",
        "activation.*",
    ),
    needs=("optimizer.leftover_ratio",),
)
