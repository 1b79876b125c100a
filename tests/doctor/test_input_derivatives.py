"""Losses of derivatives with respect to the inputs (differential equations), with and without a graph."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import danlu

Loss = Callable[[nn.Module, Tensor], Tensor]


def derivative(outputs: Tensor, inputs: Tensor, graph: bool, kept: bool | None = True) -> Tensor:
    return torch.autograd.grad(outputs.sum(), inputs, create_graph=graph, retain_graph=kept)[0]


def start(net: nn.Module) -> Tensor:
    return (net(torch.zeros(1, 1)) - 1).square().mean()


def decay(net: nn.Module, t: Tensor, graph: bool) -> Tensor:
    """u' = -2 u."""
    u = net(t)
    return (derivative(u, t, graph) + 2 * u).square().mean() + start(net)


def oscillation(net: nn.Module, t: Tensor, graph: bool) -> Tensor:
    """u'' = -sin t, where the first derivative always has a graph."""
    u = net(t)
    second = derivative(derivative(u, t, True), t, graph)
    return (second + torch.sin(t)).square().mean() + start(net)


def slope(net: nn.Module, t: Tensor, graph: bool) -> Tensor:
    u = net(t)
    return F.mse_loss(derivative(u, t, graph), torch.cos(t)) + start(net)


def codes(loss: Loss) -> list[str]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    with danlu.watch(net, budget=math.inf) as doctor:
        for _ in range(12):
            optimizer.zero_grad()
            loss(net, (torch.rand(32, 1) * 3).requires_grad_()).backward()
            optimizer.step()
    return [finding.code for finding in doctor.findings]


@pytest.mark.parametrize("equation", [decay, oscillation, slope])
@pytest.mark.parametrize("graph", [True, False])
def test_derivatives_without_a_graph_are_found(equation: Callable[..., Tensor], graph: bool) -> None:
    found = codes(lambda net, t: equation(net, t, graph))
    assert ("loop.derivative_cut" in found) == (not graph)


def test_an_attack_needs_no_graph() -> None:
    def adversarial(net: nn.Module, t: Tensor) -> Tensor:
        direction = derivative(F.mse_loss(net(t), torch.sin(t)), t, False, None)
        worse = t.detach() + 0.05 * direction.sign()
        return F.mse_loss(net(t.detach()), torch.sin(t.detach())) + F.mse_loss(net(worse), torch.sin(worse)) + 1e-3

    assert "loop.derivative_cut" not in codes(adversarial)


def test_sampling_by_the_slope_of_an_energy_needs_no_graph() -> None:
    def contrastive(net: nn.Module, t: Tensor) -> Tensor:
        sample = t
        for _ in range(3):
            force = derivative(net(sample), sample, False, None)
            sample = (sample - 0.1 * force + 0.01 * torch.randn_like(sample)).detach().requires_grad_()
        return net(torch.sin(t.detach())).mean() - net(sample.detach()).mean()

    assert "loop.derivative_cut" not in codes(contrastive)
