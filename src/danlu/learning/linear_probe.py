"""Multinomial logistic regression on the features of a frozen network: the convex problem of the last layer alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

MAX_ITERATIONS = 1000


def fit_logistic(features: Tensor, labels: Tensor, classes: int, penalty: float = 1.0) -> tuple[Tensor, Tensor]:
    """Minimise sum_i CE(W x_i + b, y_i) + penalty / 2 |W|^2 with scikit-learn.

    Args:
        features: Float (N, D).
        labels: int64 (N,) in 0..classes-1, of at least two classes.
        penalty: Strength of the L2 penalty on W; the bias has none.

    Returns:
        W, float32 (classes, D), and b, float32 (classes,). The problem is convex and the start is zero, so the result
        depends on the data alone. A class without a sample gets zeros and the smallest bias of the others.
    """
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=1 / penalty, max_iter=MAX_ITERATIONS)
    fitted.fit(features.detach().cpu().double().numpy(), labels.cpu().numpy())
    matrix, bias = np.asarray(fitted.coef_), np.asarray(fitted.intercept_)
    if len(matrix) == 1:  # two classes: one logit, halved to be the difference of two
        matrix, bias = np.concatenate((-matrix, matrix)) / 2, np.concatenate((-bias, bias)) / 2
    weight = torch.zeros(classes, features.shape[1])
    offset = torch.full((classes,), float(bias.min()))
    weight[fitted.classes_] = torch.from_numpy(matrix).float()
    offset[fitted.classes_] = torch.from_numpy(bias).float()
    return weight, offset
