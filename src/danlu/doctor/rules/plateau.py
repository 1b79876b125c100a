"""Findings about a loss that falls slowly or stands still: what the descent stands at."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from statistics import median

from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import Phrase
from danlu.doctor.rules.progress import chance_loss, descent, loss_blocks, rose, skills, steps_taken
from danlu.doctor.rules.updates import initial_gains


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


RULES: dict[str, Callable[[Ledger], Iterable[Finding]]] = {
    "optim.plateau_saddle": plateau_saddle,
    "optim.plateau_minimum": plateau_minimum,
    "optim.slow_convergence": slow_convergence,
}
