import copy

import pytest
import torch
from torch import nn

from danlu.learning.regularise import DropoutSchedule, WeightAverage, WeightConstraints


@pytest.mark.parametrize(
    ("when", "expected"), [("always", [1, 1, 1, 1]), ("early", [1, 1, 0, 0]), ("late", [0, 0, 1, 1])]
)
def test_dropout_is_active_in_its_phase_of_training(when, expected):
    model = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Dropout2d(0.2)))
    schedule = DropoutSchedule(model, when, until=0.3)
    for progress, on in zip([0.0, 0.29, 0.3, 1.0], expected, strict=True):
        schedule.set(progress)
        assert (model[0].p, model[1][0].p) == (0.5 * on, 0.2 * on)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).double()


def train(model: nn.Module, steps: int) -> None:
    for _ in range(steps):
        model(torch.randn(4, 3, dtype=torch.float64))
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.1)


def test_the_average_follows_its_formula_in_weights_and_buffers():
    model = network()
    average = WeightAverage(model, decay=0.6)
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    for n in range(1, 30):
        train(model, 1)
        average.update(model)
        decay = min(0.6, n / (n + 9))
        for name, value in model.state_dict().items():
            expected[name] = (
                decay * expected[name] + (1 - decay) * value if value.is_floating_point() else value.clone()
            )
    for name, value in average.model.state_dict().items():
        torch.testing.assert_close(value, expected[name])
    assert average.model[1].num_batches_tracked == 29


def test_the_average_leaves_the_network_alone():
    model = network()
    average = WeightAverage(model, decay=0.9)
    before = copy.deepcopy(model.state_dict())
    average.update(model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not average.model.training
    assert not any(p.requires_grad for p in average.model.parameters())


def test_the_average_goes_on_from_its_state():
    model = network()
    average = WeightAverage(model, decay=0.9)
    train(model, 3)
    average.update(model)
    twin = WeightAverage(network(), decay=0.9)
    twin.load_state_dict(copy.deepcopy(average.state_dict()))
    train(model, 3)
    average.update(model)
    twin.update(model)
    ours, theirs = average.model.state_dict(), twin.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def fitted(steps: int = 400, l1: float = 0.0, max_norm: float | None = None, weight_decay: float = 0.0) -> torch.Tensor:
    """Weights of a linear regression on orthonormal inputs, targets 3, 0.5 and -1 times the inputs."""
    x, truth = torch.eye(3, dtype=torch.float64), torch.tensor([3.0, 0.5, -1.0], dtype=torch.float64)
    model = nn.Linear(3, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        model.weight.fill_(0.3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=weight_decay)
    constraints = WeightConstraints(l1, max_norm, decay_all=False)
    for _ in range(steps):
        optimizer.zero_grad()
        (0.5 * (model(x)[:, 0] - truth).square().sum()).backward()
        optimizer.step()
        constraints.apply(optimizer)
    return model.weight.detach()[0]


def test_l1_shrinks_weights_to_exactly_zero():
    assert fitted(l1=0.6).tolist() == pytest.approx([2.4, 0.0, -0.4])  # lasso with orthonormal inputs
    assert fitted(l1=0.6)[1] == 0.0


def test_l1_with_weight_decay_is_the_elastic_net():
    expected = [(3 - 0.6) / 1.5, 0.0, -(1 - 0.6) / 1.5]
    assert fitted(l1=0.6, weight_decay=0.5).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("weight_decay", [0.1, 0.5, 2.0])
def test_a_weight_decay_is_the_multiplier_of_a_max_norm(weight_decay):
    soft = fitted(weight_decay=weight_decay)
    hard = fitted(max_norm=soft.norm().item())
    torch.testing.assert_close(hard, soft, atol=1e-6, rtol=1e-6)


def test_a_max_norm_that_is_not_reached_changes_nothing():
    assert torch.equal(fitted(max_norm=100.0), fitted())


def test_a_max_norm_holds_for_each_output_unit_and_not_for_biases():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Linear(4, 2))
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(5.0)
    WeightConstraints(0.0, 1.5, decay_all=False).apply(torch.optim.SGD(model.parameters(), lr=0.1))
    for layer in model:
        torch.testing.assert_close(layer.weight.flatten(1).norm(dim=1), torch.full((layer.weight.shape[0],), 1.5))
        assert (layer.bias == 5).all()
