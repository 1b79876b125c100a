"""Large batches give steady gradients and quick epochs; past a size they reach a worse validation accuracy.

The gradient of a batch is the mean over its samples, so its noise falls with the root of the batch size. With 20
samples a full batch makes one update an epoch, batches of one make 20 noisy ones. The lecture notes say that the time of
an epoch is flat until the hardware is full; it is the time of a *step* that is flat, so an epoch's falls as 1/batch and
is flat only after that. Bigger batch, bigger rate: scaling the rate with the batch wins back most of the lost accuracy.

    python experiments/batch_size.py        MEASURED

Seen:
"""

from __future__ import annotations

import time

import torch
from gradient_descent_by_hand import quadratic
from style import BLUE, GREEN, INK, ORANGE, PURPLE, contours, note, panels, save, start
from torch import Tensor, nn
from training import digits

from danlu.config import OptimConfig
from danlu.data.batches import Batches, Columns
from danlu.losses import cross_entropy, squared
from danlu.models.mlp import MLP
from danlu.optim import build_optimizer

RATE, EPOCHS = 0.02, 12  # the rate of batch 8 when it is scaled


def paths() -> tuple[dict[int, Tensor], Tensor, Tensor]:
    """Five epochs of linear regression on 20 samples: the weights after each update, by batch size."""
    random = torch.Generator().manual_seed(3)
    inputs = torch.randn(20, 2, generator=random) * torch.tensor([1.0, 0.7])
    targets = inputs @ torch.tensor([2.0, -1.0]) + 0.8 * torch.randn(20, generator=random)
    found = {}
    for size in (20, 1):
        model = nn.Linear(2, 1, bias=False)
        nn.init.zeros_(model.weight)
        path = [model.weight.detach().flatten().clone()]
        for _ in train(model, squared, inputs, targets, size, 0.12, epochs=5):
            path.append(model.weight.detach().flatten().clone())
        found[size] = torch.stack(path)
    return found, inputs.T @ inputs / 20, torch.linalg.lstsq(inputs, targets[:, None]).solution.flatten()


def train(model: nn.Module, loss, inputs: Tensor, targets: Tensor, size: int, rate: float, epochs: int, seed: int = 0):
    """Plain gradient descent; hands over after every update."""
    batches = Batches(inputs, targets, torch.arange(len(inputs)), batch_size=size, transform=Columns(), seed=seed)
    optimizer = build_optimizer(model, OptimConfig(name="sgd", lr=rate))
    for epoch in range(epochs):
        for batch in batches.epoch(epoch):
            optimizer.zero_grad()
            loss(model(batch.inputs), batch.targets).mean().backward()
            optimizer.step()
            yield


def on_digits(size: int, rate: float, epochs: int, seed: int) -> tuple[float, float]:
    """Validation accuracy, and seconds per epoch."""
    x, y, x_val, y_val = digits(seed)
    torch.manual_seed(seed)
    model = MLP(64, 10, width=(128,))
    began = time.perf_counter()
    for _ in train(model, lambda o, t: cross_entropy(o, t, 0.0), x, y, size, rate, epochs, seed):
        pass
    seconds = (time.perf_counter() - began) / epochs
    return (model(x_val).argmax(1) == y_val).float().mean().item(), seconds


def noise(sizes: list[int], draws: int) -> list[float]:
    """Mean distance of a batch's gradient from the full one, as a share of the latter's length, at fresh weights."""
    x, y, *_ = digits()
    torch.manual_seed(0)
    model = MLP(64, 10, width=(128,))

    def gradient(rows: Tensor) -> Tensor:
        loss = cross_entropy(model(x[rows]), y[rows], 0.0).mean()
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])

    full = gradient(torch.arange(len(x)))
    off = [[(gradient(torch.randperm(len(x))[:n]) - full).norm() / full.norm() for _ in range(draws)] for n in sizes]
    return [torch.stack(o).square().mean().sqrt().item() for o in off]
