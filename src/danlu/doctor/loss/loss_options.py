"""Options of a loss: which labels it ignores, how it weighs classes, whether it sums over the batch."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from danlu.doctor.observation.predictions import IGNORED

# Option -> its default, at which it changes nothing.
DEFAULTS: dict[str, Any] = {
    "ignore_index": IGNORED,
    "reduction": "mean",
    "label_smoothing": 0.0,
    "weight": None,
    "pos_weight": None,
}


def loss_options(call: tuple[Callable, tuple, dict] | None) -> dict[str, Any]:
    """Return the options of a loss that are not at their default.

    Args:
        call: the loss module or function with the arguments of one call; None if unknown.
    """
    if call is None:
        return {}
    function, args, kwargs = call
    found = {
        name: getattr(function, name)
        for name in DEFAULTS
        if isinstance(function, nn.Module) and hasattr(function, name)
    }
    if not isinstance(function, nn.Module):
        try:
            named = inspect.signature(function).bind_partial(*args, **kwargs).arguments
        except (TypeError, ValueError):  # no signature, or other arguments
            named = kwargs
        found = {name: named[name] for name in DEFAULTS if name in named}
    return {name: value for name, value in found.items() if isinstance(value, Tensor) or value != DEFAULTS[name]}


def summands(outputs: Tensor | None, targets: Tensor, ignored: int) -> Tensor | int:
    """Number of terms that a loss with reduction="sum" adds up: labels for classes, elements for values."""
    if targets.is_floating_point():
        soft = outputs is not None and outputs.dim() > 1 and outputs.shape == targets.shape
        return max(1, targets.shape[0] if soft and is_distribution(targets) else targets.numel())
    return (targets != ignored).sum().clamp(min=1)


def is_distribution(targets: Tensor) -> bool:
    """Return whether rows of targets are class probabilities: not negative, sum 1."""
    rows = targets.flatten(1)
    return rows.shape[1] > 1 and bool((rows >= 0).all()) and bool(((rows.sum(1) - 1).abs() < 1e-3).all())
