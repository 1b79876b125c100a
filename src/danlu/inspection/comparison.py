"""Networks side by side: where each of them spends its parameters, its multiply-adds and its memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from danlu.inspection.dominance import FIGURES, family
from danlu.inspection.layers import Layer

ROWS = {"convolutions": "conv", "attention": "attention", "dense layers": "dense"}  # family -> its rows, in this order
KERNELS = (3, 5)  # of the single convolutions that a block of branches is held against


def compare(networks: Mapping[str, Sequence[Layer]]) -> list[dict[str, Any]]:
    """Every layer that multiplies, beside its like: the first convolution of one network beside that of another.

    Rows {"row": "conv 1", NAME: {"output", "parameters", "multiply_adds"} or None, ...}; the last is "total", without
    an output and with the parameters of all layers, those that only normalise among them.
    """
    found = {name: _numbered(layers) for name, layers in networks.items()}
    order = [*ROWS.values(), "other"]
    places = {place for own in found.values() for place in own}
    rows: list[dict[str, Any]] = [
        {"row": f"{word} {number}"} | {name: own.get((word, number)) for name, own in found.items()}
        for word, number in sorted(places, key=lambda place: (order.index(place[0]), place[1]))
    ]
    totals = {name: _sums(layers) for name, layers in networks.items()}
    return [*rows, {"row": "total"} | totals]


def _numbered(layers: Sequence[Layer]) -> dict[tuple[str, int], dict[str, Any]]:
    counted: Counter[str] = Counter()
    cells = {}
    for layer in layers:
        if layer.multiply_adds:
            word = ROWS.get(family(layer), "other")
            counted[word] += 1
            figures = {"parameters": layer.parameters, "multiply_adds": layer.multiply_adds}
            cells[word, counted[word]] = {"output": list(layer.output)} | figures
    return cells


def _sums(layers: Sequence[Layer]) -> dict[str, int]:
    return {key: sum(getattr(layer, key) for layer in layers) for key in ("parameters", "multiply_adds")}


def shares(layers: Sequence[Layer]) -> dict[str, dict[str, float]]:
    """Family of layers -> {"parameters", "multiply_adds", "activation_bytes"} as shares of the network's, 0 to 1."""
    totals = {figure: sum(getattr(layer, figure) for layer in layers) for figure in FIGURES}
    found: dict[str, dict[str, float]] = {}
    for layer in layers:
        own = found.setdefault(family(layer), dict.fromkeys(FIGURES, 0.0))
        for figure, total in totals.items():
            own[figure] += getattr(layer, figure) / total if total else 0.0
    return {name: own for name, own in found.items() if any(own.values())}


def branched(layers: Sequence[Layer], input_shape: Sequence[int]) -> list[dict[str, Any]]:
    """Blocks that stack the maps of several branches, against one convolution from the same map to the same map.

    Rows {"name", "input", "output", "parameters", "multiply_adds", "instead": {"3x3": {...}, "5x5": {...}}}, where
    "instead" holds the parameters and multiply-adds of a k x k convolution: k k c_in c_out, times H W (biases left
    out). Blocks with a stride are left out: their branches pool, and no one convolution does the same.
    """
    rows = []
    for joint in layers:
        inside = [i for i, layer in enumerate(layers) if layer.name.startswith(f"{joint.name}.")]
        if "concatenate" not in joint.detail or len(joint.output) != 3 or not inside:
            continue
        before = layers[inside[0] - 1].output if inside[0] else tuple(input_shape)
        if before[1:] != joint.output[1:]:
            continue
        weights = {f"{k}x{k}": k * k * before[0] * joint.output[0] for k in KERNELS}
        pixels = before[1] * before[2]
        instead = {kernel: {"parameters": n, "multiply_adds": n * pixels} for kernel, n in weights.items()}
        row = {"name": joint.name, "input": list(before), "output": list(joint.output)}
        rows.append(row | _sums([layers[i] for i in inside]) | {"instead": instead})
    return rows
