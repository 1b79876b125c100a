"""Curvature on a plateau: against a Hessian known in closed form, within the budget, and without side effects."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import danlu
from danlu.doctor.instruments import plateau_curvature

X = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
Y = X @ torch.arange(1.0, 7.0)[:, None]


class Product(nn.Module):
    """x w v: at w = v = 0 a saddle."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 3, bias=False), nn.Linear(3, 1, bias=False)
        for layer in (self.first, self.second):
            nn.init.zeros_(layer.weight)

    def forward(self, x):
        return self.second(self.first(x))


def train(model, epochs: int = 5, rate: float = 0.05, budget: float | None = None):
    optimizer, loss_fn = torch.optim.SGD(model.parameters(), lr=rate), nn.MSELoss()
    doctor = danlu.watch(model, optimizer, loss_fn, budget=budget) if budget else None
    with doctor or torch.enable_grad():
        for _ in range(epochs):
            for rows in torch.arange(64).split(32):
                optimizer.zero_grad()
                loss_fn(model(X[rows]), Y[rows]).backward()
                optimizer.step()
            with torch.no_grad():
                loss_fn(model(X), Y)
    return doctor


def test_saddle_is_recognised_by_its_eigenvalues():
    doctor = train(Product(), budget=float("inf"))
    assert doctor.ledger.last("point.kind") in ("saddle", "maximum")
    # H couples w and v by B = -2 E[x y]; its eigenvalues are +-|B| and 0. The last batch holds rows 32 to 63.
    size = (2 * (X[32:] * Y[32:]).mean(0)).norm().item()
    assert doctor.ledger.last("point.lowest") == pytest.approx(-size, rel=0.05)
    assert doctor.ledger.last("point.highest") == pytest.approx(size, rel=0.05)
    saddles = [f for f in doctor.findings if f.code == "optim.plateau_saddle"]
    assert len(saddles) == 1


def test_a_minimum_has_no_negative_curvature():
    torch.manual_seed(0)
    doctor = train(nn.Linear(6, 1), epochs=120, rate=0.1, budget=float("inf"))
    assert doctor.ledger.last("point.lowest", default=1.0) >= 0
    assert not [f for f in doctor.findings if f.code == "optim.plateau_saddle"]


def test_training_is_the_same_with_it(monkeypatch):
    def weights(budget: float | None) -> list[torch.Tensor]:
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1))
        monkeypatch.setattr(plateau_curvature, "MAX_PLATEAU_CHANGE", 1e9)
        doctor = train(model, budget=budget)
        assert doctor is None or doctor.ledger.has("point.kind")
        return [*model.state_dict().values(), torch.rand(3)]

    for plain, watched in zip(weights(None), weights(float("inf"))):
        assert torch.equal(plain, watched)


def test_nothing_is_measured_beyond_the_budget():
    doctor = train(Product(), budget=1e-6)
    assert not doctor.ledger.has("point.kind")
