"""Muon: momentum whose singular values are all made about one (Jordan et al. 2024)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from danlu.learning.closure import recomputed

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # a x + b x^3 + c x^5, steepest at 0 (Jordan et al. 2024)
STEPS = 5  # of that iteration; singular values end between 0.7 and 1.2
ADAMW_RMS = 0.2  # of the updates of AdamW (Liu et al. 2025, section 2.2)


class Muon(torch.optim.Optimizer):
    """Orthogonalised Nesterov momentum for matrices and kernels, and another optimiser for the rest, as one.

    Kernels (O, C, h, w) are matrices (O, C h w). Updates are scaled to the RMS of AdamW's updates, so that one learning
    rate fits both (Liu et al., "Muon is Scalable for LLM Training", 2025). Weight decay is decoupled.

    Args:
        hidden: Parameter groups of matrices and kernels, with lr and weight_decay.
        momentum: Fraction of the moving average of the gradients that each step keeps.
        rest: Optimiser of the other parameters; None if there are none.
    """

    def __init__(
        self, hidden: list[dict[str, Any]], momentum: float, rest: torch.optim.Optimizer | None = None
    ) -> None:
        self.momentum, self.rest, self.hidden_groups = momentum, rest, len(hidden)
        super().__init__(hidden + (rest.param_groups if rest is not None else []), {})
        self._share()

    def _share(self) -> None:
        """Share groups and state with the other optimiser, so that a learning rate set here applies there."""
        if self.rest is not None:
            self.rest.param_groups, self.rest.state = self.param_groups[self.hidden_groups :], self.state

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters. closure: recomputes the loss; its value is returned."""
        loss = recomputed(closure)
        for group in self.param_groups[: self.hidden_groups]:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, group["lr"], group["weight_decay"])
        if self.rest is not None:
            self.rest.step()
        return loss

    def _update(self, p: Tensor, lr: float, weight_decay: float) -> None:
        state, gradient = self.state[p], p.grad
        assert gradient is not None
        if not state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        mean = state["momentum_buffer"].lerp_(gradient, 1 - self.momentum)
        ahead = gradient.lerp(mean, self.momentum).flatten(1)
        scale = ADAMW_RMS * max(ahead.shape) ** 0.5
        p.mul_(1 - lr * weight_decay).sub_(orthogonalized(ahead).view(p.shape), alpha=lr * scale)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the state of `state_dict()`."""
        super().load_state_dict(state_dict)
        self._share()


def orthogonalized(matrix: Tensor) -> Tensor:
    """Bring all singular values of a matrix (m, n) near one, and keep its singular vectors.

    Iterates x <- a x + b (x x') x + c (x x')^2 x. All factors are polynomials of x x', so that the iteration runs on
    that square of the smaller side, and the matrix itself is multiplied once: a kernel of 192 x 3456 takes a fifth of
    the products.
    """
    a, b, c = NEWTON_SCHULZ
    x = matrix.float()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / x.norm().clamp(min=1e-7)  # no singular value above 1
    gram = x @ x.T
    unit = torch.eye(len(gram), dtype=x.dtype, device=x.device)
    product = unit
    for _ in range(STEPS):
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c).add_(unit, alpha=a)
        product = factor @ product
        gram = factor @ gram @ factor
    x = product @ x
    return (x.T if tall else x).to(matrix.dtype)
