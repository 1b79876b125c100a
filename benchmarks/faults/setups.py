"""The healthy set-ups: data x network x optimiser, each assigned to one half of the benchmark, with the score it reaches.

The halves share no pair of data and architecture. Thresholds are tuned on "tuned" and reported on "untuned".
"""

# ruff: noqa: E501 - tables of cases, one per line
from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import data as sets
import torch
from data import present
from loop import Optim, Setup
from networks import lenet, mlp, resnet, transformer, vgg
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

LOSSES = {"classes": nn.CrossEntropyLoss, "binary": nn.BCEWithLogitsLoss, "numbers": nn.MSELoss}


def constant(optimizer: torch.optim.Optimizer, epochs: int, batches: int) -> LRScheduler:
    return LambdaLR(optimizer, lambda _: 1.0)


def warm_up(optimizer: torch.optim.Optimizer, epochs: int, batches: int) -> LRScheduler:
    """Linear over the first epoch, then cosine; stepped per batch."""
    total = epochs * batches
    fall = lambda step: (1 + math.cos(math.pi * min(step / total, 1))) / 2  # noqa: E731
    return LambdaLR(optimizer, lambda step: min((step + 1) / batches, 1.0) * fall(step))


def setup(
    half: str, data: Callable, network: str, model: Callable, optim: Optim, floor: float, tags: str, **rest
) -> Setup:
    words = set(tags.split())
    task = next(word for word in LOSSES if word in words)
    words |= {optim.kind} | ({"momentum"} if optim.arguments.get("momentum") else set())
    name = f"{data.__name__}_{network}"
    return Setup(name, half, data, model, optim, floor, frozenset(words), LOSSES[task], **rest)


def momentum(lr: float) -> Optim:
    return Optim("sgd", lr, {"momentum": 0.9})


sigmoid = partial(mlp, activation=nn.Sigmoid, init="xavier")
tanh = partial(mlp, activation=nn.Tanh, init="xavier")

SETUPS = [
    setup("tuned", sets.digits, "mlp2", mlp(256), momentum(0.03), 0.94, "classes mlp relu images", batch_size=32, epochs=15),
    setup("tuned", sets.digits, "lenet", lenet(8, 16, 96), Optim("adam", 3e-3), 0.94, "classes conv relu images", batch_size=32, epochs=15),
    setup("tuned", sets.moons, "mlp3", mlp(64, 64), Optim("adam", 5e-3), 0.96, "binary mlp relu plane", batch_size=32, epochs=15),
    setup("tuned", sets.friedman, "mlp3", mlp(96, 96), Optim("adam", 2e-3), 0.85, "numbers mlp relu table", batch_size=32, epochs=12),
    setup("tuned", sets.mnist, "vgg", vgg(8, 16), momentum(0.05), 0.88, "classes conv bn relu images"),
    setup("tuned", sets.cifar, "resnet", resnet(8, 16), Optim("adamw", 3e-3), 0.76, "classes conv bn residual relu images", epochs=8),
    setup("tuned", sets.blobs, "tanh3", tanh(96, 64), Optim("sgd", 0.05), 0.88, "classes mlp tanh table", batch_size=32),
    setup("tuned", sets.digits, "mlp8", mlp(*[96] * 7, init="he"), momentum(0.01), 0.92, "classes mlp relu deep images", batch_size=32, epochs=15),
    setup("tuned", sets.digits, "sigmoid3", sigmoid(128, 96), Optim("adam", 5e-3), 0.93, "classes mlp sigmoid images", batch_size=32),
    setup("tuned", sets.cancer, "dropout", mlp(128, 64, dropout=0.3), Optim("adamw", 1e-3), 0.93, "binary mlp relu dropout table", batch_size=16, epochs=15),
    setup("tuned", sets.digits, "vgg", vgg(12, 24), momentum(0.02), 0.93, "classes conv bn relu images", batch_size=32),
    setup("tuned", sets.digits, "transformer", transformer(depth=1), Optim("adam", 3e-3), 0.9, "classes transformer images", batch_size=32, epochs=14),
    setup("untuned", sets.mnist, "mlp3", mlp(128, 64), Optim("adam", 1e-3), 0.86, "classes mlp relu images", batch_size=32, epochs=10),
    setup("untuned", sets.mnist, "lenet", lenet(8, 16), momentum(0.03), 0.9, "classes conv relu images"),
    setup("untuned", sets.circles, "mlp3", mlp(64, 64), momentum(0.05), 0.96, "binary mlp relu plane", batch_size=32, epochs=15),
    setup("untuned", sets.california, "mlp3", mlp(96, 64), Optim("adamw", 2e-3), 0.62, "numbers mlp relu table", batch_size=32),
    setup("untuned", sets.friedman2, "mlp4", mlp(96, 96, 96), momentum(0.01), 0.85, "numbers mlp relu table", batch_size=32),
    setup("untuned", sets.cifar, "vgg", vgg(12, 24, 32), Optim("adam", 3e-3), 0.78, "classes conv bn relu images", epochs=8),
    setup("untuned", sets.digits, "resnet", resnet(8, 16), momentum(0.02), 0.94, "classes conv bn residual relu images", epochs=10),
    setup("untuned", sets.digits, "mlp4", mlp(128, 96, 64), Optim("adam", 1e-3), 0.93, "classes mlp relu images", batch_size=32),
    setup("untuned", sets.digits, "tanh4", tanh(96, 96, 64), Optim("sgd", 0.05), 0.93, "classes mlp tanh images", batch_size=32, epochs=15),
    setup("untuned", sets.blobs, "mlp10", mlp(*[64] * 9, init="he"), Optim("adam", 5e-4), 0.9, "classes mlp relu deep table", batch_size=32),
    setup("untuned", sets.circles, "sigmoid3", sigmoid(64, 64), Optim("adam", 2e-2), 0.96, "binary mlp sigmoid plane", batch_size=32, epochs=30),
    setup("untuned", sets.digits, "dropout", mlp(192, 96, dropout=0.3), Optim("adamw", 2e-3), 0.93, "classes mlp relu dropout images", batch_size=32, epochs=15),
    setup("untuned", sets.mnist, "transformer", transformer(48, 1), Optim("adam", 3e-3), 0.84, "classes transformer images", batch_size=32, epochs=10),
]  # fmt: skip


def healthy_setups(half: str) -> list[Setup]:
    """Set-ups of a half whose data are available."""
    return [one for one in SETUPS if one.half == half and present(one.data)]
