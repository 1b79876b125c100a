"""Finding loop.wrong_sign: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import fmean

from danlu.doctor.drawings.over_time import loss_and_chance
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger

# Losses that are best at their minimum; a reward or a critic's score may be maximised.
MINIMISED = (
    *("cross_entropy", "nll", "bce", "bce_logits", "hinge", "kl"),
    *("mse", "half_mse", "l1", "smooth_l1", "huber", "triplet"),
)


def wrong_sign(ledger: Ledger) -> Iterable[Finding]:
    """A loss that should be minimised gets a negative gradient from backward(), and grows."""
    scales = [scale for scale in ledger.values("loss.scale") if math.isfinite(scale)]
    losses = [loss for loss in ledger.values("loss.step") if math.isfinite(loss)]
    if len(scales) < 3 or max(scales) >= 0 or ledger.last("loss.kind") not in MINIMISED or len(losses) < 10:
        return
    start, end = fmean(losses[:3]), fmean(losses[-max(3, len(losses) // 10) :])
    if end > start:
        facts = {"scale": scales[-1], "measured": len(scales), "start": start, "end": end}
        yield Finding("loop.wrong_sign", "error", 0.97, "", facts)


SPEC = FindingSpec(
    code="loop.wrong_sign",
    order=230,
    severities=("error",),
    rule=wrong_sign,
    words=Words(
        title="The loss is maximised instead of minimised",
        cause=(
            "backward() runs on {scale} times the loss, so that every step increases it: it went from {start} to {end}."
        ),
        fix="Remove the minus sign. To maximise on purpose, give the optimiser maximize=True.",
        snippet=("optimizer.zero_grad()\nloss = loss_fn(model(x), y)\nloss.backward()\noptimizer.step()"),
    ),
    charts=(loss_and_chance,),
    explains=(
        "data.label_noise",
        "data.labels_shuffled",
        "fit.*",
        "optim.*",
        "gradient.*",
        "activation.*",
        "numerics.nonfinite",
        "model.bad_init",
        "model.too_small",
        "norm.train_eval_gap",
    ),
    needs=(
        "loss.scale",
        "loss.step",
    ),
)
