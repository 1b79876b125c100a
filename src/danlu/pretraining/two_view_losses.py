"""Losses of contrastive and non-contrastive pretraining, one value per image, and measures of collapse."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross-entropy of two views, one loss per image (n,).

    Each embedding must find the other view of its image among the other 2n - 1 embeddings, by cosine similarity.
    Source: Chen et al., "A simple framework for contrastive learning", 2020, equation 1.

    Args:
        first, second: Embeddings (n, D) of the two views.
        temperature: Divides the similarities.
    """
    n = len(first)
    both = F.normalize(torch.cat([first, second]).float(), dim=1)
    logits = both @ both.T / temperature
    logits = logits.masked_fill(torch.eye(2 * n, dtype=torch.bool, device=logits.device), -torch.inf)
    partner = torch.arange(2 * n, device=logits.device).roll(n)
    losses = F.cross_entropy(logits, partner, reduction="none")
    return (losses[:n] + losses[n:]) / 2


def contrastive_chance(n: int) -> float:
    """Return the loss of `nt_xent` for n images whose embeddings are all equal: log(2n - 1)."""
    return math.log(max(2 * n - 1, 1))


def cosine_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Negative cosine similarity (n,) of SimSiam (Chen and He 2021); no gradient flows into `target`."""
    return -F.cosine_similarity(predicted.float(), target.detach().float(), dim=1)


def byol_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Squared distance (n,) of the normalised vectors, 2 - 2 cos (Grill et al., "BYOL", 2020, equation 2)."""
    return 2 + 2 * cosine_loss(predicted, target)


def spread(embeddings: Tensor) -> float:
    """Standard deviation of the normalised embeddings (N, D), as a fraction of that of random directions, 1/sqrt(D).

    Near 0 all embeddings point into one direction: they have collapsed.
    """
    if len(embeddings) < 2:
        return math.nan
    unit = F.normalize(embeddings.float(), dim=1)
    return float(unit.std(0).mean() * unit.shape[1] ** 0.5)


def effective_rank(features: Tensor) -> float:
    """Exponential of the entropy of the singular values of centred features (N, D): number of directions in use.

    Source: Roy and Vetterli, "The effective rank", 2007.
    """
    if len(features) < 2:
        return math.nan
    values = torch.linalg.svdvals((features - features.mean(0)).double())
    p = values / values.sum().clamp_min(1e-30)
    return float(torch.exp(-(p * p.clamp_min(1e-30).log()).sum()))
