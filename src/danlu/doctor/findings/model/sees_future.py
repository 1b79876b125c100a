"""Finding model.sees_future: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.learning import final_skill
from danlu.doctor.drawings.counts import against_threshold
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message

MIN_CHANGE = 0.01  # relative to the deviation of the outputs
MIN_EXACT_CHANGE = 1e-4  # where rounding is that of float32; early in training a leak is hardly used yet
MASK = message(
    "finding.model.sees_future.mask",
    "Give attention a causal mask, use no bidirectional layers, and pad convolutions on the left only.",
)
SAME = message(
    "finding.model.sees_future.same",
    "The targets are the items of the inputs at the same positions, not the next ones, and the model reads from left to right.",
)
COLUMN = message(
    "finding.model.sees_future.column",
    "A column or time step of the inputs equals the target in every sample that was compared.",
)
DROP = message(
    "finding.model.sees_future.drop",
    "Remove the column from the inputs; for a series, end the window before the value that is to be predicted.",
)
MIN_BATCHES = 3
SOLVED = 0.8  # fraction of the loss at chance level explained
SHIFT = message("finding.model.sees_future.shift", "Shift the targets by one: each prediction is of the next item.")


def sees_future(ledger: Ledger) -> Iterable[Finding]:
    """A prediction changes with the item that it should predict, or that item is at the same place of the inputs."""
    change, copies = ledger.last("probe.future", default=0.0), ledger.last("probe.copies")
    exact = ledger.last("run.precision") in ("float32", "float64")
    least = MIN_EXACT_CHANGE if exact else MIN_CHANGE
    if change > least:
        facts = {"change": change, "threshold": least, "fix": "mask", "do": MASK}
        facts["seen"] = message(
            "finding.model.sees_future.later",
            "The targets are the items that the model is given, shifted by one. When the second half of the sequences was replaced, "
            "the predictions for the first half changed by {change:%} of their standard deviation.",
            change=change,
        )
        yield Finding("model.sees_future", "error", 0.97, "", facts)
    elif copies is not None and copies <= MIN_CHANGE:  # a causal model; others may reconstruct a sequence on purpose
        facts = {"change": copies, "threshold": MIN_CHANGE, "fix": "shift", "do": SHIFT, "seen": SAME}
        yield Finding("model.sees_future", "error", 0.95, "", facts)
    elif holds_target(ledger):
        facts = {"change": 0.0, "threshold": MIN_CHANGE, "fix": "", "do": DROP, "seen": COLUMN}
        yield Finding("model.sees_future", "error", 0.95, "", facts)


def holds_target(ledger: Ledger) -> bool:
    """Return whether a column of the inputs equals the target in every batch that was compared."""
    compared = ledger.values("input.holds_target")
    if ledger.last("target.kind") != "values" and not _is_solved(ledger):
        return False
    return len(compared) >= MIN_BATCHES and min(compared) == 1


def _is_solved(ledger: Ledger) -> bool:
    """Return whether the only loss is near 0, as it is where a column holds the class; a domain may be known from one."""
    return ledger.last("loss.terms", default=1) == 1 and (final_skill(ledger) or 0.0) >= SOLVED


SPEC = FindingSpec(
    code="model.sees_future",
    order=174,
    severities=("error",),
    rule=sees_future,
    words=Words(
        title="The model sees the items that it should predict",
        cause="{seen} The answer is among the inputs, so that a low loss says nothing about predicting.",
        fix="{do}",
        snippet={
            "mask": "mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])",
            "shift": "inputs, targets = x[:, :-1], x[:, 1:]",
        },
    ),
    charts=(
        against_threshold(
            message("doctor.chart.effect_of_later_items", "Effect of later items on earlier predictions"),
            message("doctor.chart.change_in_deviations", "change in deviations"),
            "change",
        ),
    ),
    explains=("fit.*", "optim.*", "data.leak"),
    needs=("input.shape",),
    concerns=lambda ledger: ledger.has("probe.future") or ledger.has("probe.copies") or holds_target(ledger),
)
