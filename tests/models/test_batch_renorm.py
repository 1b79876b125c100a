"""Batch renormalisation against Ioffe 2017's formula and against batch norm."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from danlu.models.batch_renorm import BatchRenorm


def opened(channels: int, r_max: float, d_max: float) -> BatchRenorm:
    """A layer whose limits stand at their end."""
    layer = BatchRenorm(channels, r_max=r_max, d_max=d_max)
    layer.num_batches_tracked.fill_(10**6)
    return layer


@pytest.mark.parametrize(
    ("r_max", "d_max", "expected"),
    [
        (1.0, 0.0, [-1.3416355, -0.4472118, 0.4472118, 1.3416355]),  # batch norm
        (3.0, 5.0, [0.9999951, 1.9999901, 2.9999852, 3.99998]),  # nothing clipped: moving mean 0, variance 1
    ],
)
def test_worked_cases(r_max: float, d_max: float, expected: list[float]):
    x = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    torch.testing.assert_close(opened(1, r_max, d_max)(x).flatten(), torch.tensor(expected), rtol=0, atol=1e-4)


def test_begins_as_batch_norm_gradients_and_statistics_too():
    torch.manual_seed(0)
    ours, theirs = BatchRenorm(3), nn.BatchNorm2d(3)
    for _ in range(3):
        x = torch.randn(4, 3, 5, 5) * 2 + 1
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        left, right = ours(a), theirs(b)
        torch.testing.assert_close(left, right)
        weights = torch.randn_like(x)
        (left * weights).sum().backward()
        (right * weights).sum().backward()
        torch.testing.assert_close(a.grad, b.grad)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(x), theirs(x))


def test_r_and_d_carry_no_gradient():
    torch.manual_seed(0)
    x = torch.randn(8, 2, dtype=torch.double, requires_grad=True)
    layer = opened(2, 1.5, 0.5).double()
    layer.running_mean.fill_(0.4)
    layer.running_var.fill_(2.0)
    mean, sigma = x.mean(0), (x.var(0, correction=0) + layer.eps).sqrt()
    moving = (layer.running_var + layer.eps).sqrt()
    r = (sigma / moving).clamp(1 / 1.5, 1.5).detach()
    d = ((mean - 0.4) / moving).clamp(-0.5, 0.5).detach()
    expected = (x - mean) / sigma * r + d
    weights = torch.randn(8, 2, dtype=torch.double)
    (wanted,) = torch.autograd.grad((expected * weights).sum(), x)
    outputs = layer(x)
    torch.testing.assert_close(outputs, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(torch.autograd.grad((outputs * weights).sum(), x)[0], wanted, rtol=1e-6, atol=1e-6)


def test_limits_open_linearly():
    layer = BatchRenorm(1, r_max=3, d_max=5, warmup=10, r_ramp=30, d_ramp=20)
    seen = []
    for step in (0, 10, 15, 20, 30, 40):
        layer.num_batches_tracked.fill_(step)
        seen.append(layer.limits())
    assert seen == [(1, 0), (1, 0), (1.5, 2.5), (2, 5), (3, 5), (3, 5)]
