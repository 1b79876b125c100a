"""Order of the layers."""

from __future__ import annotations

from danlu.doctor.ledger import Ledger


def linear_layers(ledger: Ledger) -> list[str]:
    """Names of the dense and convolutional layers in the order in which the model calls them."""
    kinds = ledger.facts("layer.kind")
    order = ledger.facts("layer.order")
    return sorted((n for n, k in kinds.items() if k == "Linear" or k.startswith("Conv")), key=lambda n: order[n])


def output_layers(ledger: Ledger) -> list[str]:
    """Names of the layers whose outputs the model returns."""
    return [layer for layer, last in ledger.facts("layer.last").items() if last]


def norms_of_one_value(ledger: Ledger) -> list[str]:
    """Layer normalisations over a single value, which they make 0 whatever it is."""
    kinds, shapes = ledger.facts("layer.kind"), ledger.facts("parameter.shape")
    owners = ledger.facts("parameter.layer")
    return sorted({owner for name, owner in owners.items() if kinds.get(owner) == "LayerNorm" and shapes[name] == [1]})
