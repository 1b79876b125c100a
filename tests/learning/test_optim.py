import copy

import pytest
import torch
from torch import nn

from danlu.config import OptimConfig
from danlu.learning.muon import orthogonalized
from danlu.learning.optim import OPTIMIZERS, build_optimizer
from danlu.refuse import Refusal


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 8), nn.Linear(8, 3)
    )


def step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    x = torch.randn(5, 1, 6, 6, generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    model(x).square().mean().backward()
    optimizer.step()


def config(name: str, **settings) -> OptimConfig:
    return OptimConfig(name=name, **({"lr": 0.05, "weight_decay": 0.01} | settings))


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_saved_state_goes_on_bit_for_bit(name, fused):
    model = network()
    optimizer = build_optimizer(model, config(name), fused)
    for seed in range(3):
        step(model, optimizer, seed)
    twin = network(seed=9)
    twin.load_state_dict(model.state_dict())
    other = build_optimizer(twin, config(name), fused)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    before = copy.deepcopy(model.state_dict())
    for seed in range(3, 6):
        step(model, optimizer, seed)
        step(twin, other, seed)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    assert not torch.equal(before["0.weight"], model.state_dict()["0.weight"])


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("sgd", lambda p: torch.optim.SGD(p, 0.05)),
        ("momentum", lambda p: torch.optim.SGD(p, 0.05, momentum=0.8)),
        ("nesterov", lambda p: torch.optim.SGD(p, 0.05, momentum=0.8, nesterov=True)),
        ("adagrad", lambda p: torch.optim.Adagrad(p, 0.05, eps=1e-6)),
        ("rmsprop", lambda p: torch.optim.RMSprop(p, 0.05, alpha=0.7, eps=1e-6)),
        ("adam", lambda p: torch.optim.Adam(p, 0.05, betas=(0.8, 0.95), eps=1e-6)),
        ("adamw", lambda p: torch.optim.AdamW(p, 0.05, betas=(0.8, 0.95), eps=1e-6, weight_decay=0)),
    ],
)
def test_settings_reach_torch(name, reference):
    settings = {"momentum": 0.8, "alpha": 0.7, "beta1": 0.8, "beta2": 0.95, "eps": 1e-6, "weight_decay": 0.0}
    ours, theirs = network().double(), network().double()
    a, b = build_optimizer(ours, config(name, **settings)), reference(theirs.parameters())
    for _ in range(3):
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        a.step()
        b.step()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_weight_decay_shrinks_weights_by_lr_times_lambda_and_leaves_the_rest(name):
    model = network().double()
    old = [p.detach().clone() for p in model.parameters()]
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    build_optimizer(model, config(name, lr=0.1, weight_decay=0.5, eps=1e-30)).step()
    for before, p in zip(old, model.parameters(), strict=True):
        shrink = 1 - 0.1 * 0.5 if p.ndim > 1 else 1.0
        torch.testing.assert_close(p.detach(), shrink * before - 0.1)  # adamw's first step is the gradient's sign


def test_decay_all_takes_biases_and_norms_too():
    groups = build_optimizer(network(), config("sgd", decay_all=True)).param_groups
    assert [(len(g["params"]), g["weight_decay"]) for g in groups] == [(8, 0.01)]
    groups = build_optimizer(network(), config("sgd")).param_groups
    assert [(len(g["params"]), g["weight_decay"]) for g in groups] == [(3, 0.01), (5, 0.0)]
    assert all(g["lr"] == 0.05 for g in groups)


def test_muon_takes_hidden_weights_as_matrices_and_leaves_head_and_biases_to_adamw():
    model = network()
    old = copy.deepcopy(model)
    optimizer = build_optimizer(model, config("muon", weight_decay=0.0))
    shapes = [[tuple(p.shape) for p in g["params"]] for g in optimizer.param_groups]
    assert shapes == [[(4, 1, 3, 3), (8, 64)], [(3, 8)], [(4,), (4,), (4,), (8,), (3,)]]
    step(model, optimizer, 0)
    for name in ("0.weight", "4.weight"):
        parameter = model.get_parameter(name)
        before = old.get_parameter(name).detach().flatten(1)
        u, values, v = torch.linalg.svd(parameter.grad.flatten(1).double(), full_matrices=False)
        values = values / values.norm()
        for _ in range(5):
            values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
        update = (u * values @ v).float() * 0.2 * max(before.shape) ** 0.5
        torch.testing.assert_close(parameter.detach().flatten(1), before - 0.05 * update, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 40), (40, 6), (12, 12)])
