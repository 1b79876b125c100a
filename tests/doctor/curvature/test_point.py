"""Kinds of critical points of known functions, and steps out of saddles."""

from __future__ import annotations

import pytest
import torch
from curvature_problems import NOTHING, Point, itself
from torch import Tensor, nn
from torch.nn import functional as F

import danlu
from danlu.doctor.curvature.point import kind_of_point


def rosenbrock(w: Tensor) -> Tensor:
    return (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2


def monkey(w: Tensor) -> Tensor:
    return w[0] ** 2 - w[1] ** 2 + 0.25 * w[1] ** 4 + 1


@pytest.mark.parametrize(
    ("function", "at", "kind", "ratio"),
    [
        (lambda w: w[0] ** 2 + 3 * w[1] ** 2 + 1, [0.0, 0.0], "minimum", 1.0),
        (lambda w: 1 - w[0] ** 2 - 3 * w[1] ** 2, [0.0, 0.0], "maximum", 0.0),
        (monkey, [0.0, 0.0], "saddle", 0.5),
        (lambda w: w[0] ** 2 + 1, [0.0], "minimum", 1.0),
        (lambda w: w[0] ** 2 + 0 * w[1] + 1, [0.0, 5.0], "minimum", 0.5),  # a valley with a level floor
        (rosenbrock, [1.0, 1.0], "minimum", 1.0),
        (rosenbrock, [-1.2, 1.0], "slope", 1.0),
        (lambda w: 5 + 0 * w.sum(), [1.0, 2.0], "flat", 0.0),
        (lambda w: 5 + 1e-9 * (w**2).sum(), [1.0, 2.0], "flat", 1.0),
        (lambda w: w.sum(), [1.0, 2.0], "slope", 0.0),
        (lambda w: w[0] * w[1] + 2, [0.0, 0.0], "saddle", 0.5),
    ],
)
def test_kinds(function, at: list[float], kind: str, ratio: float) -> None:
    found = danlu.curvature(Point(at, function), itself, NOTHING)
    assert found.kind == kind
    assert found.minimum_ratio.value == pytest.approx(ratio)
    assert found.exact
    assert kind in str(found)


def test_rosenbrocks_eigenvalues() -> None:
    """The Hessian at the minimum (1, 1) is [[802, -400], [-400, 200]]."""
    found = danlu.curvature(Point([1.0, 1.0], rosenbrock), itself, NOTHING, top=2)
    assert [p.value for p in found.top] == pytest.approx([1001.60064, 0.39936], rel=1e-5)
    assert found.trace.value == pytest.approx(1002)


def test_the_step_along_negative_curvature_lowers_the_loss_by_its_drop() -> None:
    point = Point([0.0, 0.0], monkey)
    found = danlu.curvature(point, itself, NOTHING)
    step = found.negative_curvature
    assert step is not None
    assert step.lowers
    assert step.curvature == pytest.approx(-2)
    assert step.direction["at"].abs().tolist() == pytest.approx([0, 1])
    assert step.steps == sorted(step.steps)
    assert dict(zip(step.steps, step.losses))[0] == 1
    with torch.no_grad():
        point.at += step.step * step.direction["at"]
    assert 1 - monkey(point.at).item() == pytest.approx(step.drop)


def test_a_minimum_has_no_negative_curvature() -> None:
    assert danlu.curvature(Point([1.0, 1.0], rosenbrock), itself, NOTHING).negative_curvature is None


def test_the_origin_of_a_deep_linear_net_is_a_saddle() -> None:
    """With two layers at zero the gradient vanishes and W2 W1 curves both ways (Baldi and Hornik, 1989)."""
    net = nn.Sequential(nn.Linear(5, 12, bias=False), nn.Linear(12, 5, bias=False))
    for layer in net:
        nn.init.zeros_(layer.weight)
    torch.manual_seed(0)
    x = torch.randn(100, 5)
    found = danlu.curvature(net, F.mse_loss, (x, x))
    assert found.kind == "saddle"
    assert found.gradient_norm == 0
    assert found.top[0].value == pytest.approx(-found.bottom[0].value, rel=1e-4)
    assert found.sign_fractions.positive == pytest.approx(found.sign_fractions.negative, abs=1e-6)


def test_the_kinds_by_their_numbers() -> None:
    assert kind_of_point(1.0, 1e-8, -1e-9, 5.0, weights_norm=1, rounding=1e-6) == "minimum"
    assert kind_of_point(1.0, 0.5, -1.0, 5.0, weights_norm=1) == "slope"
    assert kind_of_point(0.0, 0.0, 1.0, 2.0, weights_norm=0) == "minimum"
    assert kind_of_point(0.0, 0.0, 0.0, 0.0, weights_norm=3) == "flat"


def test_sharpness_against_the_lr() -> None:
    """Descent on a parabola of curvature 4 is stable below 2/4, with momentum 0.9 below 3.8/4."""
    parabola = Point([1.0], lambda w: 2 * w[0] ** 2)
    for rate, momentum in ((0.49, 0.0), (0.51, 0.0), (0.94, 0.9), (0.96, 0.9)):
        found = danlu.curvature(parabola, itself, NOTHING, lr=rate, momentum=momentum)
        weight = nn.Parameter(torch.tensor([1.0]))
        descent = torch.optim.SGD([weight], rate, momentum)
        for _ in range(2000):
            descent.zero_grad()
            (2 * weight**2).sum().backward()
            descent.step()
        stable = bool(weight.abs() < 1)
        assert stable == (found.sharpness < found.limit)
        assert ("above it" in str(found)) != stable
