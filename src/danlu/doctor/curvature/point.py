"""Kind of point at the current weights, and a step out of a saddle along negative curvature.

At a zero gradient the signs of the eigenvalues of the Hessian decide: all positive is a minimum, all negative a
maximum, both a saddle, where a step along an eigenvector with a negative eigenvalue lowers the loss. A stalled training
is usually at none of these: the gradient is not small and the iterates oscillate across a valley. "Small" is measured
by the possible change of the loss.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from danlu.doctor.curvature.objective import Objective

Kind = Literal["slope", "minimum", "maximum", "saddle", "flat"]
MIN_RELATIVE_CHANGE = 1e-3  # of the loss; smaller changes count as none
STEP_LENGTHS = (1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # relative to the norm of the weights

KIND_TEXT: dict[str, str] = {
    "slope": "no critical point: the gradient is not small",
    "minimum": "a minimum: no direction of negative curvature was found",
    "maximum": "a maximum: curvature is negative in every direction",
    "saddle": "a saddle point: curvature is positive in some directions and negative in others",
    "flat": "a flat region: neither slope nor curvature changes the loss over the length of the weights",
}


def kind_of_point(
    loss: float, gradient_norm: float, lowest: float, highest: float, *, weights_norm: float, rounding: float = 0.0
) -> Kind:
    """Classify the point at the current weights.

    flat: a step as long as the weights (at least 1) changes the loss by less than 0.1 %, to second order.
    slope: a gradient step with lr 1/curvature, which lowers the quadratic model by |g|^2 / (2 curvature), lowers the
    loss by more than 0.1 %.

    Args:
        lowest, highest: extreme eigenvalues of the Hessian.
        rounding: magnitude up to which an eigenvalue counts as zero.
    """
    curvature, length = max(abs(lowest), abs(highest)), max(weights_norm, 1.0)
    change = gradient_norm * length + curvature * length**2 / 2
    if change <= MIN_RELATIVE_CHANGE * abs(loss):
        return "flat"
    smallest = torch.finfo(torch.float32).eps * max(abs(loss), 1e-6)
    if gradient_norm**2 > 2 * curvature * max(MIN_RELATIVE_CHANGE * abs(loss), smallest):
        return "slope"
    zero = max(rounding, 0.0)
    if lowest < -zero:
        return "saddle" if highest > zero else "maximum"
    return "minimum" if highest > zero else "flat"


@dataclass(frozen=True)
class NegativeCurvatureStep:
    """Losses along an eigenvector of negative curvature, in both directions, and the best step.

    Attributes:
        curvature: the eigenvalue.
        direction: parameter name -> its part of the eigenvector, with the sign of the best step.
        steps, losses: (n), steps ascending in units of the weights, and the losses measured there on the same batches.
        step: the best step, >= 0.
        drop: decrease of the loss at that step, 0 if there is none.
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
        """True if the best step lowers the loss."""
        return self.drop > 0


def best_step_along(objective: Objective, vector: Tensor, curvature: float) -> NegativeCurvatureStep:
    """Evaluate the loss along the unit vector (P,) in both directions; the weights are restored."""
    here = objective.weights()
    length = max(here.norm().item(), 1.0)
    lengths = [fraction * length for fraction in STEP_LENGTHS]
    steps = [-step for step in reversed(lengths)] + [0.0] + lengths
    losses = [objective.value(here + step * vector) for step in steps]
    loss = losses[len(lengths)]
    best = min(range(len(steps)), key=lambda i: losses[i] if losses[i] == losses[i] else float("inf"))
    if steps[best] < 0:
        vector, steps, losses = -vector, [-step for step in reversed(steps)], losses[::-1]
        best = len(steps) - 1 - best
    direction, drop = objective.named(vector), loss - losses[best]
    return NegativeCurvatureStep(curvature, loss, direction, steps, losses, steps[best], drop)
