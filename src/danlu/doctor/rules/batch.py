"""Findings about the size of the batch, by the noise of its gradient (McCandlish et al. 2018)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from statistics import fmean

from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import Phrase
from danlu.doctor.rules.progress import descent, epoch_samples, skills, steps_taken
from danlu.doctor.rules.updates import crosses

LEAST = 4  # steps whose estimates are averaged
TAUGHT = 1000  # samples from which a training has learnt something, whatever its batches


def batch_too_small(ledger: Ledger) -> Iterable[Finding]:
    """Gradient noise drowns the signal: the batch is far below the noise scale (McCandlish et al. 2018)."""
    batch, measured = batch_size(ledger), noise_scale(ledger)
    skill = (skills(ledger, "train") or [None])[-1]
    if not batch or batch > 8 or measured is None or skill is None or steps_taken(ledger) * batch < TAUGHT:
        return
    scale = measured[0]
    facts = {"batch": batch, "noise_scale": scale, "balance": _told(*measured), "skill": skill}
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
    scale, _ = noise_scale(ledger) or (None, False)
    facts = {"batch": batch, "samples": samples, "steps": steps, "descent": late, "skill": skill, "noise_scale": scale}
    if batch < 0.3 * samples or batch < 256 or skill > 0.95 or crosses(ledger):
        return
    if steps <= 200 and late > 0.02:
        yield Finding("optim.batch_too_large", "warning", 0.8, "", facts)
    elif steps <= 60:
        yield Finding("optim.batch_too_large", "note", 0.7, "", facts)


def batch_size(ledger: Ledger) -> float | None:
    """The largest of the first batches: the last one of an epoch may be smaller."""
    sizes = ledger.values("batch.size")[:3]
    return max(sizes) if sizes else None


def noise_scale(ledger: Ledger) -> tuple[float, bool] | None:
    """(ratio of mean noise to mean signal, whether it is from micro-batches); infinite where the signal cannot be told
    from nothing. From successive gradients it is an upper bound (see instruments/noise.py)."""
    for way in ("micro-batches", ""):
        signal = [v for v in ledger.values("gradient.signal", way) if math.isfinite(v)]
        noise = [v for v in ledger.values("gradient.noise", way) if math.isfinite(v)]
        if len(signal) >= LEAST and noise:
            return (fmean(noise) / fmean(signal) if fmean(signal) > 0 else math.inf), bool(way)
    return None


def _told(scale: float, unbiased: bool) -> Phrase:
    return Phrase("{} samples, by the micro-batches of single steps" if unbiased else "at most {} samples", scale)


RULES: dict[str, Callable[[Ledger], Iterable[Finding]]] = {
    "optim.batch_too_small": batch_too_small,
    "optim.batch_too_large": batch_too_large,
}
