"""Recognise weights that are as a random initialisation left them, by the bounds and moments of its distribution."""

from __future__ import annotations

import math

from torch import Tensor, nn

MIN_ELEMENTS = 64  # fewer values do not show their distribution
STANDARD_ERRORS = 4.0  # allowed deviation of a moment, in standard errors
UNIFORM_KURTOSIS, NORMAL_KURTOSIS = 1.8, 3.0  # fourth moment over squared variance
KNOWN_STDS = (0.02, 1.0)  # of GPT-2 and BERT, and of nn.Embedding


def is_initial(module: nn.Module, weight: Tensor) -> bool:
    """Return whether a weight matrix or kernel has the distribution of a usual random initialisation.

    Uniform between the bounds of PyTorch's defaults, Xavier (Glorot and Bengio 2010), He (He et al. 2015) or LeCun: a
    trained weight exceeds them somewhere. Or normal at one of these scales with a bias of 0: sums of many updates are
    nearly normal too, but training moves the bias.

    Args:
        module: layer that holds the weight.
        weight: (out, in, ...), any other shape is False.
    """
    count = weight.numel()
    if weight.dim() < 2 or count < MIN_ELEMENTS:
        return False
    values = weight.detach().float().flatten()
    std = float(values.std(unbiased=False))
    if not (math.isfinite(std) and std > 0):
        return False
    mean, kurtosis = float(values.mean()), float((((values - values.mean()) / std) ** 4).mean())
    if abs(mean) > STANDARD_ERRORS * std / math.sqrt(count):
        return False
    error = STANDARD_ERRORS * math.sqrt(24 / count)  # of the kurtosis of a normal sample
    close = STANDARD_ERRORS / math.sqrt(2 * count)  # relative error of a standard deviation
    scales = [one for one in _standard_deviations(module, weight) if abs(std / one - 1) < close]
    if abs(kurtosis - UNIFORM_KURTOSIS) < min(error / 3, 0.6):
        top = float(values.abs().max())
        return any(top <= math.sqrt(3) * one * (1 + 1e-5) for one in scales)
    return bool(scales) and abs(kurtosis - NORMAL_KURTOSIS) < error and _is_fresh(module)


def _is_fresh(module: nn.Module) -> bool:
    """Return whether the bias of a layer is 0 throughout; an embedding has none."""
    bias = getattr(module, "bias", None)
    if isinstance(bias, Tensor):
        return not bool(bias.detach().any())
    return isinstance(module, nn.Embedding)


def _standard_deviations(module: nn.Module, weight: Tensor) -> list[float]:
    """Standard deviations of the usual initialisations for a weight of this shape."""
    if isinstance(module, nn.Embedding):
        return list(KNOWN_STDS)
    if isinstance(module, nn.RNNBase):
        return [1 / math.sqrt(3 * module.hidden_size)]
    field = math.prod(weight.shape[2:])
    fan_in, fan_out = weight.shape[1] * field, weight.shape[0] * field
    variances = [1 / (3 * fan_in), 1 / fan_in, 2 / fan_in, 2 / fan_out, 2 / (fan_in + fan_out)]
    return [*map(math.sqrt, variances), KNOWN_STDS[0]]
