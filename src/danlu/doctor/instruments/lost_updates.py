"""Updates that are smaller than the spacing of the numbers that hold the weights, and so change nothing."""

from __future__ import annotations

import torch
from torch import Tensor

HALF_PRECISIONS = (torch.bfloat16, torch.float16)


def in_short_numbers(optimizer: torch.optim.Optimizer, parameters: list[Tensor]) -> bool:
    """Return whether an optimizer of torch updates 16-bit weights; those of others may add up what is lost."""
    own = type(optimizer).__module__.partition(".")[0] == "torch"
    return own and any(parameter.dtype in HALF_PRECISIONS for parameter in parameters)


def lost_fraction(update: Tensor, gradient: Tensor, weights: Tensor) -> Tensor:
    """Return the fraction of the weights with a gradient that a step left as they were; 0 itself is not counted."""
    meant = (gradient != 0) & (weights != 0)
    return (meant & (update == 0)).sum() / meant.sum().clamp(min=1)
