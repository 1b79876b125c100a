"""Choice of a number format by timing."""

from __future__ import annotations

import torch
from torch import nn

from danlu.engine.device import probe_format


def test_a_network_is_built_once_for_each_format() -> None:
    """A large network takes longer to build than the few steps that are timed."""
    built: list[nn.Module] = []

    def build() -> nn.Module:
        built.append(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)))
        return built[-1]

    before = torch.get_rng_state()
    found = probe_format(build, torch.zeros(8, 3, 8, 8), seconds=0.01, half=False)
    assert len(built) == 2
    assert found.precision == "fp32"
    assert torch.equal(torch.get_rng_state(), before)
    weights = [one[0].weight for one in built]
    assert [one.is_contiguous(memory_format=torch.channels_last) for one in weights] == [False, True]
    assert all(one.grad is None for one in weights)
