"""LeNet-5 against the paper's tables."""

from __future__ import annotations

import torch
from torch import nn

from danlu.models.network_table import build_model
from danlu.models.networks.lenet5 import C3_TABLE, RadialBasis, SparseConvolution, Subsampling, codes


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_parameters_of_every_layer():
    model = build_model("lenet5", channels=1, size=32, classes=10)
    layers = [count(m) for m in model.modules() if not list(m.children()) and count(m)]
    # C1, S2, C3, S4, C5, F6
    assert layers == [156, 12, 1516, 32, 48120, 10164]
    assert sum(layers) == 60_000


def test_multiply_adds_with_the_sparse_table():
    connections = sum(map(len, C3_TABLE))
    assert connections == 60
    c1, c3, c5, f6, rbf = 6 * 25 * 28**2, connections * 25 * 10**2, 120 * 16 * 25, 120 * 84, 84 * 10
    assert round((c1 + c3 + c5 + f6 + rbf) / 1e6, 2) == 0.33


def test_c3_sees_only_its_maps():
    layer = SparseConvolution(C3_TABLE, 5)
    x = torch.randn(1, 6, 5, 5, requires_grad=True)
    for map_, seen in enumerate(C3_TABLE):
        (grad,) = torch.autograd.grad(layer(x)[0, map_, 0, 0], x)
        assert tuple(grad.abs().sum((0, 2, 3)).nonzero().flatten().tolist()) == seen
        pairs = (layer.outputs == map_).nonzero().flatten()
        expected = (layer.weight[pairs] * x[0, list(seen)]).sum() + layer.bias[map_]
        torch.testing.assert_close(layer(x)[0, map_, 0, 0], expected)


def test_subsampling_is_a_scaled_sum():
    layer = Subsampling(1)
    nn.init.constant_(layer.weight, 0.5)
    nn.init.constant_(layer.bias, 1.0)
    assert layer(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).item() == 0.5 * 10 + 1


def test_output_is_largest_for_the_nearest_code():
    layer = RadialBasis(10)
    shown = layer(codes(10))
    assert torch.equal(shown.argmax(1), torch.arange(10))
    assert torch.equal(shown.diagonal(), torch.zeros(10))
    # Distances grow by 4 per differing sign.
    assert shown[0, 8].item() == -4 * (codes(10)[0] != codes(10)[8]).sum()


def test_codes_are_fixed_and_distinct():
    for classes in (2, 10, 26):
        assert torch.equal(codes(classes), codes(classes))
        assert len(codes(classes).unique(dim=0)) == classes
        assert codes(classes).abs().eq(1).all()


def test_28_pixel_images_are_padded():
    torch.manual_seed(0)
    small = build_model("lenet5", channels=1, size=28, classes=10)
    large = build_model("lenet5", channels=1, size=32, classes=10)
    x = torch.randn(2, 1, 28, 28)
    large.load_state_dict(dict(zip(large.state_dict(), small.state_dict().values(), strict=True)))
    torch.testing.assert_close(small(x), large(nn.functional.pad(x, (2, 2, 2, 2), mode="replicate")))
