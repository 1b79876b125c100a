"""Batch size and gradient noise scale (McCandlish et al. 2018)."""

from __future__ import annotations

import math
from statistics import fmean

from danlu.doctor.ledger import Ledger

MIN_ESTIMATES = 4  # steps whose estimates are averaged


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
        if len(signal) >= MIN_ESTIMATES and noise:
            return (fmean(noise) / fmean(signal) if fmean(signal) > 0 else math.inf), bool(way)
    return None
