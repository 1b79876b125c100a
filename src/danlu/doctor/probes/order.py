"""Sequences whose order has no effect: attention without positions sees a set of items."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from danlu.doctor.probes.mixing import NamedValue, samples_are_rows
from danlu.doctor.probes.sample import FirstSamples, cut, first_tensor

MIN_LENGTH = 4  # items of a sequence
MIN_SPREAD = 1e-3  # deviation between samples relative to that of all outputs; below it no input has an effect


def order_effect(sample: FirstSamples, base: Tensor, scale: float) -> Iterator[NamedValue]:
    """Yield probe.order: change of the outputs when the items of each sequence are reordered, of models with attention.

    The change is relative to the deviation between samples: a network that has nearly collapsed still shows both.
    Outputs for each item are reordered alike before they are compared.
    """
    inputs = sample.inputs
    if inputs.dim() not in (2, 3) or inputs.shape[1] < MIN_LENGTH or not has_attention(sample.model):
        return
    if inputs.dim() == 2 and inputs.is_floating_point():
        return  # columns of a table
    if base.shape[0] != inputs.shape[0] or not samples_are_rows(sample):
        return
    spread = float(base.float().std(0, correction=0).mean()) if len(base) > 1 else scale
    if spread < MIN_SPREAD * scale:
        return  # collapsed: the outputs are the same for any sequence, in this order or another
    length = inputs.shape[1]
    order = torch.arange(length, device=inputs.device).flip(0).roll(1)
    if bool((inputs[:, order] == inputs).all()):
        return

    def reordered(tensor: Tensor) -> Tensor:
        return tensor[:, order] if tensor.dim() > 1 and tensor.shape[1] == length else tensor

    args, kwargs = cut((sample.args, sample.kwargs), inputs.shape[0], reordered)
    found = first_tensor(sample.model(*args, **kwargs))
    if found is not None and found.shape == base.shape:
        expected = reordered(base) if base.dim() > 2 else base
        yield "probe.order", float((found - expected).float().abs().mean()) / spread, ""


def has_attention(model: nn.Module) -> bool:
    """Return whether a part of the model is called attention."""
    return any("attention" in type(module).__name__.lower() for module in model.modules())
