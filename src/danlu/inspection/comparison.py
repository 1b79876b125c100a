"""Networks side by side: where each of them spends its parameters, its multiply-adds and its memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from danlu.inspection.dominance import FIGURES, family
from danlu.inspection.layers import Layer

SINGULAR = {"convolutions": "convolution", "dense layers": "dense", "attention": "attention"}
KERNELS = (3, 5)  # of the single convolutions that a block of branches is held against


def weighted(layers: Sequence[Layer]) -> list[dict[str, Any]]:
    """Every layer that multiplies, with its place among its like: "convolution 1", "dense 2".

    Rows of {"place", "name", "detail", "output", "parameters", "multiply_adds"}; networks are laid side by side by
    their places.
    """
    counted: Counter[str] = Counter()
    rows = []
    for layer in layers:
        if not layer.multiply_adds:
            continue
        word = SINGULAR.get(family(layer), "other")
        counted[word] += 1
        kept = ("name", "detail", "parameters", "multiply_adds")
        row = {"place": f"{word} {counted[word]}"} | {key: getattr(layer, key) for key in kept}
        rows.append(row | {"output": list(layer.output)})
    return rows


def shares(layers: Sequence[Layer]) -> dict[str, dict[str, float]]:
    """Family of layers -> {"parameters", "multiply_adds", "activation_bytes"} as shares of the network's, 0 to 1."""
    totals = {figure: sum(getattr(layer, figure) for layer in layers) for figure in FIGURES}
    found: dict[str, dict[str, float]] = {}
    for layer in layers:
        own = found.setdefault(family(layer), dict.fromkeys(FIGURES, 0.0))
        for figure, total in totals.items():
            own[figure] += getattr(layer, figure) / total if total else 0.0
    return {name: own for name, own in found.items() if any(own.values())}


def first_dense(layers: Sequence[Layer]) -> Layer | None:
    """The first dense layer behind a convolution: the one that takes a whole map, and with it most parameters."""
    behind = False
    for layer in layers:
        kind = family(layer) if layer.multiply_adds else ""
        if kind == "dense layers" and behind:
            return layer
        behind = behind or kind == "convolutions"
    return None


def branched(layers: Sequence[Layer], input_shape: Sequence[int]) -> list[dict[str, Any]]:
    """Blocks that stack the maps of several branches, against one convolution from the same map to the same map.

    Rows of {"name", "input", "output", "parameters", "multiply_adds", "instead": {"3x3": ..., "5x5": ...}}, where
    "instead" holds the parameters and multiply-adds of k x k convolutions: k k c_in c_out, times H W (biases left out).
    """
    rows = []
    for joint in layers:
        if "concatenate" not in joint.detail or len(joint.output) != 3:
            continue
        inside = [i for i, layer in enumerate(layers) if layer.name.startswith(f"{joint.name}.")]
        if not inside:
            continue
        before = layers[inside[0] - 1].output if inside[0] else tuple(input_shape)
        (c_in, *side), (c_out, *side_out) = before, joint.output
        if side != side_out:  # a block with a stride has no single convolution that does the same
            continue
        parts = [layers[i] for i in inside]
        instead = {f"{k}x{k}": k * k * c_in * c_out for k in KERNELS}
        pixels = side[0] * side[1]
        rows.append(
            {
                "name": joint.name,
                "input": list(before),
                "output": list(joint.output),
                "parameters": sum(layer.parameters for layer in parts),
                "multiply_adds": sum(layer.multiply_adds for layer in parts),
                "instead": {k: {"parameters": n, "multiply_adds": n * pixels} for k, n in instead.items()},
            }
        )
    return rows


def verdicts(networks: Sequence[dict[str, Any]]) -> list[str]:
    """How many times the last network's figures the others have, one sentence for each.

    networks: {"model", "parameters", "multiply_adds", "activation_bytes"}.
    """
    *others, base = networks
    sentences = []
    for other in others:
        times = (f"{_times(other[key], base[key])} the {word}" for key, word in FIGURES.items())
        sentences.append(f"{other['model']} has {', '.join(times)} of {base['model']}")
    return sentences


def _times(number: float, base: float) -> str:
    ratio = number / base if base else float("inf")
    return f"{ratio:,.0f} times" if ratio >= 10 else f"{ratio:.2g} times"
