"""Weights of 16 bits: steps that are rounded to nothing."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import danlu


def lost_fractions(
    dtype: torch.dtype, rate: float, kind: type[torch.optim.Optimizer] = torch.optim.Adam
) -> list[float]:
    torch.manual_seed(0)
    x = torch.randn(128, 8)
    y = (x @ torch.randn(8, 3)).argmax(1)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3)).to(dtype)
    optimizer = kind(model.parameters(), lr=rate)
    with danlu.watch(model, optimizer, F.cross_entropy, budget=math.inf) as doctor:
        for _ in range(12):
            optimizer.zero_grad()
            F.cross_entropy(model(x.to(dtype)).float(), y).backward()
            optimizer.step()
    found = [finding.code for finding in doctor.findings]
    measured = doctor.ledger.values("update.lost")
    assert ("numerics.updates_lost" in found) == (bool(measured) and sorted(measured)[6] > 0.5)
    return measured


def test_small_steps_of_bfloat16_weights_are_lost() -> None:
    assert min(lost_fractions(torch.bfloat16, 1e-5)) > 0.7


def test_large_steps_are_not_and_float32_is_not_measured() -> None:
    assert max(lost_fractions(torch.bfloat16, 3e-2)) < 0.3
    assert not lost_fractions(torch.float32, 1e-5)


class Compensated(torch.optim.Adam):
    """Stands for an optimiser outside torch, which may add up what rounding lost."""

    __module__ = "other"


@pytest.mark.parametrize("rate", [1e-5])
def test_an_optimizer_of_another_package_is_not_judged(rate: float) -> None:
    assert not lost_fractions(torch.bfloat16, rate, Compensated)
