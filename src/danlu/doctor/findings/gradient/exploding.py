"""Finding gradient.exploding: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from danlu.doctor.derived.gradients import EARLY, LATE, gradient_ends
from danlu.doctor.derived.progress import finite_median
from danlu.doctor.derived.updates import clip_ratios
from danlu.doctor.drawings.over_layers import gradient_over_depth
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.message import Message

MIN_LENGTH = 16  # time steps
MIN_GROWTH = 100.0  # of the gradient from the last call of a recurrent layer to its first


def exploding(ledger: Ledger) -> Iterable[Finding]:
    """The gradient grows by a constant factor per layer towards the input, or over the steps without bound."""
    profile, output = gradient_ends(ledger)
    norms = [v for v in ledger.values("gradient.norm") if not math.isnan(v)]
    largest = max((v for v in norms if v < math.inf), default=0.0)
    # Outputs with no gradient at all (nothing to learn at this step) do not count as growth.
    deep = len(profile) >= 4 and output > 1e-30
    ratio = profile[0][1] / output if deep else 1.0
    factor = ratio ** (1 / max(1, len(profile) - 1))
    steepest = max((near / max(far, 1e-38) for (_, near), (_, far) in pairwise(profile)), default=1.0)
    steady = math.log(max(steepest, 1.0)) < 0.7 * math.log(max(ratio, 1.0))  # a single jump is a branch, not depth
    facts: dict[str, Any] = {"ratio": ratio, "factor": factor, "norm": largest, "layers": len(profile)}
    facts["largest"] = _largest_text(largest) if largest else ""
    layer, growth, calls = recurrent_growth(ledger)
    recurrent, length = recurrent_module(ledger)
    if recurrent and length >= MIN_LENGTH and breaks_without_clipping(ledger):
        facts |= {"length": length, "kind": ledger.last("layer.recurrent", recurrent)[0]}
        facts["how"] = message(
            "finding.gradient.exploding.through_time",
            "passes {length} time steps of the {kind} without clipping, and one very long step broke the weights",
            length=length,
            kind=facts["kind"],
        )
        yield Finding("gradient.exploding", "error", 0.95, recurrent, facts)
    elif growth > MIN_GROWTH:
        facts |= {"ratio": growth, "factor": growth ** (1 / max(1, calls - 1)), "calls": calls}
        facts["how"] = message(
            "finding.gradient.exploding.over_calls",
            "of this layer grows by a factor {factor} from each call to the call before, {ratio} times in all",
            factor=facts["factor"],
            ratio=growth,
        )
        yield Finding("gradient.exploding", "error", 0.85, layer, facts)
    elif ratio > 1e3 and factor > 2 and steady:
        facts["how"] = message(
            "finding.gradient.exploding.over_depth",
            "grows by a factor {factor} per layer on its way to the input, {ratio} times in all",
            factor=factor,
            ratio=ratio,
        )
        yield Finding("gradient.exploding", "error", 0.9, profile[0][0], facts)
    elif len(norms) >= 4 and largest > 1e3 * max(norms[0], 1e-3) and largest > 1e3:
        facts["how"] = message(
            "finding.gradient.exploding.over_steps", "had norm {start} at first and grew over the steps", start=norms[0]
        )
        yield Finding("gradient.exploding", "error", 0.8, "", facts)


def _largest_text(norm: float) -> Message:
    return message("finding.gradient.exploding.largest", " Its largest norm over all parameters was {norm}.", norm=norm)


def recurrent_module(ledger: Ledger) -> tuple[str, int]:
    """Name of the recurrent module with the most time steps, and their number; ("", 0) without one."""
    found = ledger.facts("layer.recurrent").items()
    return max(((layer, length) for layer, (_, length) in found), key=lambda one: one[1], default=("", 0))


def breaks_without_clipping(ledger: Ledger) -> bool:
    """Return whether losses stopped being finite for no fault of the data, in a loop that never clips its gradients."""
    broke = any(not math.isfinite(loss) for loss in ledger.values("loss.step"))
    clipped = any(ratio < 0.999 for ratio in clip_ratios(ledger))
    return broke and not clipped and ledger.first("nonfinite.source") not in ("input", "target")


def recurrent_growth(ledger: Ledger) -> tuple[str, float, int]:
    """Layer called several times per pass with the greatest gradient growth from its last call to its first.

    Returns (layer, growth, calls); growth is the larger of the start and the end of the run (Pascanu et al. 2013).
    """
    calls = ledger.facts("layer.calls")
    found = [("", 0.0, 0)]
    for layer in ledger.wheres("layer.gradient_growth"):
        values = ledger.values("layer.gradient_growth", layer)
        ends = [finite_median(values[when]) or 0.0 for when in (EARLY, LATE)]
        found.append((layer, max(ends), int(calls.get(layer, 0))))
    return max(found, key=lambda one: one[1])


SPEC = FindingSpec(
    code="gradient.exploding",
    order=440,
    severities=(
        "error",
        "note",
    ),
    rule=exploding,
    words=Words(
        title="Gradients explode",
        cause="The gradient {how}.{largest} Such steps destroy what the model has learnt.",
        fix=(
            "Clip the gradient between backward() and step(). He or Xavier initialisation, normalisation "
            "layers and a lower learning rate remove the cause."
        ),
        snippet=("loss.backward()\ntorch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\noptimizer.step()"),
    ),
    charts=(gradient_over_depth,),
    explains=(
        "numerics.nonfinite",
        "optim.lr_too_high",
        "optim.clipping_always",
        "fit.*",
    ),
    needs=(
        "layer.gradient",
        "gradient.norm",
    ),
    overcome_at=0.9,
)
