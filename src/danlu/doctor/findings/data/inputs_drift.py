"""Finding data.inputs_drift: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

from danlu.doctor.drawings.over_time import series
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.places import TRAINING

MIN_EPOCHS = 3
MIN_STEP, MIN_CHANGE = 1.15, 2.5  # ratio of the deviations of successive epochs, and of the last to the first


def inputs_drift(ledger: Ledger) -> Iterable[Finding]:
    """The scale of the training inputs grows or shrinks from each epoch to the next: something writes into the data."""
    stds = [std for std in ledger.values("input.std", "train") if math.isfinite(std) and std > 0]
    if len(stds) < MIN_EPOCHS:
        return
    steps = [after / before for before, after in pairwise(stds)]
    same_way = min(steps) > MIN_STEP or max(steps) < 1 / MIN_STEP
    if same_way and max(stds) > MIN_CHANGE * min(stds):
        facts = {"first": stds[0], "last": stds[-1], "epochs": len(stds)}
        yield Finding("data.inputs_drift", "error", 0.96, TRAINING, facts)


SPEC = FindingSpec(
    code="data.inputs_drift",
    order=38,
    severities=("error",),
    rule=inputs_drift,
    words=Words(
        title="The training inputs change from epoch to epoch",
        cause=(
            "The standard deviation of the training inputs went from {first} in the first epoch to {last} in epoch {epochs}, always "
            "in the same direction. An operation in place (x -= mean, x /= std) probably writes into the stored samples, so that "
            "they are normalised anew in each epoch."
        ),
        fix="Write the result to a new tensor, or copy the sample first: x = self.x[i].clone().",
        snippet="x = (x - x.mean()) / x.std()  # not: x -= x.mean(); x /= x.std()",
    ),
    charts=(
        series(
            message("doctor.chart.deviation_of_the_inputs", "Standard deviation of the training inputs"),
            message("doctor.chart.standard_deviation", "standard deviation"),
            "input.std",
            x="epoch",
            where="train",
        ),
    ),
    explains=(
        "data.not_normalised",
        "data.split_shift",
        "data.augmentation_harmful",
        "fit.*",
        "optim.*",
        "gradient.*",
        "activation.*",
        "numerics.nonfinite",
        "norm.train_eval_gap",
    ),
    needs=("input.std[train]",),
    alone=True,
)
