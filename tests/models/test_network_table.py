"""One contract for every network of the table, and the refusals of `build_model`."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from torch import nn

from danlu.config import ModelConfig
from danlu.models.backbone import Backbone
from danlu.models.network_table import MODELS, build_backbone, build_model
from danlu.models.networks.vit import ViT
from danlu.models.sparse_convolution import SparseConvolution
from danlu.refuse import Refusal

# Tens of millions of parameters: seconds and gigabytes each.
HEAVY = {f"vgg{depth}{form}" for depth in (11, 13, 16, 19) for form in ("", "-bn")}
HEAVY |= {"resnet101", "resnet152", "inception-v4", "vit-base", "vit-large", "alexnet-2014"}
OF_CLIPS = {name for name, spec in MODELS.items() if spec.clips}  # tested in test_r2plus1d.py
ALL = [pytest.param(name, marks=pytest.mark.slow) if name in HEAVY else name for name in MODELS if name not in OF_CLIPS]


def smallest(name: str) -> int:
    """A size of image that the network takes and that costs little."""
    spec = MODELS[name]
    return spec.sizes[0] if spec.sizes else max(spec.min_size, spec.multiple)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", ALL)
def test_contract(name: str):
    """Builds for odd channels and classes at its smallest size; shapes, gradients, features and weights are right."""
    spec, size = MODELS[name], smallest(name)
    assert spec.description
    model = build_model(name, channels=2, size=size, classes=7)
    x = torch.randn(3, 2, size, size)
    outputs = model(x)
    assert outputs.shape == (3, 7)
    nn.functional.cross_entropy(outputs, torch.tensor([0, 3, 6])).backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without
    model.zero_grad()

    model.eval()
    if isinstance(model, Backbone):
        check_features(model, x)
    assert isinstance(model.head, nn.Module)
    twin = build_model(name, channels=2, size=size, classes=7)
    twin.load_state_dict(model.state_dict())
    twin.eval()
    with torch.no_grad():
        assert torch.equal(model(x), twin(x))


def check_features(model: Backbone, x: torch.Tensor) -> None:
    with torch.no_grad():
        maps = model.features(x)
        assert len(maps) == len(model.feature_channels) == len(model.feature_strides) == len(model.stage_names)
        assert list(model.feature_strides) == sorted(model.feature_strides)
        for i, (channels, stride) in enumerate(zip(model.feature_channels, model.feature_strides)):
            assert maps[i].shape[1] == channels
            if isinstance(model, ViT):  # its positions are made for one size
                assert maps[i].shape[2:] == (x.shape[2] // stride, x.shape[3] // stride)
                continue
            # One stride more of image is one cell more of map: this defines the stride, whatever the padding.
            wider = model.features(nn.functional.pad(x, (0, stride)))[i]
            assert wider.shape[3] == maps[i].shape[3] + 1
        if not isinstance(model, ViT):  # its head reads the class token, not the map
            torch.testing.assert_close(model(x), model.head(maps[-1]))


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
@pytest.mark.parametrize("name", [n for n, e in MODELS.items() if e.min_size > 1])
def test_one_pixel_less_is_refused(name: str):
    spec = MODELS[name]
    with pytest.raises(Refusal, match=f"at least {spec.min_size}"):
        build_model(name, channels=1, size=spec.min_size - 1, classes=3)
    # Meta tensors have shapes and no numbers: the smaller image fails inside the network itself.
    with pytest.raises((RuntimeError, ValueError)), torch.device("meta"):
        spec.build(1, spec.min_size - 1, 3).eval()(torch.zeros(1, 1, spec.min_size - 1, spec.min_size - 1))


@pytest.mark.parametrize("name", [n for n, e in MODELS.items() if e.tabular])
def test_rows_of_numbers(name: str):
    assert build_model(name, inputs=5, classes=2)(torch.randn(4, 5)).shape == (4, 2)


@pytest.mark.parametrize("norm", ["group", "none"])
@pytest.mark.parametrize("name", [n for n, e in MODELS.items() if "norm" in e.options and not e.clips])
def test_every_network_that_heeds_norm(name: str, norm: str):
    size = smallest(name)
    with torch.device("meta"):
        model = build_model(name, channels=1, size=size, classes=3, norm=norm)
        leaves = (m for m in model.modules() if not list(m.children()))
        kinds = {type(m) for m in leaves if "Norm" in type(m).__name__}
        assert kinds == ({nn.GroupNorm} if norm == "group" else set())
        x = torch.zeros(2, size * size) if MODELS[name].tabular else torch.zeros(2, 1, size, size)
        assert model(x).shape == (2, 3)


@pytest.mark.parametrize("norm", ["layer", "instance", "group", "batch-renorm", "weight", "spectral", "none"])
@pytest.mark.parametrize("name", ["lenet", "lenet-bn", "resnet20", "small-cnn", "vit-mini"])
def test_any_norm(name: str, norm: str):
    model = build_model(name, channels=1, size=16, classes=3, norm=norm)
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())
    model(torch.randn(4, 1, 16, 16)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(("name", "norms"), [("inception-v3", 94), ("inception-v4", 149)])
def test_norms_in_the_libraries_networks(name: str, norms: int):
    """As many as the papers' convolutions; a bias where no norm shifts; the activation after the norm stays."""

    def built(norm: str) -> nn.Module:
        with torch.device("meta"):
            return build_model(name, channels=3, size=107, classes=10, norm=norm)

    def count(norm: str) -> int:
        return sum(p.numel() for p in built(norm).parameters())

    def of(model: nn.Module, *kinds: type[nn.Module]) -> int:
        return sum(isinstance(m, kinds) for m in model.modules())

    plain, grouped, bare = (built(norm) for norm in ("batch", "group", "none"))
    channels = sum(m.num_features for m in plain.modules() if isinstance(m, nn.BatchNorm2d))
    assert of(plain, nn.BatchNorm2d) == of(grouped, nn.GroupNorm) == norms
    assert of(plain, nn.ReLU) == of(grouped, nn.ReLU) == of(bare, nn.ReLU)
    assert of(bare, nn.BatchNorm2d, nn.GroupNorm) == 0
    assert count("group") == count("batch")
    assert count("none") == count("batch") - channels
    backbone = build_backbone(name, channels=3, size=107, norm="group")
    assert of(backbone, nn.GroupNorm) == norms
    assert of(backbone, nn.BatchNorm2d) == 0


