"""Batch size and gradient noise scale (McCandlish et al. 2018)."""

from __future__ import annotations

import math
from statistics import fmean

from danlu.doctor.ledger import Ledger

MIN_ESTIMATES = 4  # steps whose estimates are averaged


def batch_size(ledger: Ledger) -> float | None:
    """Largest of the first batches; the last batch of an epoch may be smaller."""
    sizes = ledger.values("batch.size")[:3]
    return max(sizes) if sizes else None


def noise_scale(ledger: Ledger) -> tuple[float, bool] | None:
    """Simple gradient noise scale in samples, and whether it is unbiased (from micro-batches).

    It is the ratio of mean noise to mean signal, infinite if the signal is not above zero. From successive gradients
    it is an upper bound (see instruments/noise.py). None with fewer than MIN_ESTIMATES estimates.
    """
    for way in ("micro-batches", ""):
        signal = [v for v in ledger.values("gradient.signal", way) if math.isfinite(v)]
        noise = [v for v in ledger.values("gradient.noise", way) if math.isfinite(v)]
        if len(signal) >= MIN_ESTIMATES and noise:
            return (fmean(noise) / fmean(signal) if fmean(signal) > 0 else math.inf), bool(way)
    return None
