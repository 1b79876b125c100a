"""Gradients that are cleared before the step used them: found in loops that accumulate and left alone where it is intended."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import danlu

GENERATOR = torch.Generator().manual_seed(0)
X = torch.rand(256, 16, generator=GENERATOR)
Y = (X[:, :4] + 0.1 * torch.randn(256, 4, generator=GENERATOR)).argmax(1)
MICRO_BATCHES = 4
Step = Callable[[nn.Module, torch.optim.Optimizer, list[Tensor]], None]


def loss_of(model: nn.Module, rows: Tensor) -> Tensor:
    return F.cross_entropy(model(X[rows]), Y[rows])


def accumulated(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    optimizer.zero_grad()
    for rows in batches:
        (loss_of(model, rows) / len(batches)).backward()


def cleared(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    for rows in batches:
        optimizer.zero_grad()
        (loss_of(model, rows) / len(batches)).backward()


def filled_with_zeros_and_clipped(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    for rows in batches:
        optimizer.zero_grad(set_to_none=False)
        loss_of(model, rows).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.01)


def sharpness_aware(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    parameters = list(model.parameters())
    optimizer.zero_grad()
    loss_of(model, batches[0]).backward()
    moves = [0.05 * p.grad / (p.grad.norm() + 1e-12) for p in parameters if p.grad is not None]
    with torch.no_grad():
        torch._foreach_add_(parameters, moves)
    optimizer.zero_grad()
    loss_of(model, batches[1]).backward()
    with torch.no_grad():
        torch._foreach_sub_(parameters, moves)


def without_conflicts(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    """Gradient surgery: each task's gradient is read, and the optimiser gets a combination of all of them."""
    found: list[list[Tensor]] = []
    for rows in batches:
        optimizer.zero_grad()
        loss_of(model, rows).backward()
        found.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for parameter, *gradients in zip(model.parameters(), *found):
        parameter.grad = torch.stack(gradients).mean(0)


def private(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    """Gradients of single samples, clipped and with noise, in place."""
    sums = [torch.zeros_like(p) for p in model.parameters()]
    for row in batches[0][:6]:
        optimizer.zero_grad()
        loss_of(model, row[None]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for total, parameter in zip(sums, model.parameters()):
            total.add_(parameter.grad)
    for total, parameter in zip(sums, model.parameters()):
        assert parameter.grad is not None
        parameter.grad.copy_(total + 0.1 * torch.randn_like(total))


def attacked(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    """Fast gradient sign: the first backward pass is for the gradient of the inputs."""
    given = X[batches[0]].clone().requires_grad_()
    F.cross_entropy(model(given), Y[batches[0]]).backward()
    assert given.grad is not None
    worse = given.detach() + 0.05 * given.grad.sign()
    optimizer.zero_grad()
    F.cross_entropy(model(worse), Y[batches[0]]).backward()


def each_term_measured(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    """The gradient of the same samples twice: once to be printed."""
    for _ in range(2):
        optimizer.zero_grad()
        loss_of(model, batches[0]).backward()


def two_views(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    optimizer.zero_grad()
    first, second = (model(X[rows]) for rows in batches[:2])
    (F.cross_entropy(first, Y[batches[0]]) + F.cross_entropy(second, Y[batches[1]])).backward()


def codes(step: Step, optimizer: type[torch.optim.Optimizer] = torch.optim.SGD) -> list[str]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    chosen = optimizer(model.parameters(), lr=1e-2)
    with danlu.watch(model, budget=math.inf) as doctor:
        for _ in range(3):
            for batches in torch.stack(torch.randperm(256).split(16)).split(MICRO_BATCHES):
                step(model, chosen, list(batches))
                chosen.step()
    return [finding.code for finding in doctor.findings]


@pytest.mark.parametrize("step", [cleared, filled_with_zeros_and_clipped])
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_gradients_cleared_before_each_micro_batch_are_found(step: Step, optimizer: type) -> None:
    assert "loop.gradients_discarded" in codes(step, optimizer)


@pytest.mark.parametrize(
    "step", [accumulated, sharpness_aware, without_conflicts, private, attacked, each_term_measured, two_views]
)
def test_loops_that_clear_gradients_on_purpose_are_left_alone(step: Step) -> None:
    assert "loop.gradients_discarded" not in codes(step)


def test_inputs_that_are_always_blank_hide_nothing() -> None:
    torch.manual_seed(0)
    images = X.view(-1, 4, 4) * (torch.arange(4) > 1)  # half of the columns
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with danlu.watch(model, budget=math.inf) as doctor:
        for _ in range(2):
            for i, rows in enumerate(torch.randperm(256).split(16)):
                optimizer.zero_grad()
                F.cross_entropy(model(images[rows]), Y[rows]).backward()
                if i % 4 == 3:
                    optimizer.step()
    assert "loop.gradients_discarded" in [finding.code for finding in doctor.findings]


def test_a_step_after_the_batches_of_an_epoch_uses_the_last_one() -> None:
    model = nn.Linear(16, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with danlu.watch(model, budget=math.inf) as doctor:
        for _ in range(8):
            for rows in torch.randperm(256).split(4):  # 64 batches
                optimizer.zero_grad()
                loss_of(model, rows).backward()
            optimizer.step()
    found = {finding.code: finding for finding in doctor.findings}
    assert found["loop.gradients_discarded"].evidence["batches"] == 64
