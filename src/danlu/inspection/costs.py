"""Multiply-adds of single tensor operations, from the shapes of their inputs and outputs.

Convolutions and matrix products are counted: weights times inputs, and inputs times inputs (attention). Biases,
pooling, normalisation and activations are not, as in papers and other libraries.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def _product(a: Tensor, b: Tensor) -> int:
    """Multiply-adds of (..., n, k) times (..., k, m)."""
    return a.numel() * b.shape[-1]


def _attention(q: Tensor, k: Tensor, v: Tensor) -> int:
    """Multiply-adds of attention, queries (N, heads, T, d) and S keys and values of width d': N heads T S (d + d')."""
    return math.prod(q.shape[:-1]) * k.shape[-2] * (q.shape[-1] + v.shape[-1])


PRODUCTS: dict[Any, Callable[[Sequence[Any]], int]] = {
    aten.mm: lambda args: _product(args[0], args[1]),
    aten.bmm: lambda args: _product(args[0], args[1]),
    aten.addmm: lambda args: _product(args[1], args[2]),
    aten.baddbmm: lambda args: _product(args[1], args[2]),
    aten.mv: lambda args: args[0].numel(),
    aten.addmv: lambda args: args[1].numel(),
    aten.dot: lambda args: args[0].numel(),
    # Fused attention: occurs only on a real device.
    aten._scaled_dot_product_flash_attention_for_cpu: lambda args: _attention(*args[:3]),
    aten._scaled_dot_product_flash_attention: lambda args: _attention(*args[:3]),
    aten._scaled_dot_product_efficient_attention: lambda args: _attention(*args[:3]),
    aten._scaled_dot_product_cudnn_attention: lambda args: _attention(*args[:3]),
}
CONVOLUTIONS = (aten.convolution, aten._convolution)


class Costs:
    """Multiply-adds per operation, aware of kernels that were filled from zeros.

    A kernel made by writing n numbers into zeros (the connection table of LeNet-5's C3) costs n multiply-adds per
    position, not its full size.
    """

    def __init__(self) -> None:
        self._entries: dict[int, tuple[Tensor, int]] = {}  # id -> tensor (kept alive: ids are reused), non-zeros

    def of(self, op: Any, args: Sequence[Any], out: Any) -> int:
        """Return the multiply-adds of `out = op(*args)`. op: an overload of torch.ops.aten."""
        kind = op.overloadpacket
        if kind in CONVOLUTIONS:
            return self._convolution(args, out)
        if kind in PRODUCTS:
            return PRODUCTS[kind](args)
        self._track_zeros(kind, args, out)
        return 0

    def _convolution(self, args: Sequence[Any], out: Tensor) -> int:
        """Each output value sums over one kernel; in a transposed convolution each input value is spread by one."""
        x, weight, transposed = args[0], args[1], args[6]
        _, entries = self._entries.get(id(weight), (weight, weight.numel()))
        values = x if transposed else out
        return values.numel() * entries // weight.shape[0]

    def _track_zeros(self, kind: Any, args: Sequence[Any], out: Any) -> None:
        if kind in (aten.new_zeros, aten.zeros, aten.zeros_like):
            self._entries[id(out)] = (out, 0)
        elif kind in (aten.index_put, aten.index_put_) and id(args[0]) in self._entries:
            entries = self._entries[id(args[0])][1] + args[2].numel()
            self._entries[id(out)] = (out, min(entries, out.numel()))
