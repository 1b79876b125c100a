"""Activations, normalisations, initialisation, stochastic depth, and the worked examples of convolution."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from danlu.models.network_table import build_model
from danlu.models.parts import ACTIVATIONS, activation_layer, conv, he_normal, norm_layer, response_norm
from danlu.models.sparse_convolution import SparseConvolution
from danlu.models.stochastic_depth import StochasticDepth, rates


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sigmoid", 1 / (1 + math.exp(-0.5))),
        ("tanh", math.tanh(0.5)),
        ("relu", 0.5),
        ("leaky", 0.5),
        ("gelu", 0.5 * 0.5 * (1 + math.erf(0.5 / math.sqrt(2)))),
        ("silu", 0.5 / (1 + math.exp(-0.5))),
        ("scaled-sigmoid", 4 / (1 + math.exp(-0.5)) - 2),
        ("scaled-tanh", 1.7159 * math.tanh(1 / 3)),
        ("none", 0.5),
    ],
)
def test_activations_by_formula(name: str, expected: float):
    assert activation_layer(name)(torch.tensor([0.5])).item() == pytest.approx(expected, rel=1e-6)


def test_every_activation_is_tested():
    tested = test_activations_by_formula.pytestmark[0].args[1]
    assert {name for name, _ in tested} == set(ACTIVATIONS)


def test_slopes_at_zero():
    """sigmoid is 1/2 + x/4 near 0, 4 sigmoid - 2 is x: the one keeps a quarter of a gradient, the other all."""
    for name, slope in (("sigmoid", 0.25), ("scaled-sigmoid", 1.0), ("tanh", 1.0)):
        x = torch.zeros(1, requires_grad=True)
        activation_layer(name)(x).backward()
        assert x.grad.item() == pytest.approx(slope)


def test_norms_are_torchs():
    torch.manual_seed(0)
    x = torch.randn(4, 6, 5, 5)
    for name, reference in [
        ("batch", F.batch_norm(x, None, None, training=True)),
        ("layer", F.layer_norm(x, x.shape[1:])),
        ("instance", F.instance_norm(x)),
        ("group", F.group_norm(x, 2)),  # 2 is the greatest common divisor of 32 and 6
        ("none", x),
    ]:
        torch.testing.assert_close(norm_layer(name, 6)(x), reference)
    rows = torch.randn(4, 6)
    torch.testing.assert_close(norm_layer("layer", 6, flat=True)(rows), F.layer_norm(rows, (6,)))


def test_weight_and_spectral_norm_hold_in_the_network():
    model = build_model("lenet", channels=1, size=28, classes=10, norm="spectral")
    model.train()
    for _ in range(30):
        model(torch.randn(2, 1, 28, 28))
    for layer in [m for m in model.modules() if isinstance(m, nn.Linear)][:-1]:
        assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1, abs=0.05)
    model = build_model("lenet", channels=1, size=28, classes=10, norm="weight")
    names = [name for name, _ in model.named_parameters()]
    assert sum("original0" in name for name in names) == 4  # all layers but the last


def test_response_norm_is_the_papers():
    torch.manual_seed(0)
    x = torch.randn(1, 8, 2, 2)
    squares = F.pad(x.square(), (0, 0, 0, 0, 2, 2))
    sums = torch.stack([squares[:, i : i + 5].sum(1) for i in range(8)], dim=1)
    torch.testing.assert_close(response_norm()(x), x / (2 + 1e-4 * sums) ** 0.75)


def test_initialisations():
    def weights(init: str) -> torch.Tensor:
        torch.manual_seed(0)
        return build_model("mlp", inputs=1000, classes=3, width=(500,), init=init).hidden[0].weight

    assert weights("xavier").abs().max().item() == pytest.approx(math.sqrt(6 / 1500), rel=1e-3)
    assert weights("he").std().item() == pytest.approx(math.sqrt(2 / 1000), rel=0.01)
    assert weights("normal:0.01").std().item() == pytest.approx(0.01, rel=0.01)
    assert not weights("zero").any()
    assert torch.equal(weights("default"), weights(None))  # type: ignore[arg-type]


def test_initialisations_reach_the_sparse_c3():
    """By the fan in of each map, 3, 4 or 6 maps of 25 pixels, and a fan out of the 10 maps that see each input."""

    def c3(init: str) -> SparseConvolution:
        torch.manual_seed(0)
        model = build_model("lenet5", channels=1, size=32, classes=10, init=init)
        return next(m for m in model.modules() if isinstance(m, SparseConvolution))

    for maps, seen in ((slice(0, 6), 3), (slice(6, 15), 4), (slice(15, 16), 6)):
        layer = c3("xavier")
        of = torch.isin(layer.outputs, torch.arange(16)[maps])
        bound = math.sqrt(6 / (25 * seen + 25 * 10))
        assert 0.9 * bound < layer.weight[of].abs().max() <= bound
        assert c3("he").weight[of].std().item() == pytest.approx(math.sqrt(2 / (25 * seen)), rel=0.15)
        assert c3("default").weight[of].abs().max() <= 2.4 / (25 * seen)
    assert c3("normal:0.01").weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert not c3("zero").weight.any()
    assert not c3("he").bias.any()


def test_he_keeps_the_size_of_signal_and_gradient():
    """Through thirty layers of ReLU neither blows up nor vanishes (widths are equal, so both are kept)."""
    torch.manual_seed(0)
    net = nn.Sequential(*(conv(64, 64, 1) for _ in range(30)), nn.Conv2d(64, 64, 1))
    he_normal(net)
    x = torch.randn(64, 64, 4, 4, requires_grad=True)
    y = net[:-1](x)
    (grad,) = torch.autograd.grad((y * torch.randn_like(y)).sum(), x)
    assert 0.2 < y.square().mean().item() < 5
    assert 0.2 < grad.square().mean().item() < 5


def test_stochastic_depth():
    torch.manual_seed(0)
    layer = StochasticDepth(0.25)
    x = torch.ones(4000, 2, 1, 1)
    y = layer(x)
    assert y.unique().tolist() == pytest.approx([0, 4 / 3])
    assert torch.equal(y[:, 0], y[:, 1])  # a sample is dropped whole
    assert y.mean().item() == pytest.approx(1, abs=0.03)
    assert layer.eval()(x) is x
    assert rates(0.2, 4) == pytest.approx([0.05, 0.1, 0.15, 0.2])
    model = build_model("resnet18", channels=1, size=16, classes=2, drop_path=0.4)
    assert [m.p for m in model.modules() if isinstance(m, StochasticDepth)] == pytest.approx(rates(0.4, 8))


NINE = torch.arange(9.0).view(1, 1, 3, 3)
KERNEL = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])


@pytest.mark.parametrize(
    ("stride", "padding", "expected"),
    [
        (1, 0, [[19, 25], [37, 43]]),
        (1, 1, [[0, 3, 8, 4], [9, 19, 25, 10], [21, 37, 43, 16], [6, 7, 8, 0]]),
        ((3, 2), 1, [[0, 8], [6, 8]]),
    ],
)
def test_convolution_by_hand(stride, padding, expected):
    """Cross-correlation: the kernel is not flipped."""
    layer = conv(1, 1, 2, stride=stride, padding=padding, bias=False, activation="none")
    layer[0].weight = nn.Parameter(KERNEL)
    assert layer(NINE)[0, 0].tolist() == expected


def test_max_pooling_by_hand():
    assert F.max_pool2d(NINE, 2, 1)[0, 0].tolist() == [[4, 5], [7, 8]]


def test_sizes_shrink_by_the_formula():
    """floor((n - k + p + s) / s); 5x5 kernels eat 4 pixels: 32 -> 28 after one, 4 after seven; 224 -> 4 after 55."""
    x = torch.zeros(1, 1, 32, 32)
    layer = conv(1, 1, 5, padding=0)
    sizes = []
    for _ in range(7):
        x = layer(x)
        sizes.append(x.shape[-1])
    assert (sizes[0], sizes[-1]) == (28, 4)
    assert (224 - 4) / 4 == 55
    for n, k, p, s in [(32, 3, 1, 2), (27, 5, 2, 1), (30, 4, 0, 3)]:
        made = conv(1, 1, k, stride=s, padding=p)(torch.zeros(1, 1, n, n))
        assert made.shape[-1] == (n - k + 2 * p + s) // s


def test_a_1x1_convolution_is_a_dense_layer_per_pixel():
    torch.manual_seed(0)
    layer = conv(3, 5, 1, activation="none")
    x = torch.randn(2, 3, 4, 4)
    dense = F.linear(x.permute(0, 2, 3, 1), layer[0].weight[:, :, 0, 0], layer[0].bias)
    torch.testing.assert_close(layer(x), dense.permute(0, 3, 1, 2))
    assert layer[0].bias.shape == (5,)  # one per output channel


def test_pooling_forgives_a_shift_of_one_pixel():
    """An edge under the kernel (1, -1), moved by one pixel inside a pooling window, leaves the pooled map unchanged."""
    edge = torch.zeros(1, 1, 4, 8)
    edge[..., :3] = 1
    moved = torch.zeros(1, 1, 4, 8)
    moved[..., :4] = 1
    kernel = torch.tensor([[[[1.0, -1.0]]]])
    maps = [F.conv2d(F.pad(image, (0, 1, 0, 0), mode="replicate"), kernel) for image in (edge, moved)]
    assert not torch.equal(*maps)
    assert torch.equal(*(F.max_pool2d(m, 2) for m in maps))


def test_first_dense_layer_after_the_convolutions():
    """LeNet 48 k, AlexNet 26 M, VGG 102 M: what global averaging saves (weights alone)."""

    def first(name: str, channels: int, size: int) -> int:
        with torch.device("meta"):
            model = build_model(name, channels=channels, size=size, classes=10)
        return next(m for m in model.modules() if isinstance(m, nn.Linear)).weight.numel()

    assert first("lenet", 1, 28) == 48_000
    assert first("alexnet-plain", 3, 224) == 26_214_400
    assert first("vgg16", 3, 224) == 102_760_448


def test_vgg_shapes():
    with torch.device("meta"):
        model = build_model("vgg16", channels=3, size=224, classes=10)
        maps = [*model.features(torch.empty(1, 3, 224, 224))]
        shapes = [tuple(m.shape[1:]) for m in [*maps, model.head[0](maps[-1])]]
    assert shapes[0] == (64, 224, 224)
    # After each pooling: the map that the next stage begins with.
    assert [F.max_pool2d(m, 2).shape[1:] for m in maps] == [
        (64, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14), (512, 7, 7)
    ]  # fmt: skip


def test_first_inception_module_is_cheap():
    """192x28x28 in, 256 out: 0.16 M weights, 128 M multiply-adds; 3x3: 0.44 M, 347 M; 5x5: 1.23 M, 963 M."""
    with torch.device("meta"):
        module = build_model("googlenet", channels=3, size=224, classes=10).stage3.get_submodule("3a")
    weights = sum(m.weight.numel() for m in module.modules() if isinstance(m, nn.Conv2d))
    pixels = 28 * 28
    assert (round(weights / 1e6, 2), round(weights * pixels / 1e6)) == (0.16, 128)
    assert (192 * 256 * 9, 192 * 256 * 9 * pixels) == (442_368, 346_816_512)
    assert (192 * 256 * 25, 192 * 256 * 25 * pixels) == (1_228_800, 963_379_200)


def test_auxiliary_heads_are_used_in_training_only():
    torch.manual_seed(0)
    model = build_model("googlenet", channels=1, size=64, classes=5, aux=True)
    outputs = model(torch.randn(2, 1, 64, 64))
    assert [tuple(o.shape) for o in outputs] == [(2, 5)] * 3
    sum(o.sum() for o in outputs).backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model.eval()(torch.randn(2, 1, 64, 64)).shape == (2, 5)
    assert "aux" not in "".join(build_model("googlenet", channels=1, size=64, classes=5).state_dict())
