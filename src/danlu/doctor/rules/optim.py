"""Findings about the steps: rate, warm-up, momentum, decay, clipping."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from statistics import fmean, median

from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import Phrase
from danlu.doctor.rules.progress import chance_loss, descent, loss_blocks, skills, steps_taken, typical
from danlu.doctor.rules.updates import (
    clip_shares,
    crosses,
    first_update,
    groups,
    initial_gains,
    is_clipped,
    late_cosines,
    ratios_at_full_rate,
    searches,
    top_momentum,
    top_rate,
)

FEW = 20  # steps in which a loss may rise and come back
HEAVY = 0.985  # momentum from which on gradients of more than 60 steps add up


def lr_too_high(ledger: Ledger) -> Iterable[Finding]:
    """The loss leaves its start upwards: a rate above 2 / curvature diverges (LeCun et al. 1998, section 4).

    Sound trainings without warm-up may rise for their first steps and come back: of a few steps only an explosion says
    something. A loss whose value for guessing is not known (an error of what the network itself foretells, a penalty
    that begins near zero) has no scale of its own to grow by: there the steps must be as long as no sound ones are.
    """
    (steps, losses), momentum = ledger.series("loss.step"), top_momentum(ledger)
    finite = [loss for loss in losses if math.isfinite(loss)]
    if not finite or momentum >= HEAVY or spoilt_elsewhere(ledger):
        return
    chance = chance_loss(ledger)
    start = max(losses[0] if math.isfinite(losses[0]) else 0.0, chance or 0.0, 1e-12)
    if start < 1e-9 or (chance is None and min(finite) < 0):
        return  # losses at or below zero have no scale to grow by
    growth, step = max((loss / start, step) for step, loss in zip(steps, losses) if math.isfinite(loss))
    first, few = first_update(ledger), steps_taken(ledger) < FEW
    broke, gains = len(finite) < len(losses), initial_gains(ledger)
    facts = {"growth": growth, "step": step, "lr": top_rate(ledger), "update_ratio": first, "threshold": 3.0}
    if broke and (growth > 3 or first > 0.3):
        facts["broke"] = next(step for step, loss in zip(steps, losses) if not math.isfinite(loss))
        facts["what"] = Phrase("The loss stopped being a number at step {}", facts["broke"])
        yield Finding("optim.lr_too_high", "error", 0.9, "", facts)
    elif growth > 100 and (chance is not None or first > 0.1):
        facts["what"] = Phrase("The loss rose to {} times its start, at step {}", growth, step)
        yield Finding("optim.lr_too_high", "error", 0.9, "", facts)
    elif growth > 3 and first > (0.03 if chance is not None else 0.1) and not few:
        facts["what"] = Phrase("The loss rose to {} times its start, at step {}", growth, step)
        yield Finding("optim.lr_too_high", "warning", 0.8, "", facts)
    elif first > 0.1 and growth > 1.1 and len(gains) > 1 and max(gains) > 0.3 and not searches(ledger) and not few:
        facts["what"] = Phrase("The first steps changed the weights by {:%} each", first)
        yield Finding("optim.lr_too_high", "warning", 0.7, "", facts)


def lr_too_low(ledger: Ledger) -> Iterable[Finding]:
    """Updates far below a thousandth of the weights, where good steps lie (Karpathy 2015), and little learnt."""
    ratios = ratios_at_full_rate(ledger)  # a warm-up's are meant to be small
    skill, late = (skills(ledger, "train") or [None])[-1], descent(ledger)
    if len(ratios) < 5 or skill is None or late is None or is_clipped(ledger) or top_rate(ledger) == 0:
        return
    if max(initial_gains(ledger), default=1.0) > 2:
        return  # weights far too large: updates look small against them
    early = median(ratios[: max(5, len(ratios) // 2)])
    facts = {"update_ratio": early, "threshold": 5e-4, "lr": top_rate(ledger), "descent": late}
    facts["skill"] = max(skill, 0.0)
    soon = len(ledger.values("loss.mean", "train")) < 3 and not ledger.has(
        "run.finished"
    )  # the first epochs learn little
    if 0 < early < 5e-4 and skill < 0.5 and not (soon and early > 1e-4):
        yield Finding("optim.lr_too_low", "warning", 0.9 if early < 1e-4 else 0.75, "", facts)
    elif 0 < early < 5e-4 and skill < 0.9:
        yield Finding("optim.lr_too_low", "note", 0.6, "", facts)


def oscillation(ledger: Ledger) -> Iterable[Finding]:
    """Successive updates point against each other: each step crosses the valley (Cohen et al. 2021)."""
    late = late_cosines(ledger)
    if crosses(ledger):
        facts = {"cosine": median(late), "measured": len(late), "threshold": -0.75, "lr": top_rate(ledger)}
        yield Finding("optim.oscillation", "warning", min(0.95, 0.3 - 0.65 * median(late)), "", facts)


def momentum_too_high(ledger: Ledger) -> Iterable[Finding]:
    """A gradient acts for 1 / (1 - momentum) steps: too much of it swings past the valley (Sutskever et al. 2013)."""
    momentum, losses = top_momentum(ledger), ledger.values("loss.step")
    if momentum < HEAVY or len(losses) < 20:
        return
    reach = 1 / max(1 - momentum, 1e-9)
    blocks = loss_blocks(ledger, 20)
    scale = max(chance_loss(ledger) or 0.0, blocks[0], 1e-12)
    low = blocks.index(min(blocks))
    bounce = (max(blocks[low:]) - blocks[low]) / scale if all(map(math.isfinite, blocks)) else math.inf
    steps = steps_taken(ledger)
    facts = {"momentum": momentum, "reach": reach, "steps": steps, "bounce": bounce, "lr": top_rate(ledger)}
    facts["effective"] = top_rate(ledger) * reach
    if bounce > 0.15:
        yield Finding("optim.momentum_too_high", "error" if bounce > 0.5 else "warning", 0.9, "", facts)
    elif reach > 0.2 * steps:
        yield Finding("optim.momentum_too_high", "note", 0.7, "", facts)


def no_warmup(ledger: Ledger) -> Iterable[Finding]:
    """Adam at its full rate from the first step on a net with layer norm (Liu et al. 2020; Xiong et al. 2020)."""
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
    facts = {"spike": spike, "after": settled, "update_ratio": first, "lr": top_rate(ledger), "steps": len(early)}
    if first > 0.03 and spike > 1.15 and settled > 0.8:
        yield Finding("optim.no_warmup", "warning", 0.85, "", facts)
    elif first > 0.035:
        yield Finding("optim.no_warmup", "note", 0.6, "", facts)


def weight_decay_too_strong(ledger: Ledger) -> Iterable[Finding]:
    """Decay halves the weights within 0.7 / (rate x decay) steps; what the gradient builds is gone as soon."""
    decays = {g: max(ledger.values("optimizer.weight_decay", g)) for g in ledger.wheres("optimizer.weight_decay")}
    pulls = {g: decay * max(ledger.values("optimizer.lr", g), default=0.0) for g, decay in decays.items()}
    if not pulls or max(pulls.values()) <= 0:
        return
    group = max(pulls, key=pulls.__getitem__)
    ratio = typical(ledger.values("decay.ratio")) or 0.0
    norms = [n for n in ledger.values("weight.norm") if math.isfinite(n)]
    shrunk = norms[-1] / norms[0] if norms and norms[0] > 0 else 1.0
    facts = {"decay": decays[group], "pull": pulls[group], "half_life": math.log(2) / pulls[group], "ratio": ratio}
    facts |= {"shrunk": shrunk, "threshold": 0.005}
    # Weights that grow all the same are driven by the rate, not held by the decay.
    if pulls[group] > 0.005 and ((ratio > 0.3 and shrunk < 1) or shrunk < 0.5):
        yield Finding("optim.weight_decay_too_strong", "error" if shrunk < 0.3 else "warning", 0.92, group, facts)


def clipping_always(ledger: Ledger) -> Iterable[Finding]:
    """Every step is clipped: its length is the rate times the limit, whatever the gradient (Zhang et al. 2020)."""
    shares = clip_shares(ledger)
    if len(shares) < 5:
        return
    clipped = sum(share < 0.95 for share in shares) / len(shares)
    limit = typical(ledger.values("gradient.norm"))
    raw = typical([r for r in ledger.values("gradient.raw_norm") if r < 1e20])
    facts = {"clipped": clipped, "share": median(shares), "limit": limit, "raw": raw, "threshold": 0.9}
    if clipped >= 0.9 and median(shares) < 0.5:
        yield Finding("optim.clipping_always", "warning", 0.9, "", facts)
    elif clipped >= 0.7 and median(shares) < 0.7:
        yield Finding("optim.clipping_always", "note", 0.7, "", facts)


def spoilt_elsewhere(ledger: Ledger) -> bool:
    """NaN that came with the data or the labels is no matter of the rate."""
    return ledger.first("nonfinite.source") in ("input", "target")


RULES: dict[str, Callable[[Ledger], Iterable[Finding]]] = {
    "optim.lr_too_high": lr_too_high,
    "optim.lr_too_low": lr_too_low,
    "optim.oscillation": oscillation,
    "optim.weight_decay_too_strong": weight_decay_too_strong,
    "optim.momentum_too_high": momentum_too_high,
    "optim.no_warmup": no_warmup,
    "optim.clipping_always": clipping_always,
}