def test_orthogonalized_keeps_the_singular_vectors_and_brings_the_values_near_one(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    found = orthogonalized(matrix)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    values = u.T @ found @ v.T
    assert found.dtype == torch.float32
    assert ((values.diag() > 0.6) & (values.diag() < 1.3)).all()
    torch.testing.assert_close(values, values.diag().diag(), rtol=0, atol=1e-4)


def test_muon_moves_kernels_in_any_memory_format_alike():
    plain, last = network(), network().to(memory_format=torch.channels_last)
    for model in (plain, last):
        optimizer = build_optimizer(model, config("muon"))
        for p in model.parameters():
            p.grad = torch.ones_like(p).cumsum(0)
        optimizer.step()
    torch.testing.assert_close(plain[0].weight, last[0].weight)
    assert last[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_muon_of_one_layer_is_adamw():
    assert type(build_optimizer(nn.Linear(3, 2), config("muon"))) is torch.optim.AdamW


def test_muon_uses_the_lr_of_its_groups():
    model = network()
    optimizer = build_optimizer(model, config("muon", weight_decay=0.0))
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    old = copy.deepcopy(model)
    step(model, optimizer, 0)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), old.parameters(), strict=True))


@pytest.mark.parametrize(
    ("model", "settings", "says"),
    [
        (nn.Linear(2, 1), OptimConfig(name="adamm", lr=0.1), "did you mean 'adam"),
        (nn.Linear(2, 1), OptimConfig(name="sgd"), "optim.lr"),
        (nn.Flatten(), OptimConfig(name="sgd", lr=0.1), "parameters to train"),
    ],
)
def test_refusals(model, settings, says):
    with pytest.raises(Refusal, match=says):
        build_optimizer(model, settings)


def minimise(name: str, steps: int, gradient, **settings) -> list[float]:
    """Steps that an optimiser takes at one weight with the given gradients."""
    model = nn.Linear(1, 1, bias=False)
    optimizer = build_optimizer(model, OptimConfig(name=name, lr=0.1, **settings), fused=False)
    taken = []
    for n in range(steps):
        before = model.weight.item()
        model.weight.grad = torch.full((1, 1), float(gradient(n)))
        optimizer.step()
        taken.append(before - model.weight.item())
    return taken


def test_adagrad_divides_by_the_root_of_the_sum_or_of_the_mean():
    constant = [0.1, 0.1 / 2**0.5, 0.1 / 3**0.5]
    assert minimise("adagrad", 3, lambda n: 4) == pytest.approx(constant, rel=1e-5)
    assert minimise("adagrad", 3, lambda n: 4, form="notes") == pytest.approx([0.1, 0.1, 0.1], rel=1e-5)
    rising = [0.1, 0.1 * 2 / (5 / 2) ** 0.5, 0.1 * 3 / (14 / 3) ** 0.5]  # gradients 1, 2, 3
    assert minimise("adagrad", 3, lambda n: n + 1, form="notes") == pytest.approx(rising, rel=1e-5)


def test_the_first_step_of_rmsprop_is_lr_or_ten_times_lr():
    assert minimise("rmsprop", 1, lambda n: 4) == pytest.approx([1.0], rel=1e-5)
    first, second = minimise("rmsprop", 2, lambda n: [4, 1][n], form="notes")
    assert first == pytest.approx(0.1, rel=1e-5)
    assert second == pytest.approx(0.1 / (0.99 * 16 + 0.01) ** 0.5, rel=1e-5)


@pytest.mark.parametrize("name", ["adagrad", "rmsprop"])
def test_the_form_of_the_notes_continues_from_a_saved_state(name):
    settings = {"form": "notes", "weight_decay": 0.01}
    model = network()
    optimizer = build_optimizer(model, config(name, **settings))
    for seed in range(3):
        step(model, optimizer, seed)
    twin = copy.deepcopy(model)
    other = build_optimizer(twin, config(name, **settings))
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    step(model, optimizer, 5)
    step(twin, other, 5)
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_form_of_another_optimiser_is_refused():
    with pytest.raises(Refusal, match=r"optim\.form must be torch with adam.*adagrad or rmsprop"):
        build_optimizer(network(), config("adam", form="notes"))
