"""Findings about activations."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import Phrase


def dead_relu(ledger: Ledger) -> Iterable[Finding]:
    """Units that are zero for every sample, over several steps: no gradient reaches them (Lu et al. 2019)."""
    dead = []
    for layer in ledger.wheres("activation.dead_units"):
        shares, samples = (
            ledger.values("activation.dead_units", layer),
            ledger.last("activation.dead_samples", layer, 0),
        )
        if samples >= 64 and min(shares[-2:]) > 0.6:
            dead.append((shares[-1], layer, samples))
    if dead:
        dead.sort(reverse=True)
        share, layer, samples = dead[0]
        facts = {
            "share": share,
            "samples": samples,
            "layers": len(dead),
            "of": len(ledger.wheres("activation.dead_units")),
        }
        all_dead = share > 0.95
        confidence = 0.95 if all_dead else 0.5 + 0.45 * share
        yield Finding("activation.dead_relu", "error" if all_dead else "warning", confidence, layer, facts)


def saturated(ledger: Ledger) -> Iterable[Finding]:
    """Units of sigmoid or tanh pinned at an end, where the derivative is nearly zero; the output itself left out."""
    order = ledger.facts("layer.order")
    last = max(order.values(), default=-1)
    found = []
    for layer in ledger.wheres("activation.saturated_units"):
        if order.get(layer) == last:
            continue
        units = ledger.values("activation.saturated_units", layer)[-2:]
        shares = ledger.values("activation.saturated", layer)[-2:]
        if len(units) >= 2 and (min(units) > 0.4 or min(shares) > 0.7):
            found.append((max(units[-1], shares[-1]), layer))
    if found:
        found.sort(reverse=True)
        share, layer = found[0]
        kind = ledger.last("layer.activation", layer) or Phrase("sigmoid or tanh")
        facts = {"share": share, "kind": kind, "layers": len(found)}
        yield Finding("activation.saturated", "warning", min(0.95, 0.5 + 0.5 * share), layer, facts)


def collapsed(ledger: Ledger) -> Iterable[Finding]:
    """A layer gives the same for every sample: what comes after cannot tell samples apart.

    Of several outputs one may do so soundly: nothing comes after it, and it may begin at zero or at the prior.
    """
    order = ledger.facts("layer.order")
    outputs = [layer for layer, last in ledger.facts("layer.last").items() if last]
    before = 0.0  # spread of the layer before
    for layer in sorted((w for w in ledger.wheres("activation.spread") if w in order), key=lambda w: order[w]):
        if len(outputs) > 1 and layer in outputs:
            continue
        spreads = ledger.values("activation.spread", layer)[-2:]
        samples = ledger.last("activation.samples", layer, 0)
        if len(spreads) >= 2 and samples >= 8 and max(spreads) < 1e-5:
            facts = {"spread": spreads[-1], "samples": samples, "kind": ledger.last("layer.kind", layer)}
            # Where the layer before still varies, this one is the cause of what is wrong before and after it.
            confidence = 0.97 if before > 1e-2 else 0.85
            yield Finding("activation.collapsed", "error", confidence, layer, facts)
            return
        before = spreads[-1] if spreads else before


RULES: dict[str, Callable[[Ledger], Iterable[Finding]]] = {
    "activation.dead_relu": dead_relu,
    "activation.saturated": saturated,
    "activation.collapsed": collapsed,
}
