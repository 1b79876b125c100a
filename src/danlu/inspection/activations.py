"""Features of samples at one layer of a network: its outputs, averaged over positions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from danlu.message import message
from danlu.refuse import refusal

MAX_LAYERS_LISTED = 12  # in the sentence for an unknown layer


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """Return the module called `name`. Raises Refusal, with the nearest names, if the network has none."""
    modules = {one: module for one, module in model.named_modules() if one}
    if name not in modules:
        top = [one for one, _ in model.named_children()]
        listed = ", ".join(top[:MAX_LAYERS_LISTED]) + (", ..." if len(top) > MAX_LAYERS_LISTED else "")
        wanted = message("inspection.wanted.layer", "a layer of the network ({names}, or within one)", names=listed)
        raise refusal("--layer", wanted, name, near=modules)
    return modules[name]


@contextmanager
def captured(layer: nn.Module, *, inputs: bool = False) -> Iterator[list[Any]]:
    """Collect the output of a layer, or its first input, at every call inside the block.

    Args:
        layer: Module that is called in the block.
        inputs: Collect the first input instead of the output.
    """
    found: list[Any] = []

    def keep(_: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        value = arguments[0] if inputs else output
        found.append(value.clone() if isinstance(value, Tensor) else value)  # a layer after it may work in place

    handle = layer.register_forward_hook(keep)
    try:
        yield found
    finally:
        handle.remove()


def pooled(value: Any, count: int, layer: str) -> Tensor:
    """Features of `count` samples, float32 (count, D) on the CPU, from the output of a layer.

    Maps (N, C, H, W) are averaged over their pixels, tokens (N, L, D) over the tokens. Raises Refusal for a layer that
    does not return one tensor with a row for each sample.

    Args:
        value: Output of the layer.
        count: Number of samples in the batch, N.
        layer: Name of the layer.
    """
    if not isinstance(value, Tensor) or value.ndim < 2 or len(value) != count:
        wanted = message("inspection.wanted.row_per_sample", "a layer whose output has one row for each sample")
        shown = f"{tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise refusal("--layer", wanted, f"{layer}, {shown}")
    value = value.float()
    if value.ndim == 3:
        value = value.mean(1)
    elif value.ndim > 3:
        value = value.flatten(2).mean(2)
    return torch.nan_to_num(value).cpu()
