"""Finding optim.no_warmup: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import fmean

from danlu.doctor.derived.progress import chance_loss
from danlu.doctor.derived.updates import first_update, groups, top_lr
from danlu.doctor.drawings.over_time import rising_loss
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger


def no_warmup(ledger: Ledger) -> Iterable[Finding]:
    """Adam at its full learning rate from the first step with layer norm (Liu et al. 2020; Xiong et al. 2020)."""
    kinds = set(ledger.facts("layer.kind").values())
    adam = any(kind.startswith(("Adam", "NAdam", "RAdam")) for kind in ledger.facts("optimizer.kind").values())
    if "LayerNorm" not in kinds or not adam:
        return
    rates = [(ledger.first("optimizer.lr", g), max(ledger.values("optimizer.lr", g))) for g in groups(ledger)]
    if not rates or any(first is None or first < 0.5 * top for first, top in rates):
        return
    losses, chance = ledger.values("loss.step"), chance_loss(ledger)
    early = [loss for loss in losses[: max(40, len(losses) // 5)] if math.isfinite(loss)]
    if len(early) < 20 or not chance:
        return
    first = first_update(ledger)
    spike, settled = max(early[1:]) / chance, fmean(early[-10:]) / chance
    facts = {"spike": spike, "after": settled, "update_ratio": first, "lr": top_lr(ledger), "steps": len(early)}
    if first > 0.03 and spike > 1.15 and settled > 0.8:
        yield Finding("optim.no_warmup", "warning", 0.85, "", facts)
    elif first > 0.035:
        yield Finding("optim.no_warmup", "note", 0.6, "", facts)


SPEC = FindingSpec(
    code="optim.no_warmup",
    order=360,
    severities=(
        "warning",
        "note",
    ),
    rule=no_warmup,
    words=Words(
        title="No warm-up",
        cause=(
            "Adam uses its full learning rate {lr} from the first step, when its averages are still "
            "inaccurate. In this network with layer normalisation the first steps changed the weights by "
            "{update_ratio:%} each, and the highest of the first {steps} losses was {spike} times the loss "
            "at chance level."
        ),
        fix=(
            "Let the learning rate rise over the first few hundred steps, or normalise before attention and "
            "MLP (norm_first=True)."
        ),
        snippet=(
            "warmup = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=500)\n"
            "for x, y in loader:\n"
            "    optimizer.zero_grad()\n"
            "    loss_fn(model(x), y).backward()\n"
            "    optimizer.step()\n"
            "    warmup.step()"
        ),
    ),
    charts=(rising_loss,),
    explains=(
        "gradient.vanishing",
        "activation.saturated",
        "activation.collapsed",
        "optim.slow_convergence",
        "optim.oscillation",
        "activation.dead_relu",
        "fit.*",
    ),
    needs=(
        "optimizer.kind",
        "layer.kind",
        "update.ratio",
    ),
    overcome_at=0.9,
)
