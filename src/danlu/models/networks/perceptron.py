"""The perceptron (Rosenblatt 1958): an affine classifier updated only on misclassified samples."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from danlu.message import message
from danlu.models.networks.linear import Linear
from danlu.models.spec import NetworkSpec
from danlu.refuse import refusal


class Perceptron(Linear):
    """Affine map (N, inputs) -> (N, outputs), initialised to zero.

    Trained with the perceptron loss, batches of one sample and plain gradient descent it follows Rosenblatt's rule.
    `learn` is that rule itself, for two classes.
    """


@dataclass(frozen=True)
class Learnt:
    """Result of `learn`.

    Args:
        weights: (D,).
        bias: Scalar tensor.
        mistakes: Number of updates.
        converged: One full pass had no mistake.
    """

    weights: Tensor
    bias: Tensor
    mistakes: int
    converged: bool


def learn(x: Tensor, y: Tensor, *, passes: int = 1000) -> Learnt:
    """Train a perceptron on two classes: add y x to the weights and y to the bias wherever y (<w, x> + b) <= 0.

    Stops after a pass without mistakes, or after `passes`. Separable samples need at most `mistake_bound` updates;
    others, such as XOR, never converge.

    Args:
        x: Samples (N, D), visited in order.
        y: Labels (N,), -1 or +1.
        passes: Max passes over the samples.

    Raises:
        Refusal: Labels other than -1 and +1.
    """
    if not bool((y.abs() == 1).all()):
        raise refusal(
            "labels of the perceptron", message("models.wanted.perceptron", "-1 or +1"), sorted(set(y.tolist()))[:3]
        )
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
    """Return (r^2 + 1) / rho^2, the max number of updates for any order of the samples (Novikoff 1962).

    r is the largest |x|, rho the smallest y (<w, x> + b) with |w|^2 + b^2 scaled to 1; the 1 is the constant input of
    the bias. Infinite if the line does not separate the samples.

    Args:
        x: Samples (N, D).
        y: Labels (N,), -1 or +1.
        weights, bias: Any separating line, (D,) and a number.
    """
    scale = torch.sqrt(weights.square().sum() + torch.as_tensor(bias) ** 2)
    margin = float((y * (x @ weights + bias)).min() / scale)
    return float(x.square().sum(1).max() + 1) / margin**2 if margin > 0 else float("inf")


NETWORKS = {
    "perceptron": NetworkSpec(
        Perceptron,
        "one affine map, for the perceptron loss",
        paper="Rosenblatt 1958",
        family="linear",
        tabular=True,
        default_input=(784,),
        convex=True,
    )
}
