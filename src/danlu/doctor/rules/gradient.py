"""Findings about gradients over depth (Hochreiter 1991; Glorot and Bengio 2010)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import Phrase
from danlu.doctor.rules.progress import skills, typical

LATE, EARLY = slice(-4, None), slice(0, 4)  # measurements
POOR = 0.8  # skill in training below which a slow start has cost something
GROWS = 100.0  # from the last call of a recurrence to its first


def gradient_profile(ledger: Ledger, when: slice = LATE) -> list[tuple[str, float]]:
    """(layer, root mean square of the gradient at its output), from input to output, geometric mean of some steps."""
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
    """The profile, and the gradient at the outputs: the largest, since an output may have nothing to learn for long
    (no object of its size), and the order of calls is not that of depth where a network branches."""
    profile = gradient_profile(ledger, when)
    last = ledger.facts("layer.last")
    outputs = [gradient for layer, gradient in profile if last.get(layer)]
    return profile, max(outputs or [profile[-1][1] if profile else 0.0])


def vanishing(ledger: Ledger) -> Iterable[Finding]:
    """The gradient shrinks by a constant factor per layer on its way to the input: at the end of the run, or at its
    start, where the run did not get far after it."""
    late, early = fall(*gradient_ends(ledger)), fall(*gradient_ends(ledger, EARLY))
    skill = (skills(ledger, "train") or [1.0])[-1]
    facts = late or (early if skill < POOR else None)
    if facts:
        severe = facts is late and facts["ratio"] < 1e-5
        confidence = min(0.95, 0.7 + 0.05 * -math.log10(max(facts["ratio"], 1e-12)))
        where = str(facts.pop("layer"))
        yield Finding("gradient.vanishing", "error" if severe else "warning", confidence, where, facts)


def fall(profile: list[tuple[str, float]], output: float) -> dict[str, Any] | None:
    """The numbers of a gradient that falls over depth by a factor a layer, None where it does not.

    Where a single layer makes most of the fall, that layer cuts the gradient off: dead or collapsed, not deep.
    """
    if len(profile) < 4 or output < 1e-30:
        return None
    ratio = profile[0][1] / output
    factor = ratio ** (1 / (len(profile) - 1))
    steepest = min(near / max(far, 1e-38) for (_, near), (_, far) in pairwise(profile))
    if not (ratio < 1e-3 and factor < 0.5) or math.log(max(steepest, 1e-38)) < 0.7 * math.log(max(ratio, 1e-38)):
        return None
    facts = {"layer": profile[0][0], "first": profile[0][1], "last": output, "ratio": ratio}
    return facts | {"factor": factor, "layers": len(profile)}


def exploding(ledger: Ledger) -> Iterable[Finding]:
    """The gradient grows by a constant factor per layer on its way to the input, or over the steps without bound."""
    profile, output = gradient_ends(ledger)
    norms = [v for v in ledger.values("gradient.norm") if not math.isnan(v)]
    largest = max((v for v in norms if v < math.inf), default=0.0)
    # Outputs that have nothing to learn just now get no gradient at all: that is no growth.
    deep = len(profile) >= 4 and output > 1e-30
    ratio = profile[0][1] / output if deep else 1.0
    factor = ratio ** (1 / max(1, len(profile) - 1))
    steepest = max((near / max(far, 1e-38) for (_, near), (_, far) in pairwise(profile)), default=1.0)
    steady = math.log(max(steepest, 1.0)) < 0.7 * math.log(max(ratio, 1.0))  # a single jump is a branch, not depth
    facts: dict[str, Any] = {"ratio": ratio, "factor": factor, "norm": largest, "layers": len(profile)}
    layer, growth, calls = recurrent_growth(ledger)
    if growth > GROWS:
        facts |= {"ratio": growth, "factor": growth ** (1 / max(1, calls - 1)), "calls": calls}
        facts["how"] = Phrase("grows by a factor {} per call towards the first (ratio {})", facts["factor"], growth)
        yield Finding("gradient.exploding", "error", 0.85, layer, facts)
    elif ratio > 1e3 and factor > 2 and steady:
        facts["how"] = Phrase("grows by a factor {} per layer towards the input (ratio {})", factor, ratio)
        yield Finding("gradient.exploding", "error", 0.9, profile[0][0], facts)
    elif len(norms) >= 4 and largest > 1e3 * max(norms[0], 1e-3) and largest > 1e3:
        facts["how"] = Phrase("grew from norm {} over the steps", norms[0])
        yield Finding("gradient.exploding", "error", 0.8, "", facts)


def recurrent_growth(ledger: Ledger) -> tuple[str, float, int]:
    """(layer, growth of its gradient from its last call in a pass to its first, calls) where that is greatest; of the
    start and of the end of the run the greater (Pascanu, Mikolov, Bengio 2013)."""
    calls = ledger.facts("layer.calls")
    found = [("", 0.0, 0)]
    for layer in ledger.wheres("layer.gradient_growth"):
        values = ledger.values("layer.gradient_growth", layer)
        ends = [typical(values[when]) or 0.0 for when in (EARLY, LATE)]
        found.append((layer, max(ends), int(calls.get(layer, 0))))
    return max(found, key=lambda one: one[1])


RULES: dict[str, Callable[[Ledger], Iterable[Finding]]] = {
    "gradient.vanishing": vanishing,
    "gradient.exploding": exploding,
}
