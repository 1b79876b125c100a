"""Multiply-adds of single operations by their formulas."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from danlu.inspection.layers import trace
from danlu.models.network_table import build_model

CASES = [
    ("dense", nn.Linear(7, 5), (7,), 7 * 5),
    ("dense on tokens", nn.Linear(7, 5), (3, 7), 3 * 7 * 5),
    ("convolution", nn.Conv2d(3, 8, 5, stride=2, padding=2), (3, 9, 9), 3 * 8 * 25 * 5 * 5),
    ("groups", nn.Conv2d(8, 12, 3, groups=4, padding=1), (8, 6, 6), 8 // 4 * 12 * 9 * 36),
    ("depthwise", nn.Conv2d(8, 8, 3, groups=8, padding=1), (8, 6, 6), 8 * 9 * 36),
    ("transposed", nn.ConvTranspose2d(4, 6, 2, stride=2), (4, 5, 5), 4 * 6 * 4 * 25),
    ("one axis", nn.Conv1d(2, 3, 3), (2, 10), 2 * 3 * 3 * 8),
    ("pooling", nn.MaxPool2d(2), (3, 8, 8), 0),
    ("normalisation", nn.BatchNorm2d(3), (3, 8, 8), 0),
]


@pytest.mark.parametrize(("module", "shape", "cost"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_formula(module: nn.Module, shape: tuple[int, ...], cost: int) -> None:
    assert trace(module, torch.zeros(1, *shape)).total("multiply_adds") == cost


def test_the_sparse_table_of_lenet5_costs_its_connections_only() -> None:
    """C3: 60 of 96 pairs of maps are connected, 25 weights each, 10 x 10 positions; the whole network 0.326 M."""
    traced = trace(build_model("lenet5", channels=1, size=32, classes=10), torch.zeros(1, 1, 32, 32))
    sparse = next(layer for layer in traced.layers if layer.kind == "SparseConvolution")
    assert sparse.multiply_adds == 60 * 25 * 100
    c1, c5, f6 = 6 * 25 * 28 * 28, 120 * 16 * 25, 120 * 84
    assert traced.total("multiply_adds") == c1 + 60 * 25 * 100 + c5 + f6 == 325_680
