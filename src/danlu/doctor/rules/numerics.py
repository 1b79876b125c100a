"""Findings about numbers that are not finite, or leave the range of half precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import Phrase, named

OUTPUT = "(output)"  # the place after the last layer
PLACES = {
    "input": "the input",
    "target": "the target",
    "weight": "the weight {}",
    "activation": "the output of {}",
    "loss": "the loss itself",
    "gradient": "the gradient of {}",
    "unknown": "a place that was not seen",
}


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
    layer = str(facts.get("layer", ""))
    facts["place"] = place_of(str(facts.get("source", "unknown")), layer)
    facts["extent"] = extent_of(facts.get("samples"), facts.get("input_max"))
    reason = facts.get("reason", "not told")
    sentence = "The loss is {} at step {}" if reason == "not told" else "The loss is {} at step {}: {}"
    facts["what"] = Phrase(sentence, facts["value"], facts["step"], Phrase(str(reason)))
    yield Finding("numerics.nonfinite", "error", 0.99, "" if layer == OUTPUT else layer.removeprefix(">"), facts)


def place_of(source: str, layer: str) -> Phrase:
    """Where it arose, by what instruments/nonfinite.py wrote."""
    if source == "activation" and layer == OUTPUT:
        return Phrase("the output of the model")
    if source == "activation" and layer.startswith(">"):
        return Phrase("what flows into {}", named(layer[1:]))
    return Phrase(PLACES.get(source, PLACES["unknown"]), named(layer))


def extent_of(samples: list[int] | None, largest: float | None) -> str:
    """Which samples, and the largest input: as far as they are known."""
    known = largest is not None and not math.isnan(largest)
    if samples and known:
        return Phrase("; samples of the batch: {}; largest input there: {}", samples, largest)
    if samples:
        return Phrase("; samples of the batch: {}", samples)
    return Phrase("; largest input there: {}", largest) if known else ""


def half_range(ledger: Ledger) -> Iterable[Finding]:
    """float16 reaches from 6e-5 (6e-8 subnormal) to 65504: gradients below are zero, values above infinite."""
    reason = str(ledger.first("nonfinite.reason", default=""))
    if "overflow of float16" in reason:
        layer = str(ledger.first("nonfinite.layer", default=""))
        facts = {"problem": Phrase("{} gives values beyond 65504", named(layer) or Phrase("a layer"))}
        yield Finding("numerics.half_range", "error", 0.995, layer, facts)
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
