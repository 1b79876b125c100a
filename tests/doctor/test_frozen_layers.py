"""Frozen layers: random initial weights against trained ones, and copies that an average updates."""

import pytest
import torch
from torch import nn

import danlu
from danlu.doctor.instruments.initial_weights import is_initial

LAYERS = {
    "linear": lambda: nn.Linear(64, 32),
    "convolution": lambda: nn.Conv2d(3, 16, 3),
    "embedding": lambda: nn.Embedding(40, 16),
}
STARTS = {
    "default": lambda weight: None,
    "he normal": nn.init.kaiming_normal_,
    "N(0, 0.02)": lambda weight: nn.init.normal_(weight, std=0.02),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("start", STARTS)
def test_random_initialisations_are_recognised(layer, start):
    torch.manual_seed(0)
    module = LAYERS[layer]()
    if start != "default" and layer != "embedding":
        STARTS[start](module.weight)
        nn.init.zeros_(module.bias)
    assert is_initial(module, module.weight)


def test_other_weights_are_not():
    torch.manual_seed(0)
    linear = nn.Linear(64, 32)
    assert not is_initial(linear, linear.weight * 1.2)
    assert not is_initial(linear, torch.eye(64)[:32])
    assert not is_initial(
        linear, torch.distributions.Laplace(0.0, 0.05).sample((32, 64))
    )  # heavy tails of trained ones
    assert not is_initial(linear, torch.randn(32, 64) * 0.125)  # normal, but the bias is not 0
    assert not is_initial(linear, linear.bias)


def classifier():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))


def data():
    x = torch.randn(300, 20, generator=torch.Generator().manual_seed(1))
    return x, (x[:, 0] * x[:, 1] + x[:, 2] > 0).long() + (x[:, 3] > 1).long()


def trained(model, epochs=6):
    x, y = data()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    with danlu.watch(model, optimizer, nn.CrossEntropyLoss(), quiet=True) as doctor:
        for _ in range(epochs):
            for start in range(0, 300, 30):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x[start : start + 30]), y[start : start + 30]).backward()
                optimizer.step()
    return [finding for finding in doctor.findings if finding.code == "model.unreached"]


def test_layers_frozen_with_random_weights_are_found():
    model = classifier()
    model[:4].requires_grad_(False)
    (found,) = trained(model)
    assert found.severity == "warning"
    assert found.evidence["parameters"] == ["0.weight", "2.weight"]
    assert found.title == "2 layers are frozen with random weights"


def test_frozen_trained_layers_are_not_reported():
    model = classifier()
    assert not trained(model, epochs=20)
    model[:4].requires_grad_(False)
    assert not trained(model)


def test_the_kernels_of_a_first_convolution_are_enough() -> None:
    """72 values: the smallest usual layer of images."""
    for seed in range(20):
        torch.manual_seed(seed)
        layer = nn.Conv2d(1, 8, 3)
        assert is_initial(layer, layer.weight)
        assert not is_initial(layer, layer.weight + 0.3)
