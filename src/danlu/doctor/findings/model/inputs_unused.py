"""Finding model.inputs_unused: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from danlu.doctor.derived.input_statistics import are_tokens
from danlu.doctor.drawings.counts import counts
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message

MIN_FRACTION = 0.5  # of the positions along an axis


def inputs_unused(ledger: Ledger) -> Iterable[Finding]:
    """No output depends on the inputs, or on most of the positions along an axis, or the first output is cut off from them."""
    used, shape = ledger.last("probe.used_inputs"), ledger.last("input.shape", default=[])
    if used is None or (are_tokens(ledger) and "int" not in ledger.last("input.dtype", default="")):
        return  # no gradient passes through the rounding of tokens that are stored as floats
    if used == 0:
        facts: dict[str, Any] = {"used": 0.0, "unused": 1.0}
        facts["problem"] = message(
            "finding.model.inputs_unused.none",
            "The gradient of the outputs with respect to the inputs is exactly 0: the outputs are constant, or cut off from the inputs",
        )
        facts["title"] = message("finding.model.inputs_unused.any", "The outputs do not depend on the inputs")
        yield Finding("model.inputs_unused", "warning", 0.6, "", facts)
        return
    if ledger.last("probe.cut_output"):
        facts = {"used": used, "unused": 1 - used}
        facts["problem"] = message(
            "finding.model.inputs_unused.cut",
            "The first output of the model changes with the inputs, but no gradient passes from it to them: its error trains "
            "only what follows the place where it is cut off",
        )
        facts["title"] = message("finding.model.inputs_unused.cut_title", "The first output is cut off from the inputs")
        yield Finding("model.inputs_unused", "warning", 0.8, "", facts)
        return
    axes = ledger.facts("probe.unused_inputs")
    where, fraction = max(axes.items(), key=lambda item: item[1], default=("", 0.0))
    axis = int(where.removeprefix("axis") or 0)
    if fraction <= MIN_FRACTION or axis >= len(shape):
        return
    facts = {"used": 1 - fraction, "unused": fraction, "axis": axis, "positions": shape[axis]}
    facts["problem"] = message(
        "finding.model.inputs_unused.axis",
        "Of the {positions} positions in dimension {axis} of the inputs (shape {shape}) the outputs depend on {used:.0f}; the others have no effect",
        positions=shape[axis],
        axis=axis,
        shape=shape,
        used=round((1 - fraction) * shape[axis]),
    )
    facts["title"] = message("finding.model.inputs_unused.most", "The outputs do not depend on most of the inputs")
    yield Finding("model.inputs_unused", "warning", 0.85, "", facts)


SPEC = FindingSpec(
    code="model.inputs_unused",
    order=196,
    severities=("warning",),
    rule=inputs_unused,
    words=Words(
        title="{title}",
        cause="{problem}.",
        fix=(
            "Follow the tensor through forward(). An index such as x[:, 0] takes only the first time step; "
            "a recurrent layer has seen the whole sequence at x[:, -1]. A detach, a constant or dead units "
            "cut off the inputs."
        ),
    ),
    charts=(
        counts(
            message("doctor.chart.positions_of_the_inputs", "Positions of the inputs"),
            message("doctor.chart.fraction", "fraction"),
            [
                ("used", message("doctor.chart.used", "used"), False),
                ("unused", message("doctor.chart.unused", "without effect"), True),
            ],
        ),
    ),
    explains=(
        "fit.*",
        "optim.*",
        "model.too_small",
        "data.labels_shuffled",
        "activation.collapsed",
        "gradient.vanishing",
    ),
    needs=("probe.used_inputs",),
)
