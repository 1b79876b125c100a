"""Finding data.not_normalised: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable

from danlu.doctor.drawings.counts import columns
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger


def not_normalised(ledger: Ledger) -> Iterable[Finding]:
    """Inputs far from zero mean and unit scale, or columns of very different scale (LeCun et al. 1998, section 4.3)."""
    mean, std = ledger.last("input.mean", "train"), ledger.last("input.std", "train")
    if mean is None or std is None or not (math.isfinite(mean) and math.isfinite(std)):
        return
    if "int" in str(ledger.last("input.dtype", default="")):
        return  # tokens
    order = ledger.facts("layer.order")
    if order and "Norm" in str(ledger.facts("layer.kind").get(min(order, key=order.__getitem__))):
        return  # the first layer normalises
    stds = [s for s in ledger.last("input.feature_stds", "train", []) if s > 0]
    spread = max(stds) / min(stds) if len(stds) > 1 else 1.0
    offset = abs(mean) / max(std, 1e-12)
    facts = {"mean": mean, "std": std, "spread": spread, "offset": offset}
    images = len(ledger.last("input.shape", default=[])) > 2
    if std > 15 or abs(mean) > 15 or std < 1e-3:
        yield Finding("data.not_normalised", "error" if std > 15 or abs(mean) > 15 else "warning", 0.92, "", facts)
    elif (offset > 6 and abs(mean) > 3) or (not images and spread > 50 and max(stds) > 5):
        yield Finding("data.not_normalised", "warning", 0.85, "", facts)


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
        cause=(
            "Their mean is {mean} and their standard deviation {std} (columns differ in scale by a factor of "
            "{spread}): "
            "the first layer's gradients are too large in some directions and too small in others, so no learning "
            "rate fits all."
        ),
        fix=(
            "Standardise with training statistics: x = (x - x_train.mean(0)) / x_train.std(0); for images divide by "
            "255 "
            "and apply torchvision.transforms.v2.Normalize(mean, std)."
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
