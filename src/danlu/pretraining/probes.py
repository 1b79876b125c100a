"""Progress figures of frozen features where labels are known: nearest neighbours and a linear classifier."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

NEIGHBOURS = 20
TEMPERATURE = 0.07  # of the weights of neighbours (Wu et al. 2018; k and T of Caron et al. 2021)
MAX_SAMPLES = 5_000  # first samples that are measured, so that the similarities fit in memory
MIN_SAMPLES = 20
RIDGE = 1.0  # penalty of the linear probe, for standardised features


def knn_accuracy(features: Tensor, labels: Tensor) -> float:
    """Leave-one-out accuracy of a weighted nearest-neighbour classifier with cosine similarity.

    Args:
        features: (N, D).
        labels: Class indices (N,).
    """
    x, y = F.normalize(features[:MAX_SAMPLES].float(), dim=1), labels[:MAX_SAMPLES]
    similar = x @ x.T
    similar.fill_diagonal_(-torch.inf)
    values, index = similar.topk(min(NEIGHBOURS, len(x) - 1), dim=1)
    votes = torch.zeros(len(x), int(y.max()) + 1).scatter_add_(1, y[index], ((values - 1) / TEMPERATURE).exp())
    return float((votes.argmax(1) == y).float().mean())


def linear_accuracy(features: Tensor, labels: Tensor) -> float:
    """Two-fold accuracy of a ridge regression on one-hot classes: fitted to every other sample, tested on the rest.

    Args:
        features: (N, D).
        labels: Class indices (N,).
    """
    x, y = features[:MAX_SAMPLES].double(), labels[:MAX_SAMPLES]
    order = y.argsort(stable=True)  # every other one of each class
    correct = 0
    for fold in (0, 1):
        train, test = order[fold::2], order[1 - fold :: 2]
        mean, std = x[train].mean(0), x[train].std(0) + 1e-6
        a, b = _with_bias((x[train] - mean) / std), _with_bias((x[test] - mean) / std)
        penalty = RIDGE * torch.eye(a.shape[1], dtype=a.dtype)
        weights = torch.linalg.solve(a.T @ a + penalty, a.T @ F.one_hot(y[train], int(y.max()) + 1).double())
        correct += int(((b @ weights).argmax(1) == y[test]).sum())
    return correct / len(y)


def _with_bias(x: Tensor) -> Tensor:
    return torch.cat([x, x.new_ones(len(x), 1)], 1)
