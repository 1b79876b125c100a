"""Building blocks shared by networks: activations and normalisations by name, the convolution block, initialisation.

Shapes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from types import MethodType

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from danlu.message import message
from danlu.models.batch_renorm import BatchRenorm
from danlu.models.sparse_convolution import SparseConvolution
from danlu.refuse import one_of, refusal


class ScaledSigmoid(nn.Module):
    """4 sigmoid(x) - 2: a sigmoid through the origin with slope 1, which keeps the variance across layers."""

    def forward(self, x: Tensor) -> Tensor:
        """Return values of the same shape as `x`, between -2 and 2."""
        return 4 * torch.sigmoid(x) - 2


class ScaledTanh(nn.Module):
    """1.7159 tanh(2x/3), which maps +-1 to +-1 (LeCun et al. 1998, appendix A)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return values of the same shape as `x`, between -1.7159 and 1.7159."""
        return 1.7159 * torch.tanh(2 / 3 * x)


# In place if the backward pass needs only the output.
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

# Name -> layer for (channels, flat): inputs are (N, C) if flat, else (N, C, H, W).
NORMS: dict[str, Callable[[int, bool], nn.Module]] = {
    "batch": lambda channels, flat: nn.BatchNorm1d(channels) if flat else nn.BatchNorm2d(channels),
    "layer": lambda channels, flat: nn.LayerNorm(channels) if flat else nn.GroupNorm(1, channels),
    "instance": lambda channels, flat: nn.GroupNorm(channels, channels),
    "group": lambda channels, flat: nn.GroupNorm(math.gcd(32, channels), channels),
    "batch-renorm": lambda channels, flat: BatchRenorm(channels),
    "weight": lambda channels, flat: nn.Identity(),  # reparametrises weights instead: see `normalise_weights`
    "spectral": lambda channels, flat: nn.Identity(),
    "none": lambda channels, flat: nn.Identity(),
}


def activation_layer(name: str) -> nn.Module:
    """Build the activation of ACTIVATIONS with this name. Raises Refusal for an unknown name."""
    return ACTIVATIONS[
        one_of("model.activation", name, ACTIVATIONS, message("models.wanted.known_activation", "a known activation"))
    ]()


def norm_layer(name: str, channels: int, *, flat: bool = False) -> nn.Module:
    """Build a normalisation over `channels`; Identity for "none", "weight" and "spectral".

    "layer" normalises over C, H, W with one scale per channel; "group" uses 32 groups, or fewer if 32 does not divide
    C. Raises Refusal for an unknown name, and for "instance" on flat inputs.
    """
    one_of("model.norm", name, NORMS, message("models.wanted.known_normalisation", "a known normalisation"))
    if flat and name == "instance":
        raise refusal(
            "model.norm",
            message("models.wanted.normalisation_table_rows", "a normalisation for table rows"),
            name,
            do=message("models.do.try_layer_batch", "try layer or batch"),
        )
    return NORMS[name](channels, flat)


def response_norm() -> nn.Module:
    """Build local response normalisation as in Krizhevsky et al. 2012: x / (2 + 1e-4 sum of 5 x^2)^0.75.

    torch divides alpha by the number of channels summed; the paper does not.
    """
    return nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)


def shifts(norm: str) -> bool:
    """Return whether the normalisation has its own shift, which makes a bias before it useless."""
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
    """Build convolution, normalisation, activation: (N, inputs, H, W) -> (N, outputs, H', W').

    Args:
        padding: In pixels; None keeps the size at stride 1.
        bias: None adds a bias only if the normalisation has no shift of its own.
    """
    bias = not shifts(norm) if bias is None else bias
    if padding is None:
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        paddings = (dilation * (height - 1) // 2, dilation * (width - 1) // 2)
    else:
        paddings = (padding, padding)
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, paddings, dilation, groups, bias),
        norm_layer(norm, outputs),
        activation_layer(activation),
    ]
    return nn.Sequential(*(layer for layer in layers if not isinstance(layer, nn.Identity)))


def weighted(model: nn.Module) -> Iterator[nn.Conv2d | nn.Linear]:
    """Iterate over the convolutions and dense layers in the order of construction."""
    return (m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear))


def hidden(model: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """Return all convolutions and dense layers but the output layer, the last of `head` (or of a model without one)."""
    outputs = list(weighted(getattr(model, "head", model)))[-1:]  # empty for backbones without a head
    return [layer for layer in weighted(model) if all(layer is not output for output in outputs)]


def normalise_weights(model: nn.Module, norm: str) -> None:
    """Apply weight norm (Salimans & Kingma 2016) or spectral norm (Miyato et al. 2018) to all layers but the last."""
    parametrise = {"weight": parametrizations.weight_norm, "spectral": parametrizations.spectral_norm}[norm]
    for layer in hidden(model):
        parametrise(layer)


def he_normal(model: nn.Module) -> None:
    """Initialise with variance 2 / fan in, which preserves the scale of activations through ReLUs; biases 0.

    He et al. 2015. The output layer keeps torch's smaller initialisation, so that the initial class probabilities are
    nearly equal.
    """
    for layer in hidden(model):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def stay_in_eval(module: nn.Module) -> None:
    """Keep the module and its submodules in eval mode for good: later calls of `train()` have no effect."""
    module.train = MethodType(_train_not, module)  # a bound method, so that a deep copy of the module gets its own
    module.eval()


def _train_not(self: nn.Module, mode: bool = True) -> nn.Module:
    return nn.Module.train(self, False)


def initialise(model: nn.Module, name: str) -> None:
    """Reinitialise all weights and set the biases of the same layers to 0.

    Args:
        name: "default" keeps the network's own initialisation; "xavier" is uniform in +-sqrt(6 / (fan in + fan out));
            "he" is normal with variance 2 / fan in; "normal:STD" has that standard deviation; "zero".

    Raises:
        Refusal: Any other name.
    """
    kind, _, text = name.partition(":")
    if kind not in ("default", "xavier", "he", "normal", "zero") or (text != "") != (kind == "normal"):
        raise refusal(
            "model.init",
            message("models.wanted.default_xavier_he_normal", "default, xavier, he, normal:STD or zero"),
            name,
        )
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
            layer.fill(fill[kind])
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            fill[kind](layer.weight)
        elif isinstance(layer, nn.MultiheadAttention) and layer.in_proj_weight is not None:  # of torchvision
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
        raise refusal(
            "model.init",
            message("models.wanted.normal_std_number_greater", "normal:STD with a number greater than 0"),
            f"normal:{text}",
        )
    return std