@pytest.mark.parametrize("norm", ["batch", "layer", "instance", "group", "batch-renorm"])
def test_lenet5_with_a_norm_of_later_years(norm: str):
    torch.manual_seed(0)
    plain, normed = (build_model("lenet5", channels=1, size=28, classes=10, norm=n) for n in ("none", norm))
    added = sum(p.numel() for p in normed.parameters()) - sum(p.numel() for p in plain.parameters())
    assert added == 2 * (6 + 16 + 120 + 84)
    outputs = normed(torch.randn(4, 1, 28, 28))
    outputs.sum().backward()
    assert all(p.grad is not None for p in normed.parameters())
    assert not torch.equal(outputs[0], outputs[1])


@pytest.mark.parametrize(
    ("norm", "dims"), [("batch", (0, 1)), ("batch-renorm", (0, 1)), ("instance", (1,)), ("layer", (2,)), ("none", ())]
)
def test_norm_of_tokens(norm: str, dims: tuple[int, ...]):
    """Mean 0 and variance 1 over these dimensions of (N, tokens, width), and over no others."""
    torch.manual_seed(0)
    layer = build_model("vit-mini", channels=1, size=8, classes=3, norm=norm).norm
    x = torch.randn(4, 5, 128) * (1 + torch.arange(128)) * (1 + torch.arange(5)).view(5, 1)
    x = (x + torch.arange(4.0).view(4, 1, 1)) * (1 + torch.arange(4.0)).view(4, 1, 1)
    y = layer(x)
    for other in [(0, 1), (1,), (2,)]:
        var, mean = torch.var_mean(y, other, correction=0)
        normal = bool((mean.abs() < 1e-4).all() and ((var - 1).abs() < 1e-2).all())
        assert normal == (other == dims or (dims == (1,) and other == (0, 1)))
    if norm == "none":
        assert torch.equal(y, x)


def test_the_default_norm_of_a_vit_is_layer_norm():
    plain, told = (build_model("vit-mini", channels=1, size=8, classes=3, norm=norm) for norm in (None, "layer"))
    assert [(n, p.shape) for n, p in plain.named_parameters()] == [(n, p.shape) for n, p in told.named_parameters()]
    norms = [m for m in plain.modules() if isinstance(m, nn.LayerNorm)]
    assert len(norms) == 2 * 6 + 1
    assert {(m.eps, m.normalized_shape) for m in norms} == {(1e-6, (128,))}


# Something other than the default for every option that some networks have and others have not.
OPTIONS = {
    **{"width": (8,), "activation": "tanh", "norm": "group", "dropout": 0.3, "pool": "average", "aux": True},
    **{"final_relu": True, "stem": "3x3", "stride_in": "1x1", "drop_path": 0.1, "patch": 2, "pretrained": True},
}


def test_options_are_all_of_the_configs():
    others = {"name", "init", "sparse", "sparse_both", "sparse_refine"}  # of every network
    assert set(OPTIONS) == {f.name for f in fields(ModelConfig)} - others


@pytest.mark.parametrize("name", [*MODELS, "timm/resnet10t", "torchvision/resnet18"])
def test_unknown_option_of_a_network_is_refused(name: str):
    spec = MODELS.get(name)
    size = smallest(name) if spec else 32
    frames = 2 if name in OF_CLIPS else None
    takes = (
        spec.options
        if spec
        else {"timm/resnet10t": ("pretrained", "dropout", "norm")}.get(name, ("pretrained", "norm"))
    )
    for option, value in OPTIONS.items():
        if option not in takes:
            with pytest.raises(Refusal, match=f"model.{option} must be omitted for {name}"):
                build_model(name, channels=3, size=size, classes=4, frames=frames, **{option: value})


