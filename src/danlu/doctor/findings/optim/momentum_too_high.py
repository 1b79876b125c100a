"""Finding optim.momentum_too_high: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable

from danlu.doctor.derived.progress import chance_loss, loss_blocks, steps_taken
from danlu.doctor.derived.updates import HEAVY_MOMENTUM, top_lr, top_momentum
from danlu.doctor.drawings.over_time import rising_loss
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger


def momentum_too_high(ledger: Ledger) -> Iterable[Finding]:
    """A gradient acts for 1 / (1 - momentum) steps: too many overshoot the minimum (Sutskever et al. 2013)."""
    momentum, losses = top_momentum(ledger), ledger.values("loss.step")
    if momentum < HEAVY_MOMENTUM or len(losses) < 20:
        return
    reach = 1 / max(1 - momentum, 1e-9)
    blocks = loss_blocks(ledger, 20)
    scale = max(chance_loss(ledger) or 0.0, blocks[0], 1e-12)
    low = blocks.index(min(blocks))
    bounce = (max(blocks[low:]) - blocks[low]) / scale if all(map(math.isfinite, blocks)) else math.inf
    steps = steps_taken(ledger)
    facts = {"momentum": momentum, "reach": reach, "steps": steps, "bounce": bounce, "lr": top_lr(ledger)}
    facts["effective"] = top_lr(ledger) * reach
    if bounce > 0.15:
        yield Finding("optim.momentum_too_high", "error" if bounce > 0.5 else "warning", 0.9, "", facts)
    elif reach > 0.2 * steps:
        yield Finding("optim.momentum_too_high", "note", 0.7, "", facts)


SPEC = FindingSpec(
    code="optim.momentum_too_high",
    order=350,
    severities=(
        "error",
        "warning",
        "note",
    ),
    rule=momentum_too_high,
    words=Words(
        title="Momentum is too high",
        cause=(
            "With momentum {momentum} each gradient acts for about {reach} steps (the run has {steps}), as "
            "if the learning rate were {effective}. The weights overshoot the minimum and swing back."
        ),
        fix=(
            "Use a momentum of 0.9 (beta1 of Adam). To keep a high momentum, multiply the learning rate by "
            "(1 - new) / (1 - old)."
        ),
        snippet=(
            "for g in optimizer.param_groups:\n"
            '    if "momentum" in g:\n'
            '        g["momentum"] = 0.9\n'
            '    if "betas" in g:\n'
            '        g["betas"] = (0.9, g["betas"][1])'
        ),
    ),
    charts=(rising_loss,),
    explains=(
        "model.inputs_unused",
        "gradient.vanishing",
        "optim.plateau_minimum",
        "optim.slow_convergence",
        "model.too_small",
        "optim.lr_too_high",
        "optim.oscillation",
        "numerics.nonfinite",
        "gradient.exploding",
        "activation.*",
        "fit.*",
    ),
    needs=(
        "optimizer.momentum",
        "loss.step",
    ),
    overcome_at=0.9,
)
