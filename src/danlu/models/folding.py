"""Fold frozen batch norms into the convolutions before them: frozen layers then need fewer passes over memory.

Parameters and buffers stay as they are; only the computation changes.
"""

from __future__ import annotations

from itertools import pairwise
from types import MethodType
from typing import cast

import torch
from torch import Tensor, nn


def fold_frozen_norms(model: nn.Module) -> int:
    """Fold, in place, each frozen batch norm into the frozen convolution before it; return the number of pairs.

    A pair is two adjacent children of one module, where the convolution has no bias, neither has a parameter that needs
    a gradient, and the batch norm stays in eval mode (`stay_in_eval`). Outputs change by rounding errors only, provided
    that the network applies the two in this order and uses nothing in between, as the packaged networks do.
    """
    pairs = [pair for module in model.modules() for pair in _pairs(module)]
    for conv, norm in pairs:
        conv.__dict__["folded_norm"] = norm  # not a submodule, so that the names of the parameters stay
        conv.__dict__["folded"] = ((), None, None)
        conv.forward = MethodType(_convolve, conv)
        norm.forward = MethodType(_activate, norm)
    return len(pairs)


def _pairs(module: nn.Module) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    return [
        (conv, norm)
        for conv, norm in pairwise(module.children())
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and _foldable(conv, norm)
    ]


def _foldable(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> bool:
    frozen = not any(parameter.requires_grad for parameter in (*conv.parameters(), *norm.parameters()))
    in_eval = not norm.training and "train" in vars(norm)
    return frozen and in_eval and conv.bias is None and norm.affine and norm.running_var is not None


def _convolve(self: nn.Conv2d, x: Tensor) -> Tensor:
    """Convolve with the folded weights, by the class's own forward, which may pad."""
    own, kept = self._parameters, dict(self._parameters)
    weight, bias = _folded(self)
    own["weight"], own["bias"] = cast(nn.Parameter, weight), cast(nn.Parameter, bias)
    try:
        return type(self).forward(self, x)
    finally:
        own.update(kept)


def _activate(self: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Apply the activation that timm's batch norms contain."""
    activation = getattr(self, "act", None)
    return activation(x) if isinstance(activation, nn.Module) else x


@torch.no_grad()
def _folded(conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of the pair, computed anew when one of its tensors was changed or moved."""
    norm = cast(nn.BatchNorm2d, conv.__dict__["folded_norm"])
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    tensors = (conv.weight, norm.weight, norm.bias, mean, variance)
    key = tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)
    if conv.__dict__["folded"][0] != key:
        scale = norm.weight / (variance + norm.eps).sqrt()
        weight = (conv.weight * scale[:, None, None, None]).contiguous(memory_format=_format(conv.weight))
        conv.__dict__["folded"] = (key, weight, norm.bias - mean * scale)
    return conv.__dict__["folded"][1:]


def _format(weight: Tensor) -> torch.memory_format:
    last = weight.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last and not weight.is_contiguous() else torch.contiguous_format
