"""2:4 sparsity: of every four weights along the input channels at most two are not zero, which cards compute faster.

While it trains, a layer's `weight` is computed from a stored `original` (torch's parametrisations), so that forward
pass, evaluation, averages of the weights and checkpoints all see what they should; `plain_state` gives the weights as
they act, for a network without any of this.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from danlu.config import ModelConfig
from danlu.refuse import refusal


def keeps(weight: Tensor) -> Tensor:
    """Which weights stay: the two largest in size of every four neighbours along dimension 1. Bool, weight's shape.

    weight: (outputs, inputs, ...), inputs a multiple of 4. Of equals the first stay, so that there are always two.
    """
    groups = weight.detach().abs().movedim(1, -1).unflatten(-1, (-1, 4))
    mine, other = groups.unsqueeze(-1), groups.unsqueeze(-2)
    before = torch.ones(4, 4, dtype=torch.bool, device=weight.device).tril(-1)
    larger = ((other > mine) | ((other == mine) & before)).sum(-1)
    return (larger < 2).flatten(-2).movedim(-1, 1)


def is_sparse(weight: Tensor) -> bool:
    """Whether at most two of every four neighbours along dimension 1 are not zero."""
    if weight.ndim < 2 or weight.shape[1] % 4:
        return False
    return bool(((weight != 0).movedim(1, -1).unflatten(-1, (-1, 4)).sum(-1) <= 2).all())


class Fixed(nn.Module):
    """The pruned weights are chosen once: they are zero, and their gradient is zero (Mishra et al. 2021)."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, original: Tensor) -> Tensor:
        return original.masked_fill(~self.mask, 0)


class Refined(nn.Module):
    """The pruned weights are chosen anew at every step, and the gradient reaches all (straight-through estimator).

    With `decay_pruned` this is SR-STE: Zhou et al., "Learning N:M Fine-grained Structured Sparse Neural Networks From
    Scratch", 2021.
    """

    def forward(self, original: Tensor) -> Tensor:
        return original - original.detach().masked_fill(keeps(original), 0)  # exact: w - 0, or w - w


def sparsify(model: nn.Module, config: ModelConfig) -> list[str]:
    """Prune the convolutions and dense layers in place, as `config.sparse` says. Gives the names of those left dense.

    Dense stay layers whose input channels are no multiple of 4, frozen ones and, where masks are chosen once, those of
    nothing but zeros, whose magnitudes say nothing. Refusal when no layer is left, or weights are computed already.
    """
    if config.sparse is None:
        if config.sparse_refine:
            raise refusal("--model.sparse_refine", "left out without --sparse", config.sparse_refine)
        return []
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    dense = []
    for name, layer in layers:
        if parametrize.is_parametrized(layer):
            raise refusal("--model.norm", "other than weight and spectral with --sparse", config.norm)
        chosen_by = config.sparse_refine or layer.weight.any()
        if layer.weight.shape[1] % 4 or not layer.weight.requires_grad or not chosen_by:
            dense.append(name)
            continue
        if config.sparse_refine:
            parametrize.register_parametrization(layer, "weight", Refined())
            continue
        mask = keeps(layer.weight)
        with torch.no_grad():  # at zero and without gradient, momentum and decay leave them where they are
            layer.weight.masked_fill_(~mask, 0)
        parametrize.register_parametrization(layer, "weight", Fixed(mask))
    if len(dense) == len(layers):
        wanted = "left out where no layer has a multiple of 4 input channels and weights that train and are not all 0"
        raise refusal("--sparse", wanted, config.sparse)
    return dense


def decay_pruned(model: nn.Module, optimizer: torch.optim.Optimizer, decay: float) -> None:
    """Before every step of the optimiser, add decay * (1 - mask) * w to the gradient of each `Refined` weight w.

    With plain gradient descent that is SR-STE's w <- w - rate (g + decay (1 - mask) w), g the gradient at the pruned
    weights. It comes after clipping and, as other weight decay, once for all batches whose gradients are added up.
    """
    weights = [held.original for _, held in _pruned(model) if isinstance(held[0], Refined)]
    if not weights:
        return

    @torch.no_grad()
    def add(optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        for weight in weights:
            if weight.grad is not None:
                weight.grad.add_(weight.masked_fill(keeps(weight), 0), alpha=decay)

    optimizer.register_step_pre_hook(add)


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """`model.state_dict()` as a network without sparsity has it: pruned weights under their usual names, zeros in."""
    state = model.state_dict()
    for name, held in _pruned(model):
        for key in held.state_dict(prefix=f"{name}."):
            del state[key]
        state[name.replace("parametrizations.weight", "weight")] = held().detach()
    return state


def _pruned(model: nn.Module) -> Iterator[tuple[str, parametrize.ParametrizationList]]:
    """Name and holder of every weight that `sparsify` has pruned."""
    for name, module in model.named_modules():
        if isinstance(module, parametrize.ParametrizationList) and isinstance(module[0], Fixed | Refined):
            yield name, module


class SemiStructuredLinear(nn.Module):
    """A trained dense layer on the card's 2:4 kernels: (..., inputs) -> (..., outputs), of the input's type."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1]).to(self.weight.dtype)
        return F.linear(rows, self.weight, self.bias).to(x.dtype).unflatten(0, x.shape[:-1])


def semi_structured(model: nn.Module, dtype: torch.dtype = torch.float16) -> list[str]:
    """Let a trained network's 2:4 dense layers compute on the card's sparse kernels, in place, for use only.

    dtype: float16 or bfloat16, in which those layers compute. Gives their names: torch has such kernels for dense
    layers, of sizes that are multiples of 32 or 64 (by the card), and none for convolutions. Refusal without a card of
    compute capability 8.0.
    """
    device = next(model.parameters()).device
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 0):
        raise refusal("device of the network", "a CUDA card of compute capability 8.0 or newer", str(device))
    done = []
    for name, layer in list(model.named_modules()):
        if not (name and type(layer) is nn.Linear and is_sparse(layer.weight)):
            continue
        try:
            weight = torch.sparse.to_sparse_semi_structured(layer.weight.detach().to(dtype).contiguous())
        except (RuntimeError, ValueError, NotImplementedError):  # a size that the kernels do not take
            continue
        bias = None if layer.bias is None else layer.bias.detach().to(dtype)
        model.set_submodule(name, SemiStructuredLinear(weight, bias))
        done.append(name)
    return done
