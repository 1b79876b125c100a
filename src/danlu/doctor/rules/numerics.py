"""Findings about numbers that are not finite, or leave the range of half precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import Phrase


def nonfinite(ledger: Ledger) -> Iterable[Finding]:
    """NaN or inf, with the first place where it arose."""
    steps, values = ledger.series("nonfinite.step")
    if not steps:
        losses = ledger.series("loss.step")
        broken = [(s, v) for s, v in zip(*losses) if not math.isfinite(v)]
        if not broken:
            return
        steps, values = [broken[0][0]], [str(broken[0][1])]
    facts = {"step": steps[0], "value": values[0]}
    for key in ("source", "layer", "reason", "samples", "share", "input_max"):
        if ledger.has(f"nonfinite.{key}"):
            facts[key] = ledger.first(f"nonfinite.{key}")
    facts.setdefault("source", "unknown")
    facts.setdefault("reason", "not told")
    yield Finding("numerics.nonfinite", "error", 0.99, str(facts.get("layer", "")), facts)


def half_range(ledger: Ledger) -> Iterable[Finding]:
    """float16 reaches from 6e-5 (6e-8 subnormal) to 65504: gradients below are zero, values above infinite."""
    reason = str(ledger.first("nonfinite.reason", default=""))
    if "overflow of float16" in reason:
        layer = ledger.first("nonfinite.layer", default="a layer")
        facts = {"problem": Phrase("{} gives values beyond 65504", layer)}
        yield Finding("numerics.half_range", "error", 0.995, str(ledger.first("nonfinite.layer", default="")), facts)
        return
    precision = str(ledger.last("run.precision", default="")).removeprefix("autocast-")
    if "float16" not in (precision, *ledger.last("run.layer_types", default=[])):
        return
    scales = [s for s in ledger.values("loss.scale") if s > 0]
    zeros = ledger.values("gradient.zero_share")[-4:]
    if len(scales) >= 3 and max(scales) / scales[-1] >= 2**8 and scales[-1] < 128:
        problem = Phrase("the loss scale fell from {:.3g} to {:.3g}", max(scales), scales[-1])
        facts = {"problem": problem, "scale": scales[-1]}
        yield Finding("numerics.half_range", "warning", 0.9, "", facts)
    elif zeros and min(zeros) > 0.5 and scales and max(scales) <= 1:
        sentence = "{:%} of the gradient is exactly zero, and the loss is not scaled"
        facts = {"problem": Phrase(sentence, round(min(zeros), 2))}
        severity = "error" if min(zeros) > 0.95 else "warning"
        yield Finding("numerics.half_range", severity, 0.85, "", facts | {"zero_share": min(zeros)})


RULES: dict[str, Callable[[Ledger], Iterable[Finding]]] = {
    "numerics.nonfinite": nonfinite,
    "numerics.half_range": half_range,
}
