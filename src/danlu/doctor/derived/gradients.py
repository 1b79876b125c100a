"""Gradient magnitude over depth."""

from __future__ import annotations

import math

from danlu.doctor.ledger import Ledger

LATE, EARLY = slice(-4, None), slice(0, 4)  # measurements


def gradient_profile(ledger: Ledger, when: slice = LATE) -> list[tuple[str, float]]:
    """Gradient magnitude at each linear or convolution layer, from input to output.

    Returns (layer, root mean square of the gradient at its output), the geometric mean of the measurements `when`.
    """
    order, kinds = ledger.facts("layer.order"), ledger.facts("layer.kind")
    layers = [
        n for n in ledger.wheres("layer.gradient") if kinds.get(n) == "Linear" or kinds.get(n, "").startswith("Conv")
    ]
    layers.sort(key=lambda n: order.get(n, 0))
    profile = []
    for layer in layers:
        values = [v for v in ledger.values("layer.gradient", layer)[when] if math.isfinite(v)]
        if values:
            profile.append((layer, math.exp(sum(math.log(max(v, 1e-38)) for v in values) / len(values))))
    return profile


def gradient_ends(ledger: Ledger, when: slice = LATE) -> tuple[list[tuple[str, float]], float]:
    """Gradient profile, and the gradient at the outputs.

    The largest of several outputs is taken: an output may have nothing to learn for long (no object of its size).
    """
    profile = gradient_profile(ledger, when)
    last = ledger.facts("layer.last")
    outputs = [gradient for layer, gradient in profile if last.get(layer)]
    return profile, max(outputs or [profile[-1][1] if profile else 0.0])
