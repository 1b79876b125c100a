"""Large batches have low gradient noise and fast epochs; beyond a size validation accuracy drops.

The gradient of a batch is the mean over its samples, so its noise falls with the square root of the batch size.
With 20 samples a full batch makes one update per epoch, batches of one make 20 noisy ones. The lecture notes claim that
the time per epoch is constant until the hardware is saturated; in fact the time per *step* is constant, so the time per
epoch falls as 1/batch first. Scaling the learning rate with the batch recovers much of the lost accuracy.

    python experiments/batch_size.py        24 s

Result: the noise of the gradient falls from 7.1 (batch 1) to 0.23 (batch 1024), as the square root; an
epoch takes 0.20 s at batch 1, 14 ms at 16, 1.5 ms at 1024. With one learning rate, validation accuracy falls from 0.979
(batch 1) to 0.920 (64) and 0.442 (1024); with the learning rate scaled by the batch it stays at 0.96 up to 256, and
1024 fails.
"""

import time

import numpy as np
import torch
from style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, contours, note, panels, save, start
from torch import nn
from training import digits

from danlu.config import OptimConfig
from danlu.data.batches import Batches, Columns
from danlu.learning.losses import cross_entropy, squared
from danlu.learning.optim import build_optimizer
from danlu.message import message
from danlu.models.networks.mlp import MLP

LR, BASE_BATCH = 0.02, 8  # fixed learning rate; the scaled one equals it at this batch size


def descend(model, loss, x, y, size, lr, epochs, seed=0):
    """Run plain gradient descent over danlu's batches, reshuffled each epoch; yield after every update."""
    batches = Batches(x, y, torch.arange(len(x)), batch_size=size, transform=Columns(), seed=seed)
    optimizer = build_optimizer(model, OptimConfig(name="sgd", lr=lr))
    for epoch in range(epochs):
        for batch in batches.epoch(epoch):
            optimizer.zero_grad()
            loss(model(batch.inputs), batch.targets).mean().backward()
            optimizer.step()
            yield model


def on_digits(size, lr, epochs, seed):
    """Train on the digits; return validation accuracy and seconds per epoch."""
    x, y, x_val, y_val = digits(seed)
    torch.manual_seed(seed)
    model = MLP(64, 10, width=(128,))
    began = time.perf_counter()
    for _ in descend(
        model, lambda outputs, targets: cross_entropy(outputs, targets, 0.0), x, y, size, lr, epochs, seed
    ):
        pass
    return (model(x_val).argmax(1) == y_val).float().mean().item(), (time.perf_counter() - began) / epochs


def gradient_noise(sizes, draws):
    """RMS distance of a batch gradient from the full gradient, relative to the norm of the full gradient."""
    x, y, *_ = digits()
    torch.manual_seed(0)
    model = MLP(64, 10, width=(128,))

    def gradient(rows):
        loss = cross_entropy(model(x[rows]), y[rows], 0.0).mean()
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])

    full = gradient(torch.arange(len(x)))
    off = [[gradient(torch.randint(len(x), (n,))) - full for _ in range(draws)] for n in sizes]
    return [(torch.stack(o).square().sum(1).mean().sqrt() / full.norm()).item() for o in off]


def run(quick=False):
    sizes = [8, 64, 1024] if quick else [1, 4, 16, 64, 256, 1024]
    epochs, seeds = (2, 1) if quick else (12, 3)
    noise = gradient_noise(sizes, 20 if quick else 100)
    fixed = [[on_digits(n, LR, epochs, s) for s in range(seeds)] for n in sizes]
    scaled = [[on_digits(n, LR * n / BASE_BATCH, epochs, s)[0] for s in range(seeds)] for n in sizes]
    seconds = [min(s for _, s in row) for row in fixed]
    fixed = [[a for a, _ in row] for row in fixed]

    figure, axes = panels(4, width=13.4, height=3.7)
    updates = draw_paths(axes[0, 0])
    lines = [noise, [1000 * s for s in seconds]]
    titles = ["The noise falls as $1/\\sqrt{batch}$", "An epoch falls as 1/batch, then is flat"]
    labels = ["noise / norm of the gradient", "milliseconds per epoch"]
    for axis, line, title, label, power in zip(axes[0, 1:], lines, titles, labels, (-0.5, -1)):
        axis.loglog(sizes, line, "o-", color=BLUE)
        axis.plot(sizes, line[0] * (np.array(sizes) / sizes[0]) ** power, "--", color=GREY, linewidth=1)
        axis.set(xlabel="batch size", ylabel=label, title=title)
    for lines, colour, name in ((fixed, ORANGE, f"lr {LR}"), (scaled, GREEN, f"lr {LR} x batch/{BASE_BATCH}")):
        axes[0, 3].semilogx(sizes, np.mean(lines, 1), "o-", color=colour)
        for n, row in zip(sizes, lines):
            axes[0, 3].plot([n] * len(row), row, ".", color=colour, alpha=0.35)
        note(axes[0, 3], name, 1.2, 0.35 if colour == ORANGE else 0.45, colour)
    axes[0, 3].set(
        xlabel="batch size", ylabel=f"validation accuracy, {epochs} epochs", title="Large batches learn too little"
    )
    save(figure, "batch_size", quick)
    by_size = {"noise": noise, "seconds per epoch": seconds, "fixed": np.mean(fixed, 1), "scaled": np.mean(scaled, 1)}
    return {"updates": updates} | {name: dict(zip(sizes, map(float, v))) for name, v in by_size.items()}


def draw_paths(axis):
    """Draw five epochs of linear regression on 20 samples: the weights after each update."""
    random = torch.Generator().manual_seed(3)
    x = torch.randn(20, 2, generator=random) * torch.tensor([1.0, 0.7])
    y = x @ torch.tensor([2.0, -1.0]) + 1.2 * torch.randn(20, generator=random)
    m, best = (x.T @ x / 20).numpy(), torch.linalg.lstsq(x, y[:, None]).solution.flatten().tolist()
    axis.set(xlim=(-0.4, 3.0), ylim=(-2.3, 0.6), xlabel="weight $w_1$", ylabel="weight $w_2$")
    levels = [0.01, 0.05, 0.15, 0.3, 0.55, 0.9, 1.4, 2.0]
    contours(axis, lambda u, v: quadratic(u - best[0], v - best[1], m), levels)
    updates = {}
    for size, colour in ((1, ORANGE), (20, PURPLE)):
        model = nn.Linear(2, 1, bias=False)
        nn.init.zeros_(model.weight)
        path = [[0.0, 0.0]] + [w.weight.flatten().tolist() for w in descend(model, squared, x, y, size, 0.15, 5)]
        updates[size] = len(path) - 1
        axis.plot(*zip(*path), "o-", color=colour, markersize=3, linewidth=1.2)
        note(axis, f"batch {size}: {updates[size]} updates", -0.3, -2.15 if size == 1 else -1.9, colour)
    axis.plot(*best, "+", color=INK, markersize=11, markeredgewidth=2)
    axis.set_title("20 samples, 5 epochs")
    return updates


def quadratic(u, v, m):
    return 0.5 * (m[0, 0] * u * u + 2 * m[0, 1] * u * v + m[1, 1] * v * v)


if __name__ == "__main__":
    start(
        run,
        message(
            "experiments.of.batch_size",
            "Noise of the gradient, time of an epoch and validation accuracy against the batch size: large batches take too few steps.",
        ),
    )
