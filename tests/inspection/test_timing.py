"""Time per layer: sums to the total, and the layer with the most work takes the most time."""

from __future__ import annotations

import torch
from torch import nn

from danlu.inspection.timing import time_layers


def build(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(module.parameters(), lr=1e-9)


def test_the_layer_with_the_most_work_takes_the_most_time() -> None:
    model = nn.Sequential(nn.Linear(8, 512), nn.ReLU(), nn.Linear(512, 4096), nn.Linear(4096, 2))
    timed = time_layers(model, torch.randn(128, 8), build, repeats=7)
    assert timed.batch_size == 128
    assert {"0", "1", "2", "3"} <= set(timed.layers)
    for phase in ("forward", "backward"):
        own = {name: phases.get(phase, 0.0) for name, phases in timed.layers.items()}
        assert max(own, key=lambda name: own[name]) == "2"
    assert timed.layers["1"].get("step", 0.0) == 0.0  # a ReLU has nothing to update


def test_parts_are_of_the_size_of_the_whole() -> None:
    model = nn.Sequential(nn.Linear(256, 1024), nn.ReLU(), nn.Linear(1024, 256))
    timed = time_layers(model, torch.randn(256, 256), build, repeats=5)
    for phase in ("forward", "backward"):
        parts = sum(phases.get(phase, 0.0) for phases in timed.layers.values())
        assert 0.2 * getattr(timed, phase) < parts < 5 * getattr(timed, phase)
    assert min(timed.forward, timed.backward, timed.step) > 0


def test_mode_and_hooks_are_as_before() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).eval()
    time_layers(model, torch.randn(2, 4), build, repeats=1)
    assert not model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
