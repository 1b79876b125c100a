"""2:4 sparsity: at most two non-zero weights of every four along the input channels, a pattern GPUs accelerate.

During training a layer's `weight` is computed from a stored `original` (torch's parametrisations), so that forward
pass, evaluation, weight averages and checkpoints are consistent. `plain_state` returns the effective weights under the
names of a network without sparsity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from danlu.config import ModelConfig
from danlu.learning.transposable import best_tiles, fits
from danlu.message import message
from danlu.refuse import refusal


def largest_two(weight: Tensor) -> Tensor:
    """Return the mask of weights to keep: the two largest magnitudes of every four neighbours along dimension 1.

    Ties are broken in favour of the first, so that exactly two of four are kept.

    Args:
        weight: (outputs, inputs, ...), inputs a multiple of 4.

    Returns:
        Bool tensor of the shape of `weight`.
    """
    groups = weight.detach().abs().movedim(1, -1).unflatten(-1, (-1, 4))
    own, other = groups.unsqueeze(-1), groups.unsqueeze(-2)
    before = torch.ones(4, 4, dtype=torch.bool, device=weight.device).tril(-1)
    larger = ((other > own) | ((other == own) & before)).sum(-1)
    return (larger < 2).flatten(-2).movedim(-1, 1)


def is_sparse(weight: Tensor) -> bool:
    """Return whether at most two of every four neighbours along dimension 1 are non-zero."""
    if weight.ndim < 2 or weight.shape[1] % 4:
        return False
    return bool(((weight != 0).movedim(1, -1).unflatten(-1, (-1, 4)).sum(-1) <= 2).all())


class Fixed(nn.Module):
    """Parametrisation with a fixed mask: pruned weights and their gradients stay zero (Mishra et al. 2021)."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, original: Tensor) -> Tensor:
        """Return the weight with the pruned entries at zero; same shape."""
        return original.masked_fill(~self.mask, 0)


class Refined(nn.Module):
    """Parametrisation with a new mask at every step; the gradient reaches all weights (straight-through estimator).

    Together with `decay_pruned` this is SR-STE (Zhou et al., "Learning N:M Fine-grained Structured Sparse Neural
    Networks From Scratch", 2021).

    mask_of: weight -> mask of the weights to keep.
    """

    def __init__(self, mask_of: Callable[[Tensor], Tensor] = largest_two) -> None:
        super().__init__()
        self.mask_of = mask_of

    def forward(self, original: Tensor) -> Tensor:
        """Return the weight with the entries that are pruned now at zero; same shape."""
        return original - original.detach().masked_fill(self.mask_of(original), 0)  # exact: w - 0, or w - w


def sparsify(model: nn.Module, config: ModelConfig) -> list[str]:
    """Prune the convolutions and dense layers in place as set by `config.sparse`.

    A layer stays dense if its input channels are no multiple of 4 (with `sparse_both` also its output channels), if it
    is frozen or, with fixed masks, if all its weights are zero, because then magnitudes carry no information.

    Returns:
        Names of the layers that stay dense.

    Raises:
        Refusal: No layer can be pruned, or weights are parametrised already (weight or spectral norm).
    """
    if config.sparse is None:
        if config.sparse_refine:
            raise refusal(
                "--model.sparse_refine",
                message("learning.wanted.omitted_without_sparse", "omitted without --sparse"),
                config.sparse_refine,
            )
        if config.sparse_both:
            omitted = message("learning.wanted.omitted_without_sparse", "omitted without --sparse")
            raise refusal("--model.sparse_both", omitted, config.sparse_both)
        return []
    mask_of = best_tiles if config.sparse_both else largest_two
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    dense = []
    for name, layer in layers:
        if parametrize.is_parametrized(layer):
            raise refusal(
                "--model.norm",
                message("learning.wanted.other_weight_spectral_sparse", "other than weight and spectral with --sparse"),
                config.norm,
            )
        has_magnitudes = config.sparse_refine or layer.weight.any()
        divides = fits(layer.weight) if config.sparse_both else layer.weight.shape[1] % 4 == 0
        if not divides or not layer.weight.requires_grad or not has_magnitudes:
            dense.append(name)
            continue
        if config.sparse_refine:
            parametrize.register_parametrization(layer, "weight", Refined(mask_of))
            continue
        mask = mask_of(layer.weight)
        with torch.no_grad():  # zero weights without gradient stay zero under momentum and decay
            layer.weight.masked_fill_(~mask, 0)
        parametrize.register_parametrization(layer, "weight", Fixed(mask))
    if len(dense) == len(layers):
        wanted = message(
            "learning.wanted.omitted_if_layer_multiple",
            "omitted if no layer has a multiple of 4 input channels and weights that train and are not all 0",
        )
        raise refusal("--sparse", wanted, config.sparse)
    return dense


