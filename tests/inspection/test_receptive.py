"""Receptive fields against autograd: which pixels have a gradient at one position of the output."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from danlu.inspection.layers import trace


class Add(nn.Module):
    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return sum(branch(x) for branch in self.branches)  # type: ignore[return-value]


def conv(kernel: int, stride: int = 1, dilation: int = 1, padding: int = 0) -> nn.Module:
    return nn.Conv2d(1, 1, kernel, stride, padding, dilation)


NETWORKS = {
    "one": conv(3),
    "two": nn.Sequential(conv(3), conv(3)),
    "strided": nn.Sequential(conv(5, stride=2), conv(3, stride=2), conv(3)),
    "dilated": nn.Sequential(conv(3, dilation=2), conv(3, dilation=4)),
    "padded": nn.Sequential(conv(3, padding=1), conv(3, stride=2, padding=1), conv(3, padding=1)),
    "pooled": nn.Sequential(conv(3), nn.AvgPool2d(2), conv(3), nn.AvgPool2d(3, 2)),
    "residual": nn.Sequential(Add(nn.Identity(), nn.Sequential(conv(3, padding=1), conv(3, padding=1))), conv(3)),
    "branches": Add(conv(5, padding=2), conv(3, padding=1)),
    "even": nn.Sequential(conv(2), conv(4, stride=2)),
}


def seen_by_gradient(model: nn.Module, side: int) -> int:
    """Pixels between the first and the last whose gradient at the middle of the output is not zero."""
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.1)
    x = torch.ones(1, 1, side, side, requires_grad=True)
    out = model(x)
    middle = out.shape[-1] // 2
    out[0, 0, middle, middle].backward()
    places = x.grad[0, 0].abs().sum(0).nonzero().flatten()  # type: ignore[index]
    return int(places[-1] - places[0]) + 1


@pytest.mark.parametrize("name", NETWORKS)
def test_receptive_field_is_where_the_gradient_comes_from(name: str) -> None:
    last = trace(NETWORKS[name], torch.zeros(1, 1, 61, 61)).layers[-1]
    assert last.receptive_field == (seen_by_gradient(NETWORKS[name], 61),) * 2


@pytest.mark.parametrize(("name", "jump"), [("one", 1), ("strided", 4), ("padded", 2), ("pooled", 4), ("even", 2)])
def test_jump_is_the_product_of_the_strides(name: str, jump: int) -> None:
    assert trace(NETWORKS[name], torch.zeros(1, 1, 61, 61)).layers[-1].jump == (jump, jump)


def test_a_dense_layer_on_a_map_sees_the_whole_image() -> None:
    last = trace(nn.Sequential(conv(3, padding=1), nn.Flatten(), nn.Linear(64, 2)), torch.zeros(1, 1, 8, 8)).layers[-1]
    assert last.receptive_field == (8, 8)
    assert last.jump is None


def test_global_pooling_sees_the_whole_image() -> None:
    model = nn.Sequential(conv(3), nn.AdaptiveAvgPool2d(1))
    assert trace(model, torch.zeros(1, 1, 12, 12)).layers[-1].receptive_field == (12, 12)


def test_the_two_axes_are_followed_apart() -> None:
    """Inception v3's 1x7 and 7x1."""
    wide = nn.Conv2d(1, 1, (1, 7))
    assert trace(wide, torch.zeros(1, 1, 20, 20)).layers[-1].receptive_field == (1, 7)
    both = nn.Sequential(wide, nn.Conv2d(1, 1, (7, 1)))
    assert trace(both, torch.zeros(1, 1, 20, 20)).layers[-1].receptive_field == (7, 7)


def test_table_rows_have_no_receptive_field() -> None:
    assert trace(nn.Linear(4, 2), torch.zeros(1, 4)).layers[-1].receptive_field is None
