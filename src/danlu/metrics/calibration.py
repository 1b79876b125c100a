"""Temperature scaling: one number that makes the confidence of a classifier agree with its accuracy.

Guo et al., "On Calibration of Modern Neural Networks", 2017, section 4.2. The outputs are divided by the temperature
before softmax, which leaves their order, and with it every predicted class, as it is.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

MIN_SAMPLES = 20  # below it the fitted temperature is mostly noise
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
GRID = 61  # temperatures tried first, evenly spaced in their logarithm
GOLDEN = 0.6180339887498949  # ratio of the golden-section search
REFINEMENTS = 40  # steps of that search; the bracket shrinks by 0.618 in each


def fit_temperature(outputs: Tensor, targets: Tensor) -> float:
    """Temperature with the smallest negative log-likelihood.

    Targets are smoothed as in Platt 1999, section 2.2: of N samples the true class has the probability
    (N + 1) / (N + 2), without which a set on which every prediction is right would ask for a confidence of 1.

    Args:
        outputs: Logits (N, K), or (N, 1) of the positive class.
        targets: Class indices (N,).

    Returns:
        The temperature, between 0.05 and 20; 1 for fewer than 20 samples or outputs that are not finite.
    """
    logits = outputs.double()
    if len(logits) < MIN_SAMPLES or not torch.isfinite(logits).all():
        return 1.0
    if logits.shape[1] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    grid = torch.linspace(math.log(MIN_TEMPERATURE), math.log(MAX_TEMPERATURE), GRID, dtype=torch.float64)
    losses = [smoothed_nll(logits, targets, one.exp().item()) for one in grid]
    best = min(range(GRID), key=losses.__getitem__)
    low, high = grid[max(best - 1, 0)].item(), grid[min(best + 1, GRID - 1)].item()
    for _ in range(REFINEMENTS):
        first, second = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        if smoothed_nll(logits, targets, math.exp(first)) <= smoothed_nll(logits, targets, math.exp(second)):
            high = second
        else:
            low = first
    return math.exp((low + high) / 2)


def smoothed_nll(logits: Tensor, targets: Tensor, temperature: float) -> float:
    """Mean negative log-likelihood of "the predicted distribution holds the true class", with Platt's targets.

    logits: (N, K) with K > 1. targets: (N,). temperature: divides the logits.
    """
    log_p = (logits / temperature).log_softmax(1)
    true = F.one_hot(targets, logits.shape[1]).bool()
    right = log_p[true]
    wrong = log_p.masked_fill(true, -torch.inf).logsumexp(1)
    doubt = 1 / (len(logits) + 2)
    return -((1 - doubt) * right + doubt * wrong).mean().item()
