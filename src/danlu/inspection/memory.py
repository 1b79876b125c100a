"""Memory of a training step at its peak, the start of the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from danlu.inspection.layers import in_mode, weightless

StateBytes = Callable[[Sequence[Tensor]], int]


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes of one training step in the network's dtype, without workspaces of kernels and the program itself.

    Args:
        batch_size: Samples per step.
        parameters: Parameters and buffers.
        gradients, optimizer_state: Of the trainable parameters.
        activations: Tensors kept for the backward pass.
    """

    batch_size: int
    parameters: int
    gradients: int
    optimizer_state: int
    activations: int

    @property
    def total(self) -> int:
        """Sum of all four, in bytes."""
        return self.parameters + self.gradients + self.optimizer_state + self.activations


def training_memory(model: nn.Module, sample: Tensor, batch_size: int, state_bytes: StateBytes) -> TrainingMemory:
    """Compute the memory of one step on `batch_size` inputs of the shape of `sample` (1, ...).

    Exceptions of a network that cannot be trained on such a batch are passed on.

    Args:
        state_bytes: Trainable parameters -> bytes of the optimiser's state (`OptimizerSpec.state_bytes`).
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    return TrainingMemory(
        batch_size,
        parameters=_bytes(model.parameters()) + _bytes(model.buffers()),
        gradients=_bytes(trained),
        optimizer_state=state_bytes(trained),
        activations=kept_for_backward(model, sample, batch_size),
    )


def kept_for_backward(model: nn.Module, sample: Tensor, batch_size: int) -> int:
    """Return the bytes that autograd saves in a training forward pass, each storage once, without weights.

    For one sample it returns half of the bytes of two, because batch norm needs two values per channel. A network whose
    forward pass depends on values, as the suppression of boxes does, is run on its own device on two samples.
    """
    count = max(batch_size, 2)
    try:
        x = torch.empty(count, *sample.shape[1:], dtype=sample.dtype, device="meta")
        held = _held(model, weightless(model), x)
    except (RuntimeError, NotImplementedError):
        weights = dict([*model.named_parameters(), *model.named_buffers()])
        device = next(iter(weights.values()), sample).device
        if device.type == "meta":
            raise
        count = 2
        x = torch.zeros(count, *sample.shape[1:], dtype=sample.dtype, device=device)
        copies = {n: t.detach().clone().requires_grad_(t.requires_grad) for n, t in weights.items()}
        held = _held(model, copies, x)
    return held * batch_size // count


def _held(model: nn.Module, weights: dict[str, Tensor], x: Tensor) -> int:
    """Bytes that autograd saves in a forward pass of `model` with these weights, without the weights."""
    saved: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage()._cdata] = tensor
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with in_mode(model, training=True), _fused_attention(), torch.enable_grad(), hooks:
        out = functional_call(model, weights, (x,))
    del out
    for weight in weights.values():
        saved.pop(weight.untyped_storage()._cdata, None)
    return sum(tensor.untyped_storage().nbytes() for tensor in saved.values())


class _Attention(torch.autograd.Function):
    """Shapes of fused attention, which saves its inputs, its output and one value per query."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = torch.empty_like(q[..., :1].expand(*q.shape[:-1], v.shape[-1]) if q.shape[-1] != v.shape[-1] else q)
        ctx.save_for_backward(q, k, v, out, q.new_empty(q.shape[:-1], dtype=torch.float32))
        return out


@contextmanager
def _fused_attention() -> Iterator[None]:
    """Let attention without mask and dropout save no T x T weights, as on real devices; the meta device saves them."""
    original = F.scaled_dot_product_attention

    def attention(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Any = None,
        dropout_p: float = 0.0,
        *more: Any,
        **named: Any,
    ) -> Tensor:
        plain_case = attn_mask is None and not dropout_p and query.ndim > 3
        if plain_case and query.shape[:-2] == key.shape[:-2]:
            return _Attention.apply(query, key, value)  # type: ignore[return-value]
        return original(query, key, value, attn_mask, dropout_p, *more, **named)

    F.scaled_dot_product_attention = attention
    try:
        yield
    finally:
        F.scaled_dot_product_attention = original


def _bytes(tensors: Any) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)