def decay_pruned(model: nn.Module, optimizer: torch.optim.Optimizer, decay: float) -> None:
    """Add decay * (1 - mask) * w to the gradient of each `Refined` weight w before every optimiser step.

    With plain gradient descent this is SR-STE's w <- w - lr (g + decay (1 - mask) w), g the gradient at the pruned
    weights. It is applied after clipping and, as other weight decay, once per step under gradient accumulation.
    """
    weights = [(held.original, one.mask_of) for _, held in _pruned(model) if isinstance(one := held[0], Refined)]
    if not weights:
        return

    @torch.no_grad()
    def add(optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        for weight, mask_of in weights:
            if weight.grad is not None:
                weight.grad.add_(weight.masked_fill(mask_of(weight), 0), alpha=decay)

    optimizer.register_step_pre_hook(add)


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """Return `model.state_dict()` with pruned weights, zeros included, under the names of a dense network."""
    state = model.state_dict()
    for name, held in _pruned(model):
        for key in held.state_dict(prefix=f"{name}."):
            del state[key]
        state[name.replace("parametrizations.weight", "weight")] = held().detach()
    return state


def _pruned(model: nn.Module) -> Iterator[tuple[str, parametrize.ParametrizationList]]:
    """Iterate over name and parametrisations of every weight pruned by `sparsify`."""
    for name, module in model.named_modules():
        if isinstance(module, parametrize.ParametrizationList) and isinstance(module[0], Fixed | Refined):
            yield name, module


class SemiStructuredLinear(nn.Module):
    """Trained dense layer on the GPU's 2:4 kernels: (..., inputs) -> (..., outputs), in the dtype of the input."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., outputs) of an input (..., inputs), in its dtype."""
        rows = x.reshape(-1, x.shape[-1]).to(self.weight.dtype)
        return F.linear(rows, self.weight, self.bias).to(x.dtype).unflatten(0, x.shape[:-1])


def semi_structured(model: nn.Module, dtype: torch.dtype = torch.float16) -> list[str]:
    """Move a trained network's 2:4 dense layers to the GPU's sparse kernels, in place, for inference only.

    torch has such kernels for dense layers whose sizes are multiples of 32 or 64 (depending on the GPU), and none for
    convolutions.

    Args:
        dtype: float16 or bfloat16, the dtype of these layers' computation.

    Returns:
        Names of the converted layers.

    Raises:
        Refusal: No GPU of compute capability 8.0 or newer.
    """
    device = next(model.parameters()).device
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 0):
        raise refusal(
            "device of the network",
            message("learning.wanted.cuda_gpu_compute_capability", "a CUDA GPU of compute capability 8.0 or newer"),
            str(device),
        )
    converted = []
    for name, layer in list(model.named_modules()):
        if not (name and type(layer) is nn.Linear and is_sparse(layer.weight)):
            continue
        try:
            weight = torch.sparse.to_sparse_semi_structured(layer.weight.detach().to(dtype).contiguous())
        except (RuntimeError, ValueError, NotImplementedError):  # a size that the kernels do not accept
            continue
        bias = None if layer.bias is None else layer.bias.detach().to(dtype)
        model.set_submodule(name, SemiStructuredLinear(weight, bias))
        converted.append(name)
    return converted
