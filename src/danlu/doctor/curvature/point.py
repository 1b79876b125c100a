"""What kind of point the weights are at, and the way out of a saddle.

Where the gradient vanishes, the signs of the Hessian's eigenvalues tell: all positive a minimum, all negative a
maximum, both a saddle; then a step along an eigenvector of a negative eigenvalue lowers the loss. Mostly a stalled
training is at none of these: the gradient is not small, the iterate bounces across a valley. "Small" is judged by what
it can do to the loss.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from danlu.doctor.curvature.objective import Objective

Kind = Literal["slope", "minimum", "maximum", "saddle", "flat"]
STILL = 1e-3  # a share of the loss that counts as no change
STEPS = (1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # of the escape, as shares of the weights' length

SAYS: dict[str, str] = {
    "slope": "no critical point: the gradient is not small",
    "minimum": "a minimum: no direction of negative curvature was found",
    "maximum": "a maximum: curvature is negative in every direction",
    "saddle": "a saddle point: curvature is positive in some directions and negative in others",
    "flat": "a flat place: neither slope nor curvature changes the loss over the length of the weights",
}


def kind_of_point(
    loss: float, gradient_norm: float, lowest: float, highest: float, *, weights_norm: float, rounding: float = 0.0
) -> Kind:
    """lowest, highest: the extreme eigenvalues; rounding: magnitudes of eigenvalues that count as zero.

    flat: a move as long as the weights (at least 1) changes the loss by less than a thousandth, to second order.
    slope: a gradient step at rate 1/curvature, which the quadratic model says lowers the loss by |g|^2 / (2 curvature),
    lowers it by more than a thousandth.
    """
    curvature, length = max(abs(lowest), abs(highest)), max(weights_norm, 1.0)
    change = gradient_norm * length + curvature * length**2 / 2
    if change <= STILL * abs(loss):
        return "flat"
    smallest = torch.finfo(torch.float32).eps * max(abs(loss), 1e-6)
    if gradient_norm**2 > 2 * curvature * max(STILL * abs(loss), smallest):
        return "slope"
    zero = max(rounding, 0.0)
    if lowest < -zero:
        return "saddle" if highest > zero else "maximum"
    return "minimum" if highest > zero else "flat"


@dataclass(frozen=True)
class Escape:
    """The way along an eigenvector of negative curvature, walked both ways.

    curvature: the eigenvalue; direction: parameter name -> its part of the eigenvector, signed so that the best way is
    ahead; steps (n), rising, in units of the weights, and the losses there (n), measured on the same batches; step: the
    best of them, in (0, ...); drop: how far the loss falls there, 0 if nowhere.
    """

    curvature: float
    loss: float
    direction: dict[str, Tensor] = field(repr=False)
    steps: list[float] = field(repr=False)
    losses: list[float] = field(repr=False)
    step: float
    drop: float

    @property
    def lowers(self) -> bool:
        return self.drop > 0


def escape(objective: Objective, vector: Tensor, curvature: float) -> Escape:
    """Walk from the present weights along the unit vector (P,) both ways; the weights are given back."""
    here = objective.weights()
    length = max(here.norm().item(), 1.0)
    lengths = [share * length for share in STEPS]
    steps = [-step for step in reversed(lengths)] + [0.0] + lengths
    losses = [objective.value(here + step * vector) for step in steps]
    loss = losses[len(lengths)]
    best = min(range(len(steps)), key=lambda i: losses[i] if losses[i] == losses[i] else float("inf"))
    if steps[best] < 0:
        vector, steps, losses = -vector, [-step for step in reversed(steps)], losses[::-1]
        best = len(steps) - 1 - best
    return Escape(curvature, loss, objective.named(vector), steps, losses, steps[best], loss - losses[best])
