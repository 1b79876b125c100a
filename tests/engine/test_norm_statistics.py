"""Statistics of batch norm with the present weights, for trainings with few batches per epoch."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from danlu.data.batches import Batches, Columns
from danlu.engine.norm_statistics import NormStatistics, has_updated_norms


def batches(samples: torch.Tensor, size: int) -> Batches:
    targets = torch.zeros(len(samples), dtype=torch.int64)
    return Batches(samples, targets, torch.arange(len(samples)), transform=Columns(), batch_size=size)


def test_the_statistics_are_those_of_the_training_set_with_the_present_weights():
    torch.manual_seed(0)
    samples = torch.randn(60, 5) * 3 + 1
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    norms = NormStatistics(model, batches(samples, 20))
    with torch.no_grad():
        model[0].weight.mul_(7)  # a training step
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items() if "running" not in name}
    norms.refresh(model)
    features = samples.numpy() @ model[0].weight.detach().numpy().T + model[0].bias.detach().numpy()
    parts = features.reshape(3, 20, 4)
    np.testing.assert_allclose(model[1].running_mean, features.mean(0), rtol=1e-4)
    np.testing.assert_allclose(model[1].running_var, parts.var(1, ddof=1).mean(0), rtol=1e-4)
    assert model[1].momentum == 0.1
    assert model.training
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_a_norm_that_the_passes_do_not_reach_keeps_its_statistics():
    """As in the head of pose-crop, which runs in training only with the objects of the images."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.BatchNorm1d(5), nn.BatchNorm1d(2)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.first(inputs)

    model = Model()
    model.head.running_mean.fill_(3.0)
    norms = NormStatistics(model, batches(torch.randn(40, 5) + 2, 20))
    norms.refresh(model)
    assert model.head.running_mean.tolist() == [3.0, 3.0]
    assert (model.first.running_mean - 2).abs().max() < 0.6


def test_frozen_norms_and_networks_without_any_need_none():
    assert has_updated_norms(nn.BatchNorm2d(3))
    assert not has_updated_norms(nn.BatchNorm2d(3).eval())
    assert not has_updated_norms(nn.GroupNorm(1, 3))
