"""Memory of a training step: states against what torch's optimisers hold, activations against what autograd saves."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from danlu.config import OptimConfig
from danlu.inspection.memory import kept_for_backward, training_memory
from danlu.learning.optim import OPTIMIZERS, build_optimizer
from danlu.models.network_table import build_model


@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_state_is_what_the_optimiser_holds_after_a_step(rule: str) -> None:
    model = build_model("mlp", inputs=20, classes=4)
    estimated = training_memory(model, torch.zeros(1, 20), 8, OPTIMIZERS[rule].state_bytes).optimizer_state
    optimizer = build_optimizer(model, OptimConfig(name=rule, lr=1e-3))  # type: ignore[arg-type]
    model(torch.randn(8, 20)).sum().backward()
    optimizer.step()
    held = 0
    for parts in [optimizer, *getattr(optimizer, "optimizers", [])]:
        for state in parts.state.values():
            held += sum(v.numel() * v.element_size() for v in state.values() if isinstance(v, torch.Tensor) and v.ndim)
    assert estimated == pytest.approx(held, rel=0.02)


def test_frozen_parameters_need_no_gradients() -> None:
    model = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 10))
    whole = training_memory(model, torch.zeros(1, 10), 4, OPTIMIZERS["adamw"].state_bytes)
    model[0].requires_grad_(False)
    part = training_memory(model, torch.zeros(1, 10), 4, OPTIMIZERS["adamw"].state_bytes)
    assert part.parameters == whole.parameters == 4 * 220
    assert part.gradients == whole.gradients // 2
    assert part.optimizer_state == whole.optimizer_state // 2


@pytest.mark.parametrize("name", ["lenet", "resnet20", "vit-mini"])
def test_activations_are_what_autograd_saves(name: str) -> None:
    model, saved = build_model(name, channels=3, size=32, classes=10).train(), {}
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        out = model(torch.randn(4, 3, 32, 32))
    measured = sum(t.untyped_storage().nbytes() for place, t in saved.items() if place not in own)
    assert out.requires_grad
    assert kept_for_backward(model, torch.zeros(1, 3, 32, 32), 4) == pytest.approx(measured, rel=0.06)


def test_activations_grow_with_the_batch_and_parameters_do_not() -> None:
    model = build_model("lenet", channels=1, size=28, classes=10)
    small, large = (
        training_memory(model, torch.zeros(1, 1, 28, 28), n, OPTIMIZERS["sgd"].state_bytes) for n in (8, 80)
    )
    assert large.activations == 10 * small.activations
    assert large.parameters == small.parameters == 4 * 61_706
    assert large.total == large.parameters + large.gradients + large.optimizer_state + large.activations
