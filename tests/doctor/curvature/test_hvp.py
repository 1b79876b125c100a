"""Hessian-vector products against torch.func's full Hessian; the model is unchanged."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from curvature_problems import NOTHING, Point, full_hessian, itself, small_net
from torch import nn
from torch.nn import functional as F

import danlu
from danlu.doctor.curvature.hvp import Hessian, kept_bytes
from danlu.doctor.curvature.objective import Objective
from danlu.refuse import Refusal


def close(a: torch.Tensor, b: torch.Tensor, within: float = 1e-9) -> bool:
    return torch.allclose(a, b, rtol=1e-6, atol=within)


def test_the_whole_matrix_is_torch_funcs() -> None:
    net, x, y = small_net()
    hessian = Hessian(Objective(net, F.cross_entropy, (x, y)))
    assert hessian.keeps_graphs
    assert close(hessian.matrix(), full_hessian(net, x, y))
    assert hessian.loss == pytest.approx(F.cross_entropy(net(x), y).item())


@pytest.mark.parametrize("cuts", [[30], [10, 20], [1, 7, 22]])
def test_batches_count_by_their_samples(cuts: list[int]) -> None:
    net, x, y = small_net()
    hessian = Hessian(Objective(net, F.cross_entropy, list(zip(x.split(cuts), y.split(cuts)))))
    vector = torch.randn(hessian.size, dtype=x.dtype)
    assert close(hessian.product(vector), full_hessian(net, x, y) @ vector)


def test_short_memory_makes_the_graphs_anew_in_pieces() -> None:
    net, x, y = small_net()
    hessian = Hessian(Objective(net, F.cross_entropy, (x, y)), memory=10_000)
    assert not hessian.keeps_graphs
    assert len(hessian._pieces) > 3
    assert close(hessian.matrix()[:5], full_hessian(net, x, y)[:5])
    assert kept_bytes(lambda: hessian._graph(hessian._pieces[0])) < 30_000


def test_frozen_parameters_take_no_part() -> None:
    net, x, y = small_net()
    net[0].requires_grad_(False)
    hessian = Hessian(Objective(net, F.cross_entropy, (x, y)))
    assert hessian.size == 12 * 8 + 8 + 8 * 3 + 3
    assert close(hessian.matrix(), full_hessian(net, x, y))


def test_tied_weights_are_counted_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(3, 3, bias=False).double(), nn.Linear(3, 3, bias=False).double()
            self.two.weight = self.one.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.two(torch.tanh(self.one(x)))

    torch.manual_seed(0)
    net, x, y = Tied(), torch.randn(20, 3, dtype=torch.float64), torch.randn(20, 3, dtype=torch.float64)
    hessian = Hessian(Objective(net, F.mse_loss, (x, y)))
    w = net.one.weight.detach()
    by_formula = torch.func.hessian(lambda v: F.mse_loss(torch.tanh(x @ v.view(3, 3).T) @ v.view(3, 3).T, y))
    assert close(hessian.matrix(), by_formula(w.flatten()))


def test_unused_and_linear_parameters_have_no_curvature() -> None:
    hessian = Hessian(Objective(Point([1.0, 2.0], lambda w: 3 * w[0] + 0 * w[1]), itself, NOTHING))
    assert hessian.gradient.tolist() == [3, 0]
    assert hessian.matrix().abs().max() == 0
    net = nn.ModuleDict({"used": nn.Linear(2, 1), "unused": nn.Linear(2, 1)})
    net.forward = lambda x: net["used"](x)  # noqa: PLW0108  # type: ignore[method-assign]
    x, y = torch.randn(5, 2), torch.randn(5, 1)
    matrix = Hessian(Objective(net, F.mse_loss, (x, y))).matrix()
    assert matrix[3:].abs().max() == 0
    assert matrix[:3, :3].abs().min() > 0


class BatchNormByHand(nn.Module):
    def __init__(self, norm: nn.BatchNorm1d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - x.mean(0)) / (x.var(0, unbiased=False) + self.eps).sqrt() * self.weight + self.bias


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_in_both_modes(training: bool) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 2)).double().train(training)
    x, y = 3 * torch.randn(20, 4, dtype=torch.float64) + 1, torch.randint(2, (20,))
    hessian = Hessian(Objective(net, F.cross_entropy, (x, y)), memory=1000)
    assert len(hessian._pieces) == 1 if training else len(hessian._pieces) > 1  # statistics are of the whole batch
    # In training mode torch.func's forward-over-reverse is wrong by several per cent (torch 2.15), as finite differences
    # of the gradient show: the formula is the twin.
    twin = nn.Sequential(net[0], BatchNormByHand(net[1]), net[2], net[3]) if training else net
    assert close(hessian.matrix(), full_hessian(twin, x, y))


def test_attention_is_differentiated_twice() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True), nn.Flatten(), nn.Linear(12, 2)
    )
    net = net.double()
    x, y = torch.randn(6, 3, 4).double(), torch.randint(2, (6,))
    vector = torch.randn(sum(p.numel() for p in net.parameters())).double()
    hessian, step = Hessian(Objective(net, F.cross_entropy, (x, y))), 1e-6
    gradients = [Hessian(shifted(net, x, y, sign * step * vector)).gradient for sign in (1, -1)]
    assert close(hessian.product(vector), (gradients[0] - gradients[1]) / (2 * step), within=1e-5)


def shifted(net: nn.Module, x: torch.Tensor, y: torch.Tensor, by: torch.Tensor) -> Objective:
    import copy

    net = copy.deepcopy(net)
    torch.nn.utils.vector_to_parameters(torch.nn.utils.parameters_to_vector(net.parameters()) + by, net.parameters())
    return Objective(net, F.cross_entropy, (x, y))


def test_data_files_are_not_modified() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Dropout(0.3), nn.Linear(20, 3))
    x, y = torch.randn(40, 6), torch.randint(3, (40,))
    F.cross_entropy(net(x), y).backward()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    places = [p.data_ptr() for p in net.parameters()]
    gradients = [p.grad.clone() for p in net.parameters()]
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    with torch.no_grad():  # the caller's mode does not matter
        found = danlu.curvature(net, F.cross_entropy, [(x[:30], y[:30]), (x[30:], y[30:])], landscape=True)
        again = danlu.curvature(net, F.cross_entropy, [(x[:30], y[:30]), (x[30:], y[30:])])
    assert found.sharpness == again.sharpness  # dropout draws the same every time
    assert found.landscape is not None
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert [p.data_ptr() for p in net.parameters()] == places
    assert all(torch.equal(p.grad, g) for p, g in zip(net.parameters(), gradients))
    assert net.training
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.random.get_state()[1].tolist() == states[2]  # noqa: NPY002


def test_weights_come_back_when_the_loss_breaks_down() -> None:
    net, x, y = small_net()
    before = [p.detach().clone() for p in net.parameters()]
    objective = Objective(net, lambda *_: 1 / 0, (x, y))
    with pytest.raises(ZeroDivisionError):
        objective.value(torch.zeros(objective.size))
    assert all(torch.equal(p, was) for p, was in zip(net.parameters(), before))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_refused(bad: float) -> None:
    net, x, y = small_net()
    x[3, 0, 2, 2] = bad
    with pytest.raises(Refusal, match="must be finite"):
        danlu.curvature(net, F.cross_entropy, (x, y))


def test_wrong_arguments_are_refused() -> None:
    net, x, y = small_net()
    cases = [
        ({"batches": []}, "at least one pair"),
        ({"batches": [x]}, "pair"),
        ({"loss_fn": lambda o, t: F.cross_entropy(o, t, reduction="none")}, "one number"),
        ({"loss_fn": lambda o, t: F.cross_entropy(o.detach(), t)}, "differentiable"),
        ({"top": 0}, "an integer >= 1"),
        ({"lr": -1.0}, "positive"),
        ({"landscape": "eigenvector"}, "did you mean 'eigenvectors'"),
        ({"landscape": "path"}, "at least two snapshots"),
        ({"model": nn.ReLU()}, "trainable"),
    ]
    for given, said in cases:
        call = {"model": net, "loss_fn": F.cross_entropy, "batches": [(x, y)]} | given
        with pytest.raises(Refusal, match=said):
            danlu.curvature(**call)


def test_inputs_as_tuple_and_dict() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return (self.weight**2 * a + b).sum(1)

    a, b, y = torch.randn(8, 3), torch.randn(8, 3), torch.randn(8)
    ways = [[((a, b), y)], [({"a": a, "b": b}, y)], [([a[:4], b[:4]], y[:4]), ([a[4:], b[4:]], y[4:])]]
    first, *others = [Hessian(Objective(Two(), F.mse_loss, way)).matrix() for way in ways]
    assert all(torch.allclose(first, other, atol=1e-5) for other in others)
