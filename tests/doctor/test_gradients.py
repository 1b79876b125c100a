"""Several optimisers on one model: each is compared with its own steps. The noise of gradients, against exact values."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import danlu
from danlu.doctor.derived.noise import noise_scale
from danlu.doctor.instruments.activations import some_values
from danlu.doctor.observation.budget import Budget


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


def test_inner_optimizer_is_not_counted() -> None:
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


def test_failed_step_does_not_stop_the_doctor() -> None:
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


ROWS, INSTRUMENT_FRACTIONS, SIZE = 512, 4, 8


def linear_regression(rate: float, prepare=lambda optimizer: None, steps: int = 400, split: bool = True):
    """SGD on batches drawn with replacement, in PARTS micro-batches or at once: (doctor, exact |G|^2 and tr(Sigma), mean
    over the steps). The loss is a sample's squared error / 2, so that its gradient is the residual times the inputs."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(ROWS, 10, generator=generator) * torch.linspace(0.5, 2.0, 10)
    y = x @ torch.randn(10, 1, generator=generator) + torch.randn(ROWS, 1, generator=generator)
    torch.manual_seed(0)
    model = nn.Linear(10, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), rate)
    exact = torch.zeros(2, dtype=torch.float64)
    with danlu.watch(model, optimizer, budget=math.inf) as doctor:
        for step in range(steps):
            each = ((x @ model.weight.detach().T - y) * x).double()
            if step:  # at the first one the doctor does not know yet what will be stepped
                exact += torch.stack([each.mean(0).square().sum(), each.var(0, correction=0).sum()]) / (steps - 1)
            optimizer.zero_grad()
            for _ in range(INSTRUMENT_FRACTIONS if split else 1):
                rows = torch.randint(ROWS, (SIZE if split else INSTRUMENT_FRACTIONS * SIZE,), generator=generator)
                loss = nn.functional.mse_loss(model(x[rows]), y[rows]) / 2
                (loss / INSTRUMENT_FRACTIONS if split else loss).backward()
            prepare(model)
            optimizer.step()
    return doctor, exact.tolist()


def told(doctor, way: str) -> tuple[float, float]:
    means = [doctor.ledger.values(f"gradient.{name}", way) for name in ("signal", "noise")]
    return sum(means[0]) / len(means[0]), sum(means[1]) / len(means[1])


def test_the_noise_scale_of_micro_batches_is_unbiased_however_long_the_steps() -> None:
    doctor, (signal, noise) = linear_regression(rate=0.15)
    found = told(doctor, "micro-batches")
    assert found == (pytest.approx(signal, rel=0.2), pytest.approx(noise, rel=0.05))  # its standard error is 0.035
    scale, unbiased = noise_scale(doctor.ledger)
    assert unbiased
    assert scale == pytest.approx(noise / signal, rel=0.2)
    # Successive gradients differ by the movement as well: at this rate each step overshoots, and they point apart.
    assert told(doctor, "")[1] > 1.3 * noise


def test_short_steps_give_the_same_by_both_ways() -> None:
    doctor, (signal, noise) = linear_regression(rate=1e-4, steps=200)
    for way in ("micro-batches", ""):
        assert told(doctor, way) == (pytest.approx(signal, rel=0.1), pytest.approx(noise, rel=0.15))
    whole, _ = linear_regression(rate=1e-4, steps=20, split=False)
    assert whole.ledger.wheres("gradient.signal") == [""]
    assert not noise_scale(whole.ledger)[1]


def test_clipping_changes_the_unit_and_not_the_scale() -> None:
    doctor, (signal, noise) = linear_regression(
        1e-4, lambda m: nn.utils.clip_grad_norm_(m.parameters(), 1e-2), steps=100
    )
    scale, _ = noise_scale(doctor.ledger)
    assert max(doctor.ledger.values("gradient.clip_ratio")) < 0.1
    assert scale == pytest.approx(noise / signal, rel=0.1)


def test_two_passes_with_one_backward_are_no_micro_batches() -> None:
    """A pair of views, a triplet: their gradients come together."""
    model = nn.Linear(6, 4)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with danlu.watch(model, optimizer, budget=math.inf) as doctor:
        for _ in range(8):
            loss = (model(torch.randn(16, 6)) - model(torch.randn(16, 6))).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert doctor.ledger.wheres("gradient.signal") == [""]


def test_positions_read_of_a_gradient_are_even_and_odd() -> None:
    where = torch.arange(64).expand(128, 3, 64, 64)
    part = some_values(where)
    assert part.shape == (32, 3, 10, 10)
    assert set((part % 2).unique().tolist()) == {0, 1}
    assert some_values(torch.ones(4, 5)).shape == (4, 5)
    assert some_values(torch.ones(2, 3, 4, 4)).shape == (2, 3, 4, 4)
