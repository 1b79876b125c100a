"""Regression metrics: R squared, mean absolute error, root mean squared error."""

from __future__ import annotations

import torch
from torch import Tensor


def regression_metrics(outputs: Tensor, targets: Tensor) -> dict[str, float]:
    """Compute R squared, MAE and RMSE, each the mean over T columns.

    r2 = 1 - sum (y - output)^2 / sum (y - mean y)^2, NaN below two samples. For constant targets it is 1 if they are
    predicted exactly, else 0. Computed in float64, because sums of large squares lose digits in float32.

    Args:
        outputs, targets: (N, T) or (N,).

    Returns:
        {"r2", "mae", "rmse"} as floats; mae and rmse in the unit of the targets, NaN without samples.
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
