"""Several optimisers on one model: each is compared with its own steps."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import danlu


def data() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    x = torch.randn(64, 6)
    return x, (x @ torch.randn(6, 2)).argmax(1)


def watched(alternating: bool) -> danlu.doctor.watch.Doctor:
    """Two optimisers on the same batch again and again; both at each step, or in turn."""
    x, y = data()
    model, loss_fn = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2)), nn.CrossEntropyLoss()
    optimizers = [torch.optim.SGD(model[i].parameters(), 1e-3) for i in (0, 2)]
    with danlu.watch(model, optimizers, loss_fn, budget=math.inf) as doctor:
        for step in range(12):
            model.zero_grad()
            loss_fn(model(x), y).backward()
            for i, optimizer in enumerate(optimizers):
                if not alternating or step % 2 == i:
                    optimizer.step()
    return doctor


@pytest.mark.parametrize("alternating", [False, True])
def test_successive_gradients_of_each_optimizer_are_compared(alternating: bool) -> None:
    ledger = watched(alternating).ledger
    cosines = ledger.values("gradient.cosine")
    # The same batch at nearly the same weights: each one's gradient is like its own before, and unlike the other's.
    assert len(cosines) >= (20 if not alternating else 8)
    assert min(cosines) > 0.99
    assert min(ledger.values("update.cosine")) > 0.99


def test_one_that_is_made_anew_keeps_the_memory() -> None:
    x, y = data()
    model, loss_fn = nn.Linear(6, 2), nn.CrossEntropyLoss()
    with danlu.watch(model, None, loss_fn, budget=math.inf) as doctor:
        for _ in range(8):
            optimizer = torch.optim.SGD(model.parameters(), 1e-3)
            optimizer.zero_grad()
            loss_fn(model(x), y).backward()
            optimizer.step()
    assert len(doctor.ledger.values("gradient.cosine")) == 7
