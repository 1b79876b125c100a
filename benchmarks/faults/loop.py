"""Training loop of the benchmark; every step is a method that a fault can override.

A Setup describes a training script as data; it makes a Loop and may name a subclass of it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from data import Data
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD, "lbfgs": torch.optim.LBFGS}

Watch = Callable[[nn.Module, torch.optim.Optimizer, nn.Module], AbstractContextManager[Any]]


class Batches:
    """Set in memory, sliced into batches; reshuffled each epoch if `shuffle` is set."""

    def __init__(self, x: Tensor, y: Tensor, batch_size: int, shuffle: bool, augment: Callable | None = None) -> None:
        self.x, self.y, self.batch_size, self.shuffle, self.augment = x, y, batch_size, shuffle, augment

    def __len__(self) -> int:
        return math.ceil(len(self.x) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.x)) if self.shuffle else torch.arange(len(self.x))
        for rows in order.split(self.batch_size):
            x = self.x[rows]
            yield (self.augment(x) if self.augment else x), self.y[rows]


class Loop:
    """Build everything from the set-up, train and validate; `history` has one dict per epoch."""

    def __init__(self, setup: Setup) -> None:
        random.seed(setup.seed)
        np.random.seed(setup.seed)  # noqa: NPY002 - what users do
        torch.manual_seed(setup.seed)
        self.setup = setup
        self.data = setup.data(setup.seed)
        self.model = setup.model(self.data)
        self.loss_fn = setup.loss()
        self.train_loader, self.val_loader = self.make_loaders()
        self.optimizer = self.make_optimizer()
        self.scheduler = setup.schedule(self.optimizer, self.setup.epochs, len(self.train_loader))
        self.history: list[dict[str, float]] = []

    def make_loaders(self) -> tuple[Batches, Batches]:
        data, setup = self.data, self.setup
        train = Batches(data.x, data.y, setup.batch_size, shuffle=True, augment=setup.augment)
        return train, Batches(data.x_val, data.y_val, 256, shuffle=False)

    def make_optimizer(self) -> torch.optim.Optimizer:
        return self.setup.optim.build(self.model.parameters())

    def run(self, watch: Watch | None = None) -> list[dict[str, float]]:
        context = watch(self.model, self.optimizer, self.loss_fn) if watch else nullcontext()
        with context as watcher:
            for _ in range(self.setup.epochs):
                train_loss, train_score = self.train_epoch()
                val_loss, val_score = self.validate()
                if self.setup.schedule_per == "epoch":
                    self.scheduler.step()
                metrics = {
                    "train_loss": train_loss,
                    f"train_{self.score_name}": train_score,
                    "val_loss": val_loss,
                    f"val_{self.score_name}": val_score,
                }
                self.history.append(metrics)
                if hasattr(watcher, "epoch"):
                    watcher.epoch(**metrics)
        return self.history

    def train_epoch(self) -> tuple[float, float]:
        self.begin_training()
        total, seen, outputs_seen, targets_seen = 0.0, 0, [], []
        for x, y in self.train_loader:
            loss, outputs = self.train_step(x, y)
            if self.setup.schedule_per == "batch":
                self.scheduler.step()
            total += loss.item() * len(x)
            seen += len(x)
            outputs_seen.append(outputs.detach())
            targets_seen.append(y)
        return total / seen, self.score(torch.cat(outputs_seen), torch.cat(targets_seen))

    def train_step(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        self.optimizer.zero_grad()
        outputs = self.model(x)
        loss = self.loss_fn(outputs, y)
        loss.backward()
        self.optimizer.step()
        return loss, outputs

    def validate(self) -> tuple[float, float]:
        self.begin_validation()
        total, outputs_seen, targets_seen = 0.0, [], []
        with torch.no_grad():
            for x, y in self.val_loader:
                outputs = self.model(x)
                total += self.loss_fn(outputs, y).item() * len(x)
                outputs_seen.append(outputs)
                targets_seen.append(y)
        return total / len(self.val_loader.x), self.score(torch.cat(outputs_seen), torch.cat(targets_seen))

    def begin_training(self) -> None:
        self.model.train()

    def begin_validation(self) -> None:
        self.model.eval()

    @property
    def score_name(self) -> str:
        return "r2" if self.data.task == "numbers" else "accuracy"

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        """Compute accuracy, or R2 for numbers; targets are indices, one-hot rows, or a column of 0/1."""
        if self.data.task == "numbers":
            return (1 - (outputs - targets).square().mean() / targets.var(correction=0)).item()
        if outputs.shape[-1] == 1:
            positive = self.positive(outputs)
            return (positive == (targets > 0.5)).float().mean().item()
        wanted = targets.argmax(1) if targets.dim() == 2 and targets.shape[1] > 1 else targets.flatten()
        return (outputs.argmax(1) == wanted).float().mean().item()

    def positive(self, outputs: Tensor) -> Tensor:
        return outputs > 0


@dataclass(frozen=True)
class Optim:
    """Optimiser name and arguments; a fault changes the arguments."""

    kind: str
    lr: float
    arguments: dict = field(default_factory=dict)

    def build(self, parameters: Iterable) -> torch.optim.Optimizer:
        return OPTIMIZERS[self.kind](parameters, lr=self.lr, **self.arguments)

    def but(self, **arguments) -> Optim:
        return replace(self, arguments={**self.arguments, **arguments})


def cosine(optimizer: torch.optim.Optimizer, epochs: int, batches: int) -> LRScheduler:
    return CosineAnnealingLR(optimizer, T_max=epochs)


@dataclass(frozen=True)
class Setup:
    """Training script as data; `floor` is the validation score that it reaches with any seed."""

    name: str
    half: str
    data: Callable[[int], Data]
    model: Callable[[Data], nn.Module]
    optim: Optim
    floor: float
    tags: frozenset[str]
    loss: Callable[[], nn.Module]
    batch_size: int = 64
    epochs: int = 12
    seed: int = 0
    schedule: Callable[[torch.optim.Optimizer, int, int], LRScheduler] = cosine
    schedule_per: str = "epoch"
    augment: Callable | None = None
    loop: type[Loop] = Loop

    def but(self, **changes) -> Setup:
        return replace(self, **changes)

    def make(self) -> Loop:
        return self.loop(self)


class LBFGSLoop(Loop):
    """Loop with the closure of torch.optim.LBFGS, which may evaluate the loss several times per step."""

    def train_step(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        def closure() -> Tensor:
            self.optimizer.zero_grad()
            loss = self.loss_fn(self.model(x), y)
            loss.backward()
            return loss

        loss = self.optimizer.step(closure)
        with torch.no_grad():
            return torch.as_tensor(loss), self.model(x)


class AccumulatingLoop(Loop):
    """Accumulate the gradients of four small batches per step; the loss is divided by four."""

    parts = 4

    def train_step(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        self.count = getattr(self, "count", 0)
        if self.count % self.parts == 0:
            self.optimizer.zero_grad()
        outputs = self.model(x)
        loss = self.loss_fn(outputs, y)
        (loss / self.parts).backward()
        self.count += 1
        if self.count % self.parts == 0:
            self.optimizer.step()
        return loss, outputs


class ClippingLoop(Loop):
    """Clip the global gradient norm between backward and step."""

    max_norm = 5.0

    def train_step(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        self.optimizer.zero_grad()
        outputs = self.model(x)
        loss = self.loss_fn(outputs, y)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.max_norm)
        self.optimizer.step()
        return loss, outputs
