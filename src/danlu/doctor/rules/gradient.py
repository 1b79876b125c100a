"""Findings about gradients over depth (Hochreiter 1991; Glorot and Bengio 2010)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger


def gradient_profile(ledger: Ledger) -> list[tuple[str, float]]:
    """(layer, root mean square of the gradient at its output), from input to output, geometric mean of late steps."""
    order, kinds = ledger.facts("layer.order"), ledger.facts("layer.kind")
    layers = [
        n for n in ledger.wheres("layer.gradient") if kinds.get(n) == "Linear" or kinds.get(n, "").startswith("Conv")
    ]
    layers.sort(key=lambda n: order.get(n, 0))
    profile = []
    for layer in layers:
        late = [v for v in ledger.values("layer.gradient", layer)[-4:] if math.isfinite(v)]
        if late:
            profile.append((layer, math.exp(sum(math.log(max(v, 1e-38)) for v in late) / len(late))))
    return profile


def gradient_ends(ledger: Ledger) -> tuple[list[tuple[str, float]], float]:
    """The profile, and the gradient at the outputs: the largest, since an output may have nothing to learn for long
    (no object of its size), and the order of calls is not that of depth where a network branches."""
    profile = gradient_profile(ledger)
    last = ledger.facts("layer.last")
    outputs = [gradient for layer, gradient in profile if last.get(layer)]
    return profile, max(outputs or [profile[-1][1] if profile else 0.0])


def vanishing(ledger: Ledger) -> Iterable[Finding]:
    """The gradient shrinks by a constant factor per layer on its way to the input."""
    profile, output = gradient_ends(ledger)
    if len(profile) < 4 or output < 1e-30:
        return
    ratio = profile[0][1] / output
    factor = ratio ** (1 / (len(profile) - 1))
    if ratio < 1e-3 and factor < 0.5:
        facts = {
            "first": profile[0][1],
            "last": output,
            "ratio": ratio,
            "factor": factor,
            "layers": len(profile),
        }
        confidence = min(0.95, 0.7 + 0.05 * -math.log10(max(ratio, 1e-12)))
        yield Finding("gradient.vanishing", "error" if ratio < 1e-5 else "warning", confidence, profile[0][0], facts)


def exploding(ledger: Ledger) -> Iterable[Finding]:
    """The gradient grows by a constant factor per layer on its way to the input, or over the steps without bound."""
    profile, output = gradient_ends(ledger)
    norms = [v for v in ledger.values("gradient.norm") if not math.isnan(v)]
    largest = max((v for v in norms if v < math.inf), default=0.0)
    ratio = profile[0][1] / max(output, 1e-30) if len(profile) >= 4 else 1.0
    factor = ratio ** (1 / max(1, len(profile) - 1))
    facts = {"ratio": ratio, "factor": factor, "norm": largest, "layers": len(profile)}
    if ratio > 1e3 and factor > 2:
        yield Finding("gradient.exploding", "error", 0.9, profile[0][0], facts)
    elif len(norms) >= 4 and largest > 1e3 * max(norms[0], 1e-3) and largest > 1e3:
        yield Finding("gradient.exploding", "error", 0.8, "", facts)


RULES: dict[str, Callable[[Ledger], Iterable[Finding]]] = {
    "gradient.vanishing": vanishing,
    "gradient.exploding": exploding,
}
