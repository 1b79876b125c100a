"""The perceptron (Rosenblatt 1958): it changes only when it is wrong."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from danlu.models.linear import Linear
from danlu.refuse import refusal


class Perceptron(Linear):
    """(N, inputs) -> (N, outputs), affine, from zero weights. With the perceptron loss, batches of one sample and plain
    gradient descent it learns by Rosenblatt's rule; `learn` is that rule itself, for two classes."""


@dataclass(frozen=True)
class Learnt:
    """weights (D,), bias: the line found. mistakes: updates made. converged: a whole pass went without a mistake."""

    weights: Tensor
    bias: Tensor
    mistakes: int
    converged: bool


def learn(x: Tensor, y: Tensor, *, passes: int = 1000) -> Learnt:
    """Go through the samples in order, adding y x to the weights and y to the bias wherever y (<w, x> + b) <= 0.

    x: (N, D). y: (N,) of -1 and +1, else Refusal. Stops after a pass without mistakes, or after `passes`. On separable
    samples that happens within `mistake_bound` updates; on others, such as XOR, never.
    """
    if not bool((y.abs() == 1).all()):
        raise refusal("labels of the perceptron", "-1 or +1", sorted(set(y.tolist()))[:3])
    weights, bias, mistakes = x.new_zeros(x.shape[1]), x.new_zeros(()), 0
    for _ in range(passes):
        before = mistakes
        for sample, label in zip(x, y.to(x.dtype)):
            if label * (weights @ sample + bias) <= 0:
                weights, bias, mistakes = weights + label * sample, bias + label, mistakes + 1
        if mistakes == before:
            return Learnt(weights, bias, mistakes, converged=True)
    return Learnt(weights, bias, mistakes, converged=False)


def mistake_bound(x: Tensor, y: Tensor, weights: Tensor, bias: Tensor | float) -> float:
    """(r^2 + 1) / rho^2: no more mistakes than this, whatever the order of the samples (Novikoff 1962).

    r: the largest |x|. rho: the least y (<w, x> + b) of any separating line, scaled to |w|^2 + b^2 = 1; the 1 is the
    bias's constant input. Infinite where the line does not separate.
    """
    scale = torch.sqrt(weights.square().sum() + torch.as_tensor(bias) ** 2)
    margin = float((y * (x @ weights + bias)).min() / scale)
    return float(x.square().sum(1).max() + 1) / margin**2 if margin > 0 else float("inf")
