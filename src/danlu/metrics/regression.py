"""Figures of a regression: R squared, mean absolute error, root mean squared error."""

from __future__ import annotations

import torch
from torch import Tensor


def regression_metrics(outputs: Tensor, targets: Tensor) -> dict[str, float]:
    """{"r2", "mae", "rmse"} as plain numbers, in the unit of the targets; the mean over T columns of each.

    outputs, targets: (N, T) or (N,). r2 = 1 - sum (y - output)^2 / sum (y - mean y)^2, NaN below two samples; of
    targets that are all equal it is 1 when they are met exactly, else 0. In float64: house prices squared and summed
    leave float32 few digits.
    """
    targets = targets.double().reshape(len(targets), -1 if len(targets) else 1)
    error = outputs.double().view_as(targets) - targets
    squared, spread = (error**2).sum(0), ((targets - targets.mean(0)) ** 2).sum(0)
    r2 = torch.where(spread > 0, 1 - squared / spread, (squared == 0).double())
    return {
        "r2": r2.mean().item() if len(targets) > 1 else float("nan"),
        "mae": error.abs().mean().item(),
        "rmse": (error**2).mean(0).sqrt().mean().item(),
    }
