"""Finding data.not_normalised: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from danlu.doctor.derived.input_statistics import are_tokens
from danlu.doctor.derived.learning import final_skill
from danlu.doctor.drawings.counts import columns
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.places import column_name
from danlu.message import Message

UNEVEN = message(
    "finding.data.not_normalised.uneven",
    "The gradient of each weight of the first layer grows with its input, so that no learning rate fits all weights.",
)
BYTES = message("finding.data.not_normalised.bytes", "divide images of 0 to 255 by 255 first")
TOO_SMALL = message(
    "finding.data.not_normalised.too_small",
    "Differences this small hardly change the outputs of the first layer, so that all samples look alike to the network.",
)
SCALED_TWICE = message("finding.data.not_normalised.scaled_twice", "check that they are not divided by 255 twice")
TINY = 0.01  # standard deviation of inputs that hardly change the outputs of a fresh layer
NARROW = 5.0  # mean over standard deviation, of inputs that are nearly the same number
MIN_SKILL = 0.5  # fraction of the loss at chance level explained; above it small inputs did no harm


def not_normalised(ledger: Ledger) -> Iterable[Finding]:
    """Inputs far from zero mean and unit scale, or columns of very different scale (LeCun et al. 1998, section 4.3)."""
    mean, std = ledger.last("input.mean", "train"), ledger.last("input.std", "train")
    if mean is None or std is None or not (math.isfinite(mean) and math.isfinite(std)):
        return
    if are_tokens(ledger):
        if not ledger.has("input.as_numbers"):
            return
        mean, std = ledger.last("input.as_numbers")
    order = ledger.facts("layer.order")
    if order and "Norm" in str(ledger.facts("layer.kind").get(min(order, key=order.__getitem__))):
        return  # the first layer normalises
    stds = [s for s in ledger.last("input.feature_stds", "train", []) if s > 0]
    spread = max(stds) / min(stds) if len(stds) > 1 else 1.0
    offset = abs(mean) / max(std, 1e-12)
    facts: dict[str, Any] = {"mean": mean, "std": std, "spread": spread, "offset": offset}
    facts["columns"] = _columns_text(ledger) if spread > 10 else ""
    tiny = std < TINY or (std < NARROW * TINY and offset > NARROW)
    skill = final_skill(ledger)
    facts |= {"effect": TOO_SMALL, "first": SCALED_TWICE} if tiny else {"effect": UNEVEN, "first": BYTES}
    images = len(ledger.last("input.shape", default=[])) > 2
    if std > 15 or abs(mean) > 15 or std < 1e-3:
        yield Finding("data.not_normalised", "error" if std > 15 or abs(mean) > 15 else "warning", 0.92, "", facts)
    elif tiny and skill is not None and skill < MIN_SKILL:
        yield Finding("data.not_normalised", "warning", 0.9, "", facts)
    elif (offset > 6 and abs(mean) > 3) or (not images and spread > 50 and max(stds) > 5):
        yield Finding("data.not_normalised", "warning", 0.85, "", facts)


def _columns_text(ledger: Ledger) -> Message:
    """Sentence on the columns (or channels) with the largest and the smallest standard deviation.

    They are named if the trainer passed names, otherwise numbered from 0.
    """
    stds = {k: std for k, std in enumerate(ledger.last("input.feature_stds", "train", [])) if std > 0}
    wide, narrow = max(stds, key=stds.__getitem__), min(stds, key=stds.__getitem__)
    return message(
        "finding.data.not_normalised.columns",
        " Column {wide} has a standard deviation of {most}, column {narrow} one of {least}.",
        wide=column_name(ledger, wide),
        most=stds[wide],
        narrow=column_name(ledger, narrow),
        least=stds[narrow],
    )


SPEC = FindingSpec(
    code="data.not_normalised",
    order=40,
    severities=(
        "error",
        "warning",
    ),
    rule=not_normalised,
    words=Words(
        title="Inputs are not normalised",
        cause=("The inputs have mean {mean} and standard deviation {std}; usual are 0 and 1.{columns} {effect}"),
        fix="Standardise the inputs with the mean and the standard deviation of the training set; {first}.",
        snippet=(
            "mean, std = x_train.mean(0), x_train.std(0).clamp(min=1e-6)\n"
            "x_train, x_val = (x_train - mean) / std, (x_val - mean) / std"
        ),
    ),
    charts=(columns,),
    explains=(
        "model.inputs_unused",
        "numerics.nonfinite",
        "model.bad_init",
        "optim.lr_too_high",
        "optim.oscillation",
        "optim.momentum_too_high",
        "optim.no_warmup",
        "gradient.exploding",
        "gradient.vanishing",
        "activation.*",
        "fit.*",
        "optim.clipping_always",
        "optim.plateau_saddle",
        "optim.plateau_minimum",
        "optim.slow_convergence",
        "optim.lr_too_low",
    ),
    needs=("input.mean[train]",),
)
