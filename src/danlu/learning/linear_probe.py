"""Logistic regression on the features of a frozen network: the convex problem of the last layer alone."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
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


def fit_labels(features: Tensor, labels: Tensor, classes: int, penalty: float = 1.0) -> tuple[Tensor, Tensor]:
    """Minimise sum_ik BCE(w_k x_i + b_k, y_ik) + penalty / 2 |W|^2: one logistic regression for each label.

    Args:
        features: Float (N, D).
        labels: Float (N, classes) in [0, 1].
        penalty: Strength of the L2 penalty on W; the bias has none.

    Returns:
        W, float32 (classes, D), and b, float32 (classes,). The problem is convex and solved by L-BFGS in float64 from
        W = 0 and the log-odds of the label frequencies. Labels that all or no samples have keep W = 0 and a bias as
        after one more sample of each kind.
    """
    x, y = features.detach().cpu().double(), labels.detach().cpu().double()
    count, positive = len(y), y.sum(0)
    bias = torch.log((positive + 1) / (count - positive + 1))
    varied = (positive > 0) & (positive < count)
    centre, scale = x.mean(0), x.std().clamp(min=1e-12)  # for the steps' sake; the penalty is on the scale of x
    x, y = (x - centre) / scale, y[:, varied]
    w = torch.zeros(y.shape[1], x.shape[1], dtype=torch.float64, requires_grad=True)
    b = bias[varied].clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS([w, b], max_iter=MAX_ITERATIONS, tolerance_grad=1e-6, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.binary_cross_entropy_with_logits(x @ w.T + b, y, reduction="sum")
        value = value + penalty / 2 * (w / scale).square().sum()
        value.backward()
        return value

    if y.shape[1]:
        with torch.enable_grad():
            optimizer.step(loss)
    weight = torch.zeros(classes, x.shape[1])
    offset = bias.float()
    solved = w.detach() / scale
    weight[varied] = solved.float()
    offset[varied] = (b.detach() - solved @ centre).float()
    return weight, offset
