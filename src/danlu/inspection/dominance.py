"""Layers that dominate a network's parameters, computation and memory, as sentences; its VC dimension."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from danlu.inspection.layers import Layer

# Part of a class name -> family of layers; the first match counts.
FAMILIES = {
    "Conv": "convolutions",
    "Linear": "dense layers",
    "Attention": "attention",
    "Norm": "normalisation",
    "Renorm": "normalisation",
    "Pool": "pooling",
    "Subsampling": "pooling",
    **dict.fromkeys(("ReLU", "Tanh", "Sigmoid", "GELU", "SiLU", "Softmax"), "activations"),
}
FIGURES = {"parameters": "parameters", "multiply_adds": "multiply-adds", "activation_bytes": "activation memory"}


def family(layer: Layer) -> str:
    """Return the family of a layer, such as "convolutions"."""
    if layer.detail == "attention":
        return "attention"
    return next((name for part, name in FAMILIES.items() if part in layer.kind), "blocks' own operations")


def dominant(layers: Sequence[Layer]) -> list[str]:
    """Return one sentence per figure: the family with the largest fraction, and the largest single layer.

    >>> dominant([Layer("fc", "Linear", parameters=90), Layer("conv", "Conv2d", parameters=10)])
    ['dense layers hold 90 % of the parameters, fc alone 90 %']
    """
    sentences = []
    for figure, word in FIGURES.items():
        total = sum(getattr(layer, figure) for layer in layers)
        if not total:
            continue
        per_family: dict[str, int] = defaultdict(int)
        for layer in layers:
            per_family[family(layer)] += getattr(layer, figure)
        top = max(per_family, key=lambda name: per_family[name])
        largest = max(layers, key=lambda layer: getattr(layer, figure))
        verb = "do" if figure == "multiply_adds" else "hold"
        verb += "" if top.endswith("s") or top == "blocks' own operations" else "es" if verb == "do" else "s"
        sentences.append(
            f"{top} {verb} {_percent(per_family[top], total)} of the {word}, "
            f"{largest.name} alone {_percent(getattr(largest, figure), total)}"
        )
    return sentences


def _percent(value: int, total: int) -> str:
    return f"{100 * value / total:.0f} %" if value >= 0.01 * total else "less than 1 %"


def vc_dimension(layers: Sequence[Layer], inputs: int) -> tuple[float, str]:
    """Estimate the VC dimension.

    Exact without hidden layers: N + 1 for N inputs (three points in the plane can be split in all ways, four cannot).
    With hidden layers and W weights it is of the order W log W (Baum & Haussler 1989).

    Args:
        layers: Traced layers.
        inputs: Numbers per sample.

    Returns:
        The estimate, and a phrase that names its basis.
    """
    weights = sum(layer.parameters for layer in layers)
    weighted = [layer for layer in layers if layer.parameters]
    if len(weighted) == 1 and weighted[0].kind == "Linear":
        return inputs + 1, "exact for each output: inputs + 1"
    return weights * math.log2(max(weights, 2)), "order of magnitude: W log2 W for W parameters"
