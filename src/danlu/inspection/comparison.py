"""Compare networks layer by layer: parameters, multiply-adds and memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from danlu.inspection.dominance import FIGURES, family
from danlu.inspection.layers import Layer

ROWS = {"convolutions": "conv", "attention": "attention", "dense layers": "dense"}  # family -> row label, in order
KERNELS = (3, 5)  # sides of the single convolutions that a block of branches is compared with


def compare(networks: Mapping[str, Sequence[Layer]]) -> list[dict[str, Any]]:
    """Align the layers with multiply-adds of several networks: first convolution beside first convolution, and so on.

    Args:
        networks: Name -> traced layers.

    Returns:
        Rows {"row": "conv 1", NAME: {"output", "parameters", "multiply_adds"} or None, ...}. The last row is "total",
        without "output"; its parameters are those of all layers, normalisation included.
    """
    found = {name: _numbered(layers) for name, layers in networks.items()}
    order = [*ROWS.values(), "other"]
    keys = {key for cells in found.values() for key in cells}
    rows: list[dict[str, Any]] = [
        {"row": f"{label} {number}"} | {name: cells.get((label, number)) for name, cells in found.items()}
        for label, number in sorted(keys, key=lambda key: (order.index(key[0]), key[1]))
    ]
    totals = {name: _sums(layers) for name, layers in networks.items()}
    return [*rows, {"row": "total"} | totals]


def _numbered(layers: Sequence[Layer]) -> dict[tuple[str, int], dict[str, Any]]:
    """Return (row label, running number) -> figures of each layer with multiply-adds."""
    counted: Counter[str] = Counter()
    cells = {}
    for layer in layers:
        if layer.multiply_adds:
            label = ROWS.get(family(layer), "other")
            counted[label] += 1
            figures = {"parameters": layer.parameters, "multiply_adds": layer.multiply_adds}
            cells[label, counted[label]] = {"output": list(layer.output)} | figures
    return cells


def _sums(layers: Sequence[Layer]) -> dict[str, int]:
    return {key: sum(getattr(layer, key) for layer in layers) for key in ("parameters", "multiply_adds")}


def family_fractions(layers: Sequence[Layer]) -> dict[str, dict[str, float]]:
    """Return family of layers -> {"parameters", "multiply_adds", "activation_bytes"} as fractions of the totals."""
    totals = {figure: sum(getattr(layer, figure) for layer in layers) for figure in FIGURES}
    found: dict[str, dict[str, float]] = {}
    for layer in layers:
        fractions = found.setdefault(family(layer), dict.fromkeys(FIGURES, 0.0))
        for figure, total in totals.items():
            fractions[figure] += getattr(layer, figure) / total if total else 0.0
    return {name: fractions for name, fractions in found.items() if any(fractions.values())}


def branched(layers: Sequence[Layer], input_shape: Sequence[int]) -> list[dict[str, Any]]:
    """Compare blocks that concatenate branches with a single convolution of the same input and output shape.

    Blocks with a stride are skipped: their branches pool, which a single convolution cannot replace.

    Args:
        layers: Traced layers of one network.
        input_shape: (C, H, W) of the network's input.

    Returns:
        Rows {"name", "input", "output", "parameters", "multiply_adds", "instead": {"3x3": {...}, "5x5": {...}}};
        "instead" holds the parameters k k c_in c_out and the multiply-adds (times H W) of a k x k convolution without
        bias.
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
