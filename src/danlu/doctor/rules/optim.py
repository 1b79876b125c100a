"""Findings about the optimisation: rate, momentum, decay, batch, clipping, and what a stalled descent stands at."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from statistics import fmean, median

from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import Phrase
from danlu.doctor.rules.progress import (
    chance_loss,
    descent,
    epoch_samples,
    loss_blocks,
    rose,
    skills,
    steps_taken,
    typical,
)

HEAVY = 0.985  # momentum from which on gradients of more than 60 steps add up


def lr_too_high(ledger: Ledger) -> Iterable[Finding]:
    """The loss leaves its start upwards: a rate above 2 / curvature diverges (LeCun et al. 1998, section 4)."""
    (steps, losses), momentum = ledger.series("loss.step"), top_momentum(ledger)
    finite = [loss for loss in losses if math.isfinite(loss)]
    if not finite or momentum >= HEAVY or spoilt_elsewhere(ledger):
        return
    start = max(losses[0] if math.isfinite(losses[0]) else 0.0, chance_loss(ledger) or 0.0, 1e-12)
    if start < 1e-9:
        return  # losses at or below zero have no scale to grow by
    growth, step = max((loss / start, step) for step, loss in zip(steps, losses) if math.isfinite(loss))
    first = typical(ledger.values("update.ratio")[:6]) or 0.0
    broke, gains = len(finite) < len(losses), initial_gains(ledger)
    facts = {"growth": growth, "step": step, "lr": top_rate(ledger), "update_ratio": first, "threshold": 3.0}
    if broke and (growth > 3 or first > 0.3):
        facts["broke"] = next(step for step, loss in zip(steps, losses) if not math.isfinite(loss))
        facts["what"] = Phrase("The loss stopped being a number at step {}", facts["broke"])
        yield Finding("optim.lr_too_high", "error", 0.9, "", facts)
    elif growth > 100:
        facts["what"] = Phrase("The loss rose to {} times its start, at step {}", growth, step)
        yield Finding("optim.lr_too_high", "error", 0.9, "", facts)
    elif growth > 3 and first > 0.03:
        facts["what"] = Phrase("The loss rose to {} times its start, at step {}", growth, step)
        yield Finding("optim.lr_too_high", "warning", 0.8, "", facts)
    elif first > 0.1 and growth > 1.1 and len(gains) > 1 and max(gains) > 0.3 and not searches(ledger):
        facts["what"] = Phrase("The first steps changed the weights by {:%} each", first)
        yield Finding("optim.lr_too_high", "warning", 0.7, "", facts)


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
    first = typical(ledger.values("update.ratio")[:6]) or 0.0
    spike, settled = max(early[1:]) / chance, fmean(early[-10:]) / chance
    facts = {"spike": spike, "after": settled, "update_ratio": first, "lr": top_rate(ledger), "steps": len(early)}
    if first > 0.03 and spike > 1.15 and settled > 0.8:
        yield Finding("optim.no_warmup", "warning", 0.85, "", facts)
    elif first > 0.035:
        yield Finding("optim.no_warmup", "note", 0.6, "", facts)


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


def slow_convergence(ledger: Ledger) -> Iterable[Finding]:
    """The loss still falls at the end as it did before: ill-conditioned, or the budget is short."""
    epochs, late = len(ledger.values("loss.mean", "train")), descent(ledger)
    skill = (skills(ledger, "train") or [None])[-1]
    if skill is None or epochs < 5 or late is None or skill > 0.95 or not math.isfinite(skill) or rose(ledger):
        return
    facts = {"descent": late, "skill": skill, "epochs": epochs, "steps": steps_taken(ledger)}
    if late > 0.02:
        yield Finding("optim.slow_convergence", "note", min(0.5, 0.3 + late), "", facts)


def plateau_saddle(ledger: Ledger) -> Iterable[Finding]:
    """All weights begin so near zero that every layer's gradient is a product of small ones: the origin is a saddle of
    a deep net (Saxe et al. 2014), left only exponentially slowly."""
    losses, chance = loss_blocks(ledger, 20), chance_loss(ledger)
    gains = initial_gains(ledger)
    if not chance or not losses or not all(map(math.isfinite, losses)):
        return
    flat = next((i for i, loss in enumerate(losses) if loss < 0.95 * chance), len(losses))
    facts = {"gain": max(gains, default=1.0), "layers": len(gains), "flat": flat / len(losses), "threshold": 0.3}
    facts["steps"] = round(flat / len(losses) * steps_taken(ledger))
    if len(gains) > 1 and max(gains) < 0.3 and flat >= 0.1 * len(losses):
        facts["why"] = Phrase(
            "All {} layers begin with weights near zero (largest gain {:.2g}, 1 keeps the scale), "
            "and for {} steps the loss did not get below that of guessing",
            *(len(gains), max(gains), facts["steps"]),
        )
        severity = "error" if flat == len(losses) else "warning"
        yield Finding("optim.plateau_saddle", severity, 0.85, "", facts)
    elif ledger.last("point.kind") in ("saddle", "maximum"):
        low, high = ledger.last("point.lowest"), ledger.last("point.highest")
        facts |= {"lowest": low, "highest": high, "epoch": ledger.series("point.kind")[0][-1]}
        facts["why"] = Phrase("Curvature is {:.3g} in one direction and {:.3g} in another", low, high)
        if -low > 0.2 * high:
            yield Finding("optim.plateau_saddle", "note", 0.7, "", facts)


def plateau_minimum(ledger: Ledger) -> Iterable[Finding]:
    """The gradient has died away and the loss stands still: nothing is left to be gained at this point."""
    norms = [n for n in ledger.values("gradient.norm") if math.isfinite(n)]
    blocks = loss_blocks(ledger)
    if len(norms) < 10 or len(blocks) < 10 or not all(map(math.isfinite, blocks)):
        return
    start, end = max(norms[:5]), median(norms[-max(3, len(norms) // 10) :])
    still = abs(blocks[-4] - blocks[-1]) / max(abs(blocks[0]), 1e-12)
    skill = (skills(ledger, "train") or [0.0])[-1]
    gone = 0 < end < 1e-3 * start or ledger.last("point.kind") == "minimum"
    if gone and still < 1e-3 and skill < 0.98:
        facts = {"start": start, "end": end, "still": still, "loss": blocks[-1], "threshold": 1e-3}
        yield Finding("optim.plateau_minimum", "note", 0.7, "", facts)


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


def batch_too_small(ledger: Ledger) -> Iterable[Finding]:
    """Gradient noise drowns the signal: the batch is far below the noise scale (McCandlish et al. 2018)."""
    batch, scale = batch_size(ledger), noise_scale(ledger)
    skill = (skills(ledger, "train") or [None])[-1]
    if not batch or batch > 8 or scale is None or skill is None:
        return
    facts = {"batch": batch, "noise_scale": scale, "skill": skill}
    if scale > 10 * batch and skill < 0.3:
        yield Finding("optim.batch_too_small", "warning", 0.85, "", facts)
    elif scale > 20 * batch and batch <= 4:
        yield Finding("optim.batch_too_small", "note", 0.7, "", facts)


def batch_too_large(ledger: Ledger) -> Iterable[Finding]:
    """Steps are few because batches are whole epochs or nearly, and the loss is far from done when they end."""
    batch, samples = batch_size(ledger), epoch_samples(ledger)
    steps, late, skill = steps_taken(ledger), descent(ledger), (skills(ledger, "train") or [None])[-1]
    if not batch or not samples or late is None or skill is None or steps < 5:
        return
    scale = noise_scale(ledger)
    facts = {"batch": batch, "samples": samples, "steps": steps, "descent": late, "skill": skill, "noise_scale": scale}
    if batch < 0.3 * samples or batch < 256 or skill > 0.95 or crosses(ledger):
        return
    if steps <= 200 and late > 0.02:
        yield Finding("optim.batch_too_large", "warning", 0.8, "", facts)
    elif steps <= 60:
        yield Finding("optim.batch_too_large", "note", 0.7, "", facts)


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


# What the rules ask of the ledger.


def late_cosines(ledger: Ledger) -> list[float]:
    """Cosines of successive updates in the second half of the run."""
    cosines = ledger.values("update.cosine")
    return [c for c in cosines[len(cosines) // 2 :] if math.isfinite(c)]


def crosses(ledger: Ledger) -> bool:
    late = late_cosines(ledger)
    return len(late) >= 3 and median(late) < -0.75


def searches(ledger: Ledger) -> bool:
    """LBFGS chooses its steps by itself."""
    return "LBFGS" in ledger.facts("optimizer.kind").values()


def initial_gains(ledger: Ledger) -> list[float]:
    """Of each weight matrix the standard deviation at the start times the root of its inputs: 1 keeps the scale."""
    gains = []
    for name, role in ledger.facts("parameter.role").items():
        shape, std = ledger.last("parameter.shape", name), ledger.last("parameter.std", name)
        if role == "weight" and shape and len(shape) >= 2 and std is not None:
            gains.append(std * math.sqrt(math.prod(shape[1:])))
    return gains


def groups(ledger: Ledger) -> list[str]:
    return ledger.wheres("optimizer.lr")


def top_rate(ledger: Ledger) -> float:
    """The largest rate of any group at any time."""
    return max((max(ledger.values("optimizer.lr", g)) for g in groups(ledger)), default=0.0)


def ratios_at_full_rate(ledger: Ledger) -> list[float]:
    """Updates over weights as they would have been at the largest rate so far: a step is proportional to its rate."""
    by_group = [list(zip(*ledger.series("optimizer.lr", group))) for group in groups(ledger)]
    ahead = list(reversed(max(by_group, key=lambda rates: max(rate for _, rate in rates), default=[])))
    found, rate, top = [], 0.0, top_rate(ledger)
    for step, ratio in zip(*ledger.series("update.ratio")):
        while ahead and ahead[-1][0] <= step:
            rate = ahead.pop()[1]
        if math.isfinite(ratio):
            found.append(ratio * top / rate if rate else ratio)
    return found


def top_momentum(ledger: Ledger) -> float:
    return max((max(ledger.values("optimizer.momentum", g)) for g in ledger.wheres("optimizer.momentum")), default=0.0)


def batch_size(ledger: Ledger) -> float | None:
    """The largest of the first batches: the last one of an epoch may be smaller."""
    sizes = ledger.values("batch.size")[:3]
    return max(sizes) if sizes else None


def noise_scale(ledger: Ledger) -> float | None:
    """Ratio of mean noise to mean signal; infinite where the signal cannot be told from nothing. An upper bound: the
    movement of the weights between two gradients counts as noise (see instruments/gradients.py)."""
    signal = [v for v in ledger.values("gradient.signal") if math.isfinite(v)]
    noise = [v for v in ledger.values("gradient.noise") if math.isfinite(v)]
    if len(signal) < 4 or not noise:
        return None
    return fmean(noise) / fmean(signal) if fmean(signal) > 0 else math.inf


def clip_shares(ledger: Ledger) -> list[float]:
    """Gradient used / gradient as backward left it, of steps that had one."""
    return [s for s in ledger.values("gradient.clip_ratio") if math.isfinite(s) and s > 1e-12]


def is_clipped(ledger: Ledger) -> bool:
    shares = clip_shares(ledger)
    return len(shares) >= 5 and median(shares) < 0.5


def spoilt_elsewhere(ledger: Ledger) -> bool:
    """NaN that came with the data or the labels is no matter of the rate."""
    return ledger.first("nonfinite.source") in ("input", "target")


RULES: dict[str, Callable[[Ledger], Iterable[Finding]]] = {
    "optim.lr_too_high": lr_too_high,
    "optim.lr_too_low": lr_too_low,
    "optim.oscillation": oscillation,
    "optim.plateau_saddle": plateau_saddle,
    "optim.plateau_minimum": plateau_minimum,
    "optim.slow_convergence": slow_convergence,
    "optim.weight_decay_too_strong": weight_decay_too_strong,
    "optim.momentum_too_high": momentum_too_high,
    "optim.batch_too_small": batch_too_small,
    "optim.batch_too_large": batch_too_large,
    "optim.no_warmup": no_warmup,
    "optim.clipping_always": clipping_always,
}
