"""Gradient descent and its learning rate: too small hardly moves, too large oscillates or diverges.

The lecture notes' example: y = a x with one sample x = 2, y = 4, the loss (a x - y)^2 and learning rate 0.1 takes a
from 1 to 1.8, 1.96, 1.992; at learning rate 1 the first step reaches 9. Then linear regression with two weights, whose loss
1/2n |y - X w|^2 has the gradient -1/n X^T (y - X w) and the minimum w* = (X^T X)^-1 X^T y. (The notes drop the minus
sign of the first and a transpose of the second.)

    python experiments/gradient_descent_by_hand.py        2 s

Result: a = 1, 1.8, 1.96, 1.992. With two weights and 25 steps the distance to w* falls from 3.4 to 0.07 at a suitable
learning rate, to 2.57 if it is too small, and to 0.53, oscillating, if it is too large.
"""

from __future__ import annotations

import torch
from style import BLUE, GREEN, INK, ORANGE, RED, contours, note, panels, save, start
from torch import Tensor, nn

from danlu.config import OptimConfig
from danlu.learning.losses import squared
from danlu.learning.optim import build_optimizer
from danlu.message import message


def descend(inputs: Tensor, targets: Tensor, begin: list[float], lr: float, steps: int, scale: float = 1.0) -> Tensor:
    """Minimise the mean of scale/2 (x w - y)^2; return the weights after each step, (steps + 1, D)."""
    model = nn.Linear(len(begin), 1, bias=False)
    model.weight.data = torch.tensor([begin])
    optimizer = build_optimizer(model, OptimConfig(name="sgd", lr=lr))
    path = [model.weight.detach().flatten().clone()]
    for _ in range(steps):
        optimizer.zero_grad()
        (scale * squared(model(inputs), targets).mean()).backward()
        optimizer.step()
        path.append(model.weight.detach().flatten().clone())
    return torch.stack(path)


def run(quick: bool = False, steps: int = 25) -> dict:
    sample = torch.tensor([[2.0]]), torch.tensor([4.0])
    by_hand = descend(*sample, [1.0], 0.1, 3, scale=2).flatten().tolist()
    overshoot = descend(*sample, [1.0], 1.0, 1, scale=2).flatten()[-1].item()

    inputs = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)) @ torch.tensor([[1.0, 0.45], [0.0, 0.35]])
    targets = inputs @ torch.tensor([2.0, -1.0])
    best = torch.linalg.solve(inputs.T @ inputs, inputs.T @ targets)
    curvature = torch.linalg.eigvalsh(inputs.T @ inputs / len(inputs))  # a learning rate above 2 / the largest diverges
    rates = {name: (factor / curvature[-1]).item() for name, factor in LRS.items()}
    paths = {name: descend(inputs, targets, [-0.6, 0.6], lr, steps) for name, lr in rates.items()}
    left = {name: (path[-1] - best).norm().item() for name, path in paths.items()}

    figure, axes = panels(4, width=12.5, height=3.7, width_ratios=[1.25, 1, 1, 1])
    draw_by_hand(axes[0, 0], by_hand)
    for axis, (name, path), colour in zip(axes[0, 1:], paths.items(), (ORANGE, GREEN, RED)):
        axis.set(xlim=(-1.1, 4.6), ylim=(-3.4, 2.6), xlabel="weight $w_1$", title=f"Rate {rates[name]:.2g}: {name}")
        moments = (inputs.T @ inputs / len(inputs)).numpy()
        contours(axis, lambda x, y, m=moments: quadratic(x - best[0].item(), y - best[1].item(), m), LEVELS)
        axis.plot(*path.T, "o-", color=colour, markersize=3.5, linewidth=1.4)
        axis.plot(*best, "+", color=INK, markersize=11, markeredgewidth=2)
        note(axis, f"{left[name]:.2g} from $w^*$ after {steps} steps", -0.9, -3.1, colour)
    axes[0, 1].set_ylabel("weight $w_2$")
    save(figure, "gradient_descent_by_hand", quick)
    return {"a": by_hand, "learning rate 1": overshoot, "rates": rates, "distance left": left}


LRS = {"too small": 0.03, "right": 1.3, "oscillates": 1.96}  # in units of 1 / largest curvature
LEVELS = [0.02, 0.1, 0.3, 0.7, 1.4, 2.5, 4.0, 6.0]


def quadratic(x, y, m):
    return 0.5 * (m[0, 0] * x * x + 2 * m[0, 1] * x * y + m[1, 1] * y * y)


def draw_by_hand(axis, steps: list[float]) -> None:
    line = torch.linspace(0, 3.2, 100)
    axis.plot(line, (2 * line - 4) ** 2, color=BLUE, alpha=0.45)
    axis.plot(steps, [(2 * a - 4) ** 2 for a in steps], "o-", color=BLUE)
    for k, (dx, dy) in enumerate([(0.12, 0.35), (-0.62, 1.3), (-0.1, 2.6)]):
        note(axis, f"a = {steps[k]:g}", steps[k] + dx, (2 * steps[k] - 4) ** 2 + dy, BLUE)
    axis.annotate(
        "lr 1 reaches a = 9",
        (3.2, 11.4),
        (0.75, 11.3),
        color=RED,
        fontsize=9,
        va="center",
        arrowprops={"arrowstyle": "->", "color": RED},
    )
    axis.set(xlabel="parameter a", ylabel="loss $(2a - 4)^2$", title="lr 0.1: 1, 1.8, 1.96, 1.992", ylim=(-0.5, 12.5))


if __name__ == "__main__":
    start(
        run,
        message(
            "experiments.of.gradient_descent_by_hand",
            "Paths of gradient descent: a learning rate too small hardly moves, one too large oscillates or diverges.",
        ),
    )
