"""Finding data.targets_not_scaled: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.progress import chance_loss, finite_median, loss_diverged, skills
from danlu.doctor.drawings.counts import counts
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.loss.loss_kind import SQUARED
from danlu.doctor.phrase import message

MAX_DEVIATION = 20.0  # standard deviation, or mean, of targets that a network reaches without scaling
MIN_TOTAL = 10.0  # of the sum of losses to the first of them, from which the others decide on each step
MIN_SKILL = 0.5  # fraction of the loss at chance level explained; above it the scale did no harm


def targets_not_scaled(ledger: Ledger) -> Iterable[Finding]:
    """Targets of a regression far from the scale of a network's outputs, which start near 0 with a deviation near 1."""
    if ledger.last("loss.kind") not in SQUARED:
        yield from _of_second_loss(ledger)
        return
    mean, std = (ledger.last(f"target.{name}", "train") for name in ("mean", "std"))
    if mean is None or std is None or max(abs(mean), std) <= MAX_DEVIATION:
        return
    skill, chance = (skills(ledger, "train") or [None])[-1], chance_loss(ledger)
    facts = {"mean": mean, "std": std, "skill": skill, "chance": chance, "threshold": MAX_DEVIATION}
    harmful = loss_diverged(ledger) or ledger.has("nonfinite.step") or skill is None or skill < MIN_SKILL
    if harmful:
        yield Finding("data.targets_not_scaled", "error", 0.96, "", facts)
    elif skill is not None and skill < 0.9:
        yield Finding("data.targets_not_scaled", "note", 0.6, "", facts)


def _of_second_loss(ledger: Ledger) -> Iterable[Finding]:
    """The same for a squared error that is added to a classification loss and dominates it."""
    mean, std = ledger.last("loss.other_targets", default=(0.0, 0.0))
    skill, chance = (skills(ledger, "train") or [None])[-1], chance_loss(ledger)
    total, own = (finite_median(ledger.values(name)) for name in ("loss.total", "loss.step"))
    drowns = total is not None and own is not None and total > MIN_TOTAL * own
    if drowns and max(abs(mean), std) > MAX_DEVIATION and skill is not None and skill < MIN_SKILL:
        facts = {"mean": mean, "std": std, "skill": skill, "chance": chance, "threshold": MAX_DEVIATION}
        yield Finding("data.targets_not_scaled", "error", 0.93, "", facts)


SPEC = FindingSpec(
    code="data.targets_not_scaled",
    order=115,
    severities=(
        "error",
        "note",
    ),
    rule=targets_not_scaled,
    words=Words(
        title="The targets are not scaled",
        cause=(
            "The targets have mean {mean} and standard deviation {std}, while the outputs of a network "
            "start near 0 with a deviation near 1. Errors and gradients are as large as the targets, so "
            "that a usual learning rate is too high for the hidden layers and too low to reach such values."
        ),
        fix=(
            "Train on standardised targets and turn the predictions back: prediction = output * std + mean. "
            "Take the logarithm of prices and counts first."
        ),
        snippet=("mean, std = y_train.mean(), y_train.std()\ny_train = (y_train - mean) / std"),
    ),
    charts=(
        counts(
            message("doctor.chart.scale_of_the_targets", "Scale of the targets"),
            message("doctor.chart.value", "value"),
            [
                ("mean", message("doctor.chart.mean", "mean"), True),
                ("std", message("doctor.chart.standard_deviation", "standard deviation"), True),
                ("threshold", message("doctor.chart.allowed", "allowed"), False),
            ],
            log=True,
        ),
    ),
    explains=(
        "model.inputs_unused",
        "optim.*",
        "gradient.*",
        "activation.*",
        "numerics.nonfinite",
        "fit.*",
        "model.bad_init",
        "model.too_small",
        "data.labels_shuffled",
    ),
    needs=("target.std[train]",),
    concerns=lambda ledger: ledger.last("target.kind") == "values" or ledger.has("loss.other_targets"),
)
