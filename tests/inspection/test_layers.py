"""Traces of small modules against hand formulas and torch's own counter where it is right."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from danlu.inspection.layers import trace
from danlu.models.network_table import build_model


class Twice(nn.Module):
    """A layer that is used two times, and one that never is."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.idle = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.shared(self.shared(x)) + x


def test_parameters_count_once_and_work_every_time() -> None:
    traced = trace(Twice(), torch.zeros(1, 4))
    assert traced.total("parameters") == 4 * 4 + 4 + 4 * 3 + 3
    assert traced.total("multiply_adds") == 2 * 4 * 4
    assert [layer.name for layer in traced.layers if not layer.used] == ["idle"]
    assert traced.depth == 2


@pytest.mark.parametrize("name", ["resnet20", "nin-cifar", "vgg16-cifar", "lenet"])
def test_multiply_adds_equal_half_of_torchs_flops(name: str) -> None:
    with torch.device("meta"):
        model = build_model(name, channels=3, size=32, classes=10).eval()
        sample = torch.empty(1, 3, 32, 32)
        with FlopCounterMode(display=False) as counter:
            model(sample)
    assert trace(model, sample).total("multiply_adds") == counter.get_total_flops() // 2


def test_attention_is_counted_where_torchs_counter_misses_it() -> None:
    """T tokens of d numbers: 4 T d^2 for the maps, 2 T^2 d for attention itself. Eval mode's fused path hides it."""
    layer, (t, d) = nn.MultiheadAttention(32, 4, batch_first=True), (10, 32)

    class Self(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = layer

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(x, x, x, need_weights=False)[0]

    assert trace(Self(), torch.zeros(1, t, d)).total("multiply_adds") == 4 * t * d * d + 2 * t * t * d


def test_nothing_of_the_model_is_changed() -> None:
    model = build_model("resnet20", channels=3, size=32, classes=10).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trace(model, torch.zeros(1, 3, 32, 32))
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_memory_of_activations_counts_what_is_made() -> None:
    """8 x 6 x 6 floats of the convolution's output, without the in-place ReLU and the flattened view."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(288, 5))
    sizes = [layer.activation_bytes for layer in trace(model, torch.zeros(1, 3, 8, 8)).layers]
    assert sizes == [4 * 8 * 6 * 6, 0, 0, 4 * 5]


def test_data_dependent_network_is_run_on_real_tensors() -> None:
    class Reads(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if float(x.sum()) == 0 else x

    assert trace(Reads(3, 2), torch.zeros(1, 3)).layers[-1].output == (2,)
