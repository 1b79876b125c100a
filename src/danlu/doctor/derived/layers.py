"""Order of the layers."""

from __future__ import annotations

from danlu.doctor.ledger import Ledger


def linear_layers(ledger: Ledger) -> list[str]:
    kinds = ledger.facts("layer.kind")
    order = ledger.facts("layer.order")
    return sorted((n for n, k in kinds.items() if k == "Linear" or k.startswith("Conv")), key=lambda n: order[n])
