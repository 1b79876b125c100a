"""Several optimisers on one model: each is compared with its own steps."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import danlu
from danlu.doctor.budget import Budget


def data() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    x = torch.randn(64, 6)
    return x, (x @ torch.randn(6, 2)).argmax(1)


def watched(alternating: bool, steps: int = 12) -> danlu.doctor.watch.Doctor:
    """Two optimisers on the same batch again and again; both at each step, or in turn."""
    x, y = data()
    model, loss_fn = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2)), nn.CrossEntropyLoss()
    optimizers = [torch.optim.SGD(model[i].parameters(), 1e-3) for i in (0, 2)]
    with danlu.watch(model, optimizers, loss_fn, budget=math.inf) as doctor:
        for step in range(steps):
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


def test_of_optimizers_that_take_turns_each_has_two_steps_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Budget, "may", lambda self, name, step: name != "gradients" or step in (1, 2, 21))
    late = [step for step in watched(True, 30).ledger.series("gradient.cosine")[0] if step > 4]
    assert late == [23, 24]


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


class Pair(torch.optim.SGD):
    """One optimiser made of two, each for half of the parameters."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model.parameters(), 1e-3)
        self.halves = [torch.optim.SGD([p], 1e-3) for p in model.parameters()]

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for half in self.halves:
            half.step()


def test_what_an_optimizer_is_made_of_is_no_other_optimizer() -> None:
    x, y = data()
    model, loss_fn = nn.Linear(6, 2), nn.CrossEntropyLoss()
    optimizer = Pair(model)
    with danlu.watch(model, None, loss_fn, budget=math.inf) as doctor:
        for _ in range(6):
            model.zero_grad()
            loss_fn(model(x), y).backward()
            optimizer.step()
    assert set(doctor.ledger.facts("optimizer.kind").values()) == {"Pair"}
    assert len(doctor.ledger.values("update.norm")) == 6


def test_a_step_that_broke_down_does_not_deafen_the_doctor() -> None:
    x, y = data()
    model, loss_fn = nn.Linear(6, 2), nn.CrossEntropyLoss()
    broken, sound = torch.optim.SGD(model.parameters(), 1e-3), torch.optim.SGD(model.parameters(), 1e-3)
    with danlu.watch(model, [broken, sound], loss_fn, budget=math.inf) as doctor:
        loss_fn(model(x), y).backward()
        with pytest.raises(ZeroDivisionError):
            broken.step(lambda: 1 / 0)
        for _ in range(4):
            model.zero_grad()
            loss_fn(model(x), y).backward()
            sound.step()
    assert len(doctor.ledger.values("update.norm")) == 4
