"""The parts that networks share: activations and normalisations by name, the convolution block, initialisation.

Shapes: N batch, C channels, H, W.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from types import MethodType

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from danlu.models.batch_renorm import BatchRenorm
from danlu.models.sparse_convolution import SparseConvolution
from danlu.refuse import choose, refusal


class ScaledSigmoid(nn.Module):
    """4 sigmoid(x) - 2: a sigmoid that passes through the origin with slope 1, so that variance survives depth."""

    def forward(self, x: Tensor) -> Tensor:
        return 4 * torch.sigmoid(x) - 2


class ScaledTanh(nn.Module):
    """1.7159 tanh(2x/3): keeps +-1 where it is (LeCun et al. 1998, appendix A)."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(2 / 3 * x)


# In place where the backward pass needs only the result.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "leaky": lambda: nn.LeakyReLU(0.01, inplace=True),
    "tanh": nn.Tanh,
    "scaled-tanh": ScaledTanh,
    "sigmoid": nn.Sigmoid,
    "scaled-sigmoid": ScaledSigmoid,
    "gelu": nn.GELU,
    "silu": lambda: nn.SiLU(inplace=True),
    "none": nn.Identity,
}

# name -> layer for (channels, flat): flat inputs are (N, C), others (N, C, H, W).
NORMS: dict[str, Callable[[int, bool], nn.Module]] = {
    "batch": lambda channels, flat: nn.BatchNorm1d(channels) if flat else nn.BatchNorm2d(channels),
    "layer": lambda channels, flat: nn.LayerNorm(channels) if flat else nn.GroupNorm(1, channels),
    "instance": lambda channels, flat: nn.GroupNorm(channels, channels),
    "group": lambda channels, flat: nn.GroupNorm(math.gcd(32, channels), channels),
    "batch-renorm": lambda channels, flat: BatchRenorm(channels),
    "weight": lambda channels, flat: nn.Identity(),  # these two change the weights instead: see `normalise_weights`
    "spectral": lambda channels, flat: nn.Identity(),
    "none": lambda channels, flat: nn.Identity(),
}


def activation_layer(name: str) -> nn.Module:
    """A new activation. Refusal for an unknown name."""
    return ACTIVATIONS[choose("model.activation", name, ACTIVATIONS, "a known activation")]()


def norm_layer(name: str, channels: int, *, flat: bool = False) -> nn.Module:
    """A new normalisation over `channels`; Identity for none, weight and spectral. Refusal for an unknown name.

    layer: over C, H, W with one scale per channel. group: 32 groups, fewer where 32 does not divide C.
    """
    choose("model.norm", name, NORMS, "a known normalisation")
    if flat and name == "instance":
        raise refusal("model.norm", "a normalisation that rows of numbers allow", name, do="try layer or batch")
    return NORMS[name](channels, flat)


def response_norm() -> nn.Module:
    """Local response normalisation with the constants of Krizhevsky et al. 2012: x / (2 + 1e-4 sum of 5 x^2)^0.75.

    torch divides alpha by the number of channels summed, the paper does not.
    """
    return nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)


def shifts(norm: str) -> bool:
    """Whether the normalisation adds a shift of its own, so that a bias before it would be void."""
    return norm not in ("none", "weight", "spectral")


def conv(
    inputs: int,
    outputs: int,
    kernel: int | tuple[int, int],
    *,
    stride: int = 1,
    padding: int | None = None,
    dilation: int = 1,
    groups: int = 1,
    bias: bool | None = None,
    norm: str = "none",
    activation: str = "relu",
) -> nn.Sequential:
    """Convolution, normalisation, activation: (N, inputs, H, W) -> (N, outputs, H', W').

    padding: None keeps the size at stride 1. bias: None means only where no normalisation brings a shift.
    """
    bias = not shifts(norm) if bias is None else bias
    if padding is None:
        high, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
        around = (dilation * (high - 1) // 2, dilation * (wide - 1) // 2)
    else:
        around = (padding, padding)
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, around, dilation, groups, bias),
        norm_layer(norm, outputs),
        activation_layer(activation),
    ]
    return nn.Sequential(*(layer for layer in layers if not isinstance(layer, nn.Identity)))


def weighted(model: nn.Module) -> Iterator[nn.Conv2d | nn.Linear]:
    """The convolutions and dense layers, in the order in which they were built."""
    return (m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear))


def hidden(model: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """All of them but the one that gives the outputs: the last of the head, or of the whole where there is none."""
    outputs = list(weighted(getattr(model, "head", model)))[-1:]  # none where the head was taken off
    return [layer for layer in weighted(model) if all(layer is not one for one in outputs)]


def normalise_weights(model: nn.Module, norm: str) -> None:
    """Put weight norm (Salimans & Kingma 2016) or spectral norm (Miyato et al. 2018) on all layers but the last."""
    parametrise = {"weight": parametrizations.weight_norm, "spectral": parametrizations.spectral_norm}[norm]
    for layer in hidden(model):
        parametrise(layer)


def he_normal(model: nn.Module) -> None:
    """He et al. 2015: variance 2 / fan in, which keeps the activations' size through ReLUs; biases 0.

    The last layer stays as it is: torch's smaller weights give nearly equal odds at the start.
    """
    for layer in hidden(model):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def stay_in_eval(module: nn.Module) -> None:
    """The module, and what is in it, is in eval mode from now on, whatever `train()` says: it becomes a fixed map."""
    module.train = MethodType(_train_not, module)  # a method: a deep copy of the module gets its own
    module.eval()


def _train_not(self: nn.Module, mode: bool = True) -> nn.Module:
    return nn.Module.train(self, False)


def initialise(model: nn.Module, name: str) -> None:
    """Draw all weights anew and set the biases of the same layers to 0; `default` leaves the network's own.

    name: default; xavier, uniform in +-sqrt(6 / (fan in + fan out)); he, normal with variance 2 / fan in; normal:STD;
    zero. Refusal for anything else.
    """
    kind, _, text = name.partition(":")
    if kind not in ("default", "xavier", "he", "normal", "zero") or (text != "") != (kind == "normal"):
        raise refusal("model.init", "default, xavier, he, normal:STD or zero", name)
    if kind == "default":
        return
    std = _std(text) if kind == "normal" else 0.0
    fill: dict[str, Callable[[Tensor], object]] = {
        "xavier": nn.init.xavier_uniform_,
        "he": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
        "normal": lambda weight: nn.init.normal_(weight, 0.0, std),
        "zero": nn.init.zeros_,
    }
    for layer in model.modules():
        if isinstance(layer, SparseConvolution):
            layer.draw(fill[kind])
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            fill[kind](layer.weight)
        elif isinstance(layer, nn.MultiheadAttention) and layer.in_proj_weight is not None:  # torchvision's
            for weight in layer.in_proj_weight.chunk(3):
                fill[kind](weight)
            continue
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _std(text: str) -> float:
    try:
        std = float(text)
    except ValueError:
        std = math.nan
    if not (0 < std < math.inf):
        raise refusal("model.init", "normal:STD with a number greater than 0", f"normal:{text}")
    return std
