"""Layers that dominate a network's parameters, computation and memory, as sentences; its VC dimension."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from danlu.inspection.layers import Layer
from danlu.message import message, translated

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
FAMILY_NAMES = {
    "convolutions": message("inspection.family.convolutions", "convolutions"),
    "dense layers": message("inspection.family.dense", "dense layers"),
    "attention": message("inspection.family.attention", "attention"),
    "normalisation": message("inspection.family.normalisation", "normalisation"),
    "pooling": message("inspection.family.pooling", "pooling"),
    "activations": message("inspection.family.activations", "activations"),
    "blocks' own operations": message("inspection.family.own", "blocks' own operations"),
}
FIGURES = {"parameters": "parameters", "multiply_adds": "multiply-adds", "activation_bytes": "activation memory"}
FIGURE_NAMES = {
    "parameters": message("inspection.figure.parameters", "parameters"),
    "multiply_adds": message("inspection.figure.multiply_adds", "multiply-adds"),
    "activation_bytes": message("inspection.figure.activation_bytes", "activation memory"),
}


def family(layer: Layer) -> str:
    """Return the family of a layer, such as "convolutions"."""
    if layer.detail == "attention":
        return "attention"
    return next((name for part, name in FAMILIES.items() if part in layer.kind), "blocks' own operations")


def dominant(layers: Sequence[Layer]) -> list[str]:
    """Return one sentence per figure: the family with the largest fraction, and the largest single layer.

    >>> dominant([Layer("fc", "Linear", parameters=90), Layer("conv", "Conv2d", parameters=10)])
    ['90 % of the parameters in dense layers, 90 % in fc alone']
    """
    sentences = []
    for figure in FIGURES:
        total = sum(getattr(layer, figure) for layer in layers)
        if not total:
            continue
        per_family: dict[str, int] = defaultdict(int)
        for layer in layers:
            per_family[family(layer)] += getattr(layer, figure)
        top = max(per_family, key=lambda name: per_family[name])
        largest = max(layers, key=lambda layer: getattr(layer, figure))
        facts = {
            "fraction": _percent(per_family[top], total),
            "figure": FIGURE_NAMES[figure],
            "family": FAMILY_NAMES[top],
            "largest": _percent(getattr(largest, figure), total),
            "layer": largest.name,
        }
        text = "{fraction} of the {figure} in {family}, {largest} in {layer} alone"
        sentences.append(translated("inspection.dominant", text, **facts))
    return sentences


def _percent(value: int, total: int) -> str:
    if value >= 0.01 * total:
        return f"{100 * value / total:.0f} %"
    return translated("inspection.below_one_percent", "less than 1 %")


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
        return inputs + 1, translated("inspection.vc_exact", "exact for each output: inputs + 1")
    basis = translated("inspection.vc_order", "order of magnitude: W log2 W for W parameters")
    return weights * math.log2(max(weights, 2)), basis
