"""Multiply-adds of one tensor operation, from the shapes of what goes in and comes out.

Counted are the products of weights and inputs, and of inputs with one another (attention): convolutions and matrix
products. Additions of bias, pooling, normalisation and activations are not, as in the papers and the libraries.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def _product(a: Tensor, b: Tensor) -> int:
    """(..., n, k) times (..., k, m)."""
    return a.numel() * b.shape[-1]


def _attention(q: Tensor, k: Tensor, v: Tensor) -> int:
    """q (N, heads, T, d) against all S keys, then the weights against the values: N heads T S (d + d')."""
    return math.prod(q.shape[:-1]) * k.shape[-2] * (q.shape[-1] + v.shape[-1])


PRODUCTS: dict[Any, Callable[[Sequence[Any]], int]] = {
    aten.mm: lambda args: _product(args[0], args[1]),
    aten.bmm: lambda args: _product(args[0], args[1]),
    aten.addmm: lambda args: _product(args[1], args[2]),
    aten.baddbmm: lambda args: _product(args[1], args[2]),
    aten.mv: lambda args: args[0].numel(),
    aten.addmv: lambda args: args[1].numel(),
    aten.dot: lambda args: args[0].numel(),
    # Attention in one kernel: met only where a network runs on a real device.
    aten._scaled_dot_product_flash_attention_for_cpu: lambda args: _attention(*args[:3]),
    aten._scaled_dot_product_flash_attention: lambda args: _attention(*args[:3]),
    aten._scaled_dot_product_efficient_attention: lambda args: _attention(*args[:3]),
    aten._scaled_dot_product_cudnn_attention: lambda args: _attention(*args[:3]),
}
CONVOLUTIONS = (aten.convolution, aten._convolution)


class Costs:
    """Counts operation by operation, and remembers which tensors hold zeros that need no multiplication.

    A kernel that was laid out by writing n numbers into zeros (the connection table of LeNet-5's C3) costs n
    multiply-adds per position, not its full size.
    """

    def __init__(self) -> None:
        self._entries: dict[int, tuple[Tensor, int]] = {}  # id -> tensor (kept alive, so that the id stays its own)

    def of(self, op: Any, args: Sequence[Any], out: Any) -> int:
        """Multiply-adds of `out = op(*args)`. op: an overload of torch.ops.aten."""
        kind = op.overloadpacket
        if kind in CONVOLUTIONS:
            return self._convolution(args, out)
        if kind in PRODUCTS:
            return PRODUCTS[kind](args)
        self._watch(kind, args, out)
        return 0

    def _convolution(self, args: Sequence[Any], out: Tensor) -> int:
        """Each output number sums the numbers of one kernel; transposed, each input number is spread by one."""
        x, weight, transposed = args[0], args[1], args[6]
        _, entries = self._entries.get(id(weight), (weight, weight.numel()))
        numbers, kernels = (x, weight.shape[0]) if transposed else (out, weight.shape[0])
        return numbers.numel() * entries // kernels

    def _watch(self, kind: Any, args: Sequence[Any], out: Any) -> None:
        if kind in (aten.new_zeros, aten.zeros, aten.zeros_like):
            self._entries[id(out)] = (out, 0)
        elif kind in (aten.index_put, aten.index_put_) and id(args[0]) in self._entries:
            entries = self._entries[id(args[0])][1] + args[2].numel()
            self._entries[id(out)] = (out, min(entries, out.numel()))
