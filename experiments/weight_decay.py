"""Weight decay moves the minimum towards zero, mainly along flat directions of the loss.

Minimise loss + lambda/2 |w|^2, which is w <- (1 - lr lambda) w - lr gradient; biases are excluded. Here the loss is
(8 (x - 2)^2 + (y - 2)^2) / 2: steep in x, flat in y. The minimum of both is (2 8/(8 + lambda), 2/(1 + lambda)).

    python experiments/weight_decay.py        1 s

Result: SGD ends at (2, 2), (1.88, 1.33), (1.6, 0.67) and (1, 0.22) for lambda 0, 0.5, 2 and 8, as the formula says.
"""

import torch
from style import BLUE, INK, ORANGE, RED, contours, note, panels, save, start
from torch import nn

from danlu.config import OptimConfig
from danlu.learning.optim import build_optimizer
from danlu.message import message

STEEP = torch.tensor([8.0, 1.0])
DECAYS = {0.0: INK, 0.5: BLUE, 2.0: ORANGE, 8.0: RED}


def descend(decay, steps, lr):
    """Run danlu's SGD; return the points after each step, (steps + 1, 2)."""
    model = nn.Linear(2, 1, bias=False)
    model.weight.data = torch.tensor([[-0.6, -0.4]])
    optimizer = build_optimizer(model, OptimConfig(name="sgd", lr=lr, weight_decay=decay))
    path = [model.weight.detach().flatten().clone()]
    for _ in range(steps):
        optimizer.zero_grad()
        ((model.weight - 2).square() * STEEP / 2).sum().backward()
        optimizer.step()
        path.append(model.weight.detach().flatten().clone())
    return torch.stack(path)


def run(quick=False, steps=400, lr=0.05):
    paths = {decay: descend(decay, steps, lr) for decay in DECAYS}
    expected = {decay: 2 * STEEP / (STEEP + decay) for decay in DECAYS}
    figure, axes = panels(1, width=6.4, height=5.2)
    axis = axes[0, 0]
    axis.set(xlim=(-0.8, 2.9), ylim=(-0.6, 2.6), xlabel="x, the steep direction", ylabel="y, the flat direction")
    axis.set_title("Decay moves the minimum along the flat direction first")
    contours(axis, lambda x, y: 4 * (x - 2) ** 2 + (y - 2) ** 2 / 2, [0.1, 0.5, 1.5, 3, 6, 10, 16])
    for decay, colour in DECAYS.items():
        path = paths[decay]
        axis.plot(*path.T, "-", color=colour, linewidth=1.4)
        axis.plot(*path[-1], "o", color=colour, markersize=7)
        note(axis, rf"$\lambda$ = {decay:g}", path[-1][0].item() + 0.08, path[-1][1].item() - 0.02, colour)
    axis.plot(0, 0, "+", color=INK, markersize=11, markeredgewidth=1.6)
    note(axis, "0", 0.06, -0.16)
    save(figure, "weight_decay", quick)
    return {
        "ends at": {f"{decay:g}": path[-1].tolist() for decay, path in paths.items()},
        "expected": {f"{decay:g}": point.tolist() for decay, point in expected.items()},
    }


if __name__ == "__main__":
    start(
        run,
        message(
            "experiments.of.weight_decay",
            "Paths to the minimum for four decays: decay moves the minimum along the flat direction first.",
        ),
    )
