"""Momentum accelerates along a ravine; AdaGrad, RMSProp and Adam equalise its two directions.

SGD: w <- w - r g. Momentum: v <- m v + g, w <- w - r v. AdaGrad divides each entry of the step by the square root of the
sum of its squared gradients, RMSProp by the square root of their moving average; Adam combines momentum and RMSProp. On
the ravine x^2/2 + 20 y^2/2 each takes 40 steps from the same point, then each trains an MLP at its usual lr.

    python experiments/optimizers.py        6 s

Result: distance from the minimum after 40 steps: AdaGrad 0.013, momentum 0.030, SGD 0.084, RMSProp 0.15, Adam 0.30 (the
last two still oscillate at this lr). Training loss on the digits after 15 epochs: Adam 0.0038, momentum 0.0039, RMSProp
0.016, AdaGrad 0.038, SGD 0.048.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from style import BLUE, GREEN, INK, ORANGE, PURPLE, contours, note, save, start
from torch import nn
from training import train

from danlu.config import OptimConfig
from danlu.learning.optim import build_optimizer
from danlu.message import message

STEPS, STEEP = 40, 20.0
# Name: colour, lr in the ravine, momentum there, label position in the second panel.
RULES = {
    "sgd": (INK, 0.092),
    "momentum": (ORANGE, 0.03),
    "adagrad": (GREEN, 0.9),
    "rmsprop": (PURPLE, 0.12),
    "adam": (BLUE, 0.35),
}


def descend(name, lr):
    """Run danlu's optimiser on the ravine; return the points after each step, (STEPS + 1, 2)."""
    model = nn.Linear(2, 1, bias=False)
    model.weight.data = torch.tensor([[-4.0, 1.6]])
    optimizer = build_optimizer(model, OptimConfig(name=name, lr=lr, momentum=0.8, alpha=0.9))
    path = [model.weight.detach().flatten().clone()]
    for _ in range(STEPS):
        optimizer.zero_grad()
        (model.weight.square() @ torch.tensor([0.5, STEEP / 2])).sum().backward()
        optimizer.step()
        path.append(model.weight.detach().flatten().clone())
    return torch.stack(path)


def run(quick=False, epochs=15, seeds=2):
    epochs, seeds = (2, 1) if quick else (epochs, seeds)
    paths = {name: descend(name, lr) for name, (_, lr) in RULES.items()}
    losses = {}
    for name in RULES:
        same = {"model": "mlp", "augment": "none", "schedule": "constant", "optim.weight_decay": 0, "epochs": epochs}
        records = [train(optimizer=name, seed=seed, **same)["record"] for seed in range(seeds)]
        losses[name] = np.mean([[row["train.loss"] for row in record] for record in records], 0)

    figure = plt.figure(figsize=(11.5, 5.6), layout="constrained")
    axes = figure.subplot_mosaic(
        [["sgd", "momentum", "digits"], ["adagrad", "rmsprop", "digits"], ["adam", ".", "digits"]]
    )
    for name, (colour, lr) in RULES.items():
        axis, path = axes[name], paths[name]
        axis.set(xlim=(-4.6, 1.8), ylim=(-2.1, 2.1), title=f"{name}, lr {lr}")
        contours(axis, lambda x, y: 0.5 * x * x + STEEP / 2 * y * y, [0.1, 0.7, 2, 5, 9, 15, 24, 36])
        axis.plot(*path.T, "o-", color=colour, markersize=2.6, linewidth=1.2)
        axis.plot(0, 0, "+", color=INK, markersize=10, markeredgewidth=1.8)
        note(axis, f"{path[-1].norm():.2g} from the minimum\nafter {STEPS} steps", -4.4, -1.9, colour, fontsize=8)
        axes["digits"].semilogy(range(1, epochs + 1), losses[name], "-", color=colour)
        note(axes["digits"], f" {name}", epochs, losses[name][-1], colour, va="center")
    axes["digits"].set(
        xlabel="epoch", ylabel="training loss", title="Digits, MLP, usual learning rates", xlim=(1, epochs * 1.22)
    )
    save(figure, "optimizers", quick)
    return {
        "distance left": {name: path[-1].norm().item() for name, path in paths.items()},
        "training loss": {name: float(line[-1]) for name, line in losses.items()},
    }


if __name__ == "__main__":
    start(
        run,
        message(
            "experiments.of.optimizers",
            "Paths of five optimisers in a ravine, and their training losses on the digits.",
        ),
    )