@pytest.mark.parametrize("name", ALL)
def test_init_reaches_every_layer(name: str):
    model = build_model(name, channels=1, size=smallest(name), classes=3, init="zero")
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear | SparseConvolution)]
    assert layers
    assert not any(layer.weight.any() for layer in layers)
    assert not any(layer.bias.any() for layer in layers if layer.bias is not None)


def test_options_left_at_the_default_of_the_config_are_the_networks_own():
    torch.manual_seed(1)
    plain = build_model("mlp", inputs=4, classes=2)
    torch.manual_seed(1)
    told = build_model("mlp", inputs=4, classes=2, width=None, activation=None, norm=None, pretrained=False)
    x = torch.randn(3, 4)
    assert torch.equal(plain(x), told(x))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"name": "resnt20"}, "'resnet20'"),
        ({"name": "timm/resnt18"}, "'resnet18'"),
        ({"name": "torchvision/resnt18"}, "'resnet18'"),
        ({"name": "keras/resnet18"}, "known network"),
        ({"name": "linear", "norm": "batch"}, "model.norm must be omitted for linear"),
        ({"name": "lenet", "norm": "bach"}, "'batch'"),
        ({"name": "vit-mini", "norm": "bach"}, "'batch'"),
        ({"name": "vit-mini", "norm": "local-response"}, "a known normalisation"),
        ({"name": "lenet5", "norm": "bach"}, "'batch'"),
        ({"name": "lenet5", "norm": "weight"}, "whose C3 is no matrix"),
        ({"name": "lenet5", "init": "kaiming"}, "model.init"),
        ({"name": "lenet", "activation": "rellu"}, "'relu'"),
        ({"name": "lenet", "pool": "mean"}, "model.pool"),
        ({"name": "lenet", "init": "normal:0"}, "greater than 0"),
        ({"name": "lenet", "init": "kaiming"}, "model.init"),
        ({"name": "lenet", "width": (3,)}, "model.width must be omitted for lenet"),
        ({"name": "lenet", "classes": 0}, "classes must be an integer of at least 1"),
        ({"name": "lenet", "channels": 0}, "channels must be"),
        ({"name": "lenet", "size": None}, "size must be"),
        ({"name": "lenet", "inputs": 4}, "table rows"),
        ({"name": "mlp", "norm": "instance"}, "model.norm"),
        ({"name": "mlp", "width": (0,)}, "model.width"),
        ({"name": "lenet", "dropout": 2.0}, "model.dropout must be less than 1"),
        ({"name": "lenet5", "size": 30}, "data.size must be 28 or 32 for lenet5"),
        ({"name": "vit-tiny"} | {"size": 30}, "data.size must be a multiple of the patch's side 4"),
        ({"name": "alexnet"}, "at least 67 for alexnet"),
        ({"name": "resnet18", "stem": "7x7"}, "model.stem"),
        ({"name": "resnet50", "stride_in": "5x5"}, "model.stride_in"),
        ({"name": "resnet18", "stride_in": "1x1"}, "model.stride_in"),
        ({"name": "vgg11-cifar", "size": 32, "width": (8, 8)}, "model.width"),
        ({"name": "torchvision/vit_b_32", "size": 30}, "data.size"),
        ({"name": "timm/resnet10t", "size": 64, "width": (3,)}, "model.width"),
        ({"name": "inception-v3", "size": 75, "norm": "grup"}, "did you mean 'group'"),
    ],
)
def test_refusals(arguments: dict, sentence: str):
    with pytest.raises(Refusal) as caught:
        build_model(**({"channels": 1, "size": 28, "classes": 10} | arguments))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "size", "strides"),
    [
        ("resnet18", 64, (2, 4, 8, 16, 32)),
        ("resnet18-cifar", 32, (1, 2, 4, 8)),
        ("googlenet", 64, (2, 4, 8, 16, 32)),
        ("detnet59", 64, (2, 4, 8, 16, 16, 16)),
        ("vgg11-cifar", 32, (1, 2, 4, 8, 16)),
        ("timm/resnet10t", 64, (2, 4, 8, 16, 32)),
        ("inception-v3", 96, (2, 4, 8, 16, 32)),
    ],
)
def test_backbones_for_detection(name: str, size: int, strides: tuple[int, ...]):
    backbone = build_backbone(name, channels=1, size=size).eval()
    maps = backbone.features(torch.zeros(1, 1, size, size))
    assert backbone.feature_strides == strides
    assert tuple(m.shape[1] for m in maps) == backbone.feature_channels


@pytest.mark.parametrize("name", ["mlp", "torchvision/squeezenet1_1", "timm/resnt18"])
def test_no_backbone(name: str):
    with pytest.raises(Refusal, match="--model"):
        build_backbone(name, channels=1, size=64)


def test_published_weights_of_a_network_without_any_name_those_of_timm() -> None:
    with pytest.raises(Refusal, match="for published weights use model='timm/resnet18'"):
        build_model("resnet18", channels=3, size=64, classes=2, pretrained=True)
    with pytest.raises(Refusal) as refused:
        build_model("small-cnn", channels=3, size=64, classes=2, pretrained=True)
    assert "timm" not in str(refused.value)
