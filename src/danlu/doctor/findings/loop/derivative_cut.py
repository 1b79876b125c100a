"""Finding loop.derivative_cut: rule and wording."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.drawings.over_time import loss_and_chance
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger

MIN_STEPS = 5
MIN_FRACTION = 0.8  # of the measured steps


def derivative_cut(ledger: Ledger) -> Iterable[Finding]:
    """A loss of derivatives with respect to the inputs that were computed without a graph."""
    cut = ledger.values("loss.constant_derivative")
    if len(cut) >= MIN_STEPS and sum(cut) >= MIN_FRACTION * len(cut):
        yield Finding("loop.derivative_cut", "error", 0.9, "", {"steps": int(sum(cut)), "measured": len(cut)})


SPEC = FindingSpec(
    code="loop.derivative_cut",
    order=245,
    severities=("error",),
    rule=derivative_cut,
    words=Words(
        title="Derivatives in the loss have no gradient",
        cause=(
            "The outputs are differentiated with respect to the inputs, but the derivatives are constants for the loss "
            "(in {steps} of {measured} steps): no gradient reaches the weights through them, so that the equation they stand in "
            "is not learnt."
        ),
        fix="Give create_graph=True to every torch.autograd.grad whose result the loss uses, also to that of a second derivative.",
        snippet=(
            "x = x.requires_grad_()\n"
            "u = model(x)\n"
            "du = torch.autograd.grad(u.sum(), x, create_graph=True)[0]\n"
            "ddu = torch.autograd.grad(du.sum(), x, create_graph=True)[0]"
        ),
    ),
    charts=(loss_and_chance,),
    explains=("fit.*", "optim.*", "model.unreached", "loop.no_update", "gradient.*", "data.*"),
    needs=("loss.constant_derivative",),
    concerns=lambda ledger: ledger.has("loss.constant_derivative"),
)
