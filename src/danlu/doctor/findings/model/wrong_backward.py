"""Finding model.wrong_backward: rule and wording."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.learning import final_skill
from danlu.doctor.drawings.over_time import loss_and_chance
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger

MIN_DIFFERENCE = 0.1  # relative, of two slopes
LEARNT = 0.9  # fraction of the loss at chance level explained; above it another gradient may be meant


def wrong_backward(ledger: Ledger) -> Iterable[Finding]:
    """A torch.autograd.Function whose backward is not the derivative of its forward, a smooth function."""
    differences = ledger.facts("probe.wrong_backward")
    name, difference = max(differences.items(), key=lambda item: item[1], default=("", 0.0))
    if difference > MIN_DIFFERENCE:
        severity = "note" if (final_skill(ledger) or 0.0) >= LEARNT else "error"
        yield Finding("model.wrong_backward", severity, 0.92, name, {"function": name, "difference": difference})


SPEC = FindingSpec(
    code="model.wrong_backward",
    order=178,
    severities=("error", "note"),
    rule=wrong_backward,
    words=Words(
        title="backward() of {function} is not the derivative of its forward()",
        cause=(
            "When the inputs of {function} are moved a little, its outputs change otherwise than its backward() says: the "
            "slopes differ by {difference:%}. All gradients that pass through it are wrong."
        ),
        fix=(
            "Compare it with finite differences, in double precision, and correct the formula; or write the function with "
            "operations of torch, which need no backward()."
        ),
        snippet=(
            "own_function = torch.nn.functional.silu  # the apply method of the function\n"
            "x = torch.randn(8, dtype=torch.float64, requires_grad=True)\n"
            "torch.autograd.gradcheck(own_function, (x,))"
        ),
    ),
    charts=(loss_and_chance,),
    explains=(
        "fit.*",
        "optim.*",
        "gradient.*",
        "activation.*",
        "numerics.nonfinite",
        "data.labels_shuffled",
        "model.too_small",
    ),
    needs=("probe.wrong_backward",),
    concerns=lambda ledger: ledger.has("probe.wrong_backward"),
)
