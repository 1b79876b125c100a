"""timm/NAME and torchvision/NAME build for any channels, classes and sizes, and use or refuse options."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn
from torch.nn.utils import parametrize

from danlu.models.library import MEAN, STD, fold_in_scale
from danlu.models.network_table import build_backbone, build_model
from danlu.refuse import Refusal


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("timm/resnet10t", 32),
        ("timm/vit_tiny_patch16_224", 32),
        ("torchvision/squeezenet1_1", 32),
        ("torchvision/resnet18", 32),
        ("torchvision/mobilenet_v3_small", 32),
    ],
)
def test_builds(name: str, size: int):
    model = build_model(name, channels=1, size=size, classes=5)
    assert model.training
    assert model(torch.randn(2, 1, size, size)).shape == (2, 5)


def test_dropout_reaches_timm():
    assert build_model("timm/resnet10t", channels=3, size=32, classes=5, dropout=0.3).drop_rate == 0.3


@pytest.mark.parametrize("name", ["timm/resnet10t", "torchvision/resnet18", "torchvision/mobilenet_v3_small"])
@pytest.mark.parametrize("norm", ["batch", "group", "weight", "none"])
def test_norm_setting_is_used(name: str, norm: str):
    def norms(model: nn.Module, kind: type[nn.Module]) -> int:
        return sum(isinstance(m, kind) for m in model.modules())

    plain = build_model(name, channels=3, size=32, classes=5)
    model = build_model(name, channels=3, size=32, classes=5, norm=norm)
    batch = norms(plain, nn.BatchNorm2d)
    assert norms(model, nn.BatchNorm2d) == (batch if norm == "batch" else 0)
    assert norms(model, nn.GroupNorm) == (batch if norm == "group" else 0)
    normed = [m for m in model.modules() if parametrize.is_parametrized(m)]
    layers = sum(isinstance(m, nn.Conv2d | nn.Linear) for m in plain.modules())
    assert len(normed) == (layers - 1 if norm == "weight" else 0)
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_a_shift_is_kept_where_no_norm_has_one():
    plain = build_model("torchvision/resnet18", channels=3, size=32, classes=5)
    bare = build_model("torchvision/resnet18", channels=3, size=32, classes=5, norm="none")
    scales = sum(m.num_features for m in plain.modules() if isinstance(m, nn.BatchNorm2d))
    count = [sum(p.numel() for p in model.parameters()) for model in (plain, bare)]
    assert count[1] == count[0] - scales


@pytest.mark.parametrize("norm", ["group", "weight"])
def test_norm_of_a_backbone(norm: str):
    backbone = build_backbone("timm/resnet10t", channels=3, size=32, norm=norm)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in backbone.modules())
    normed = [parametrize.is_parametrized(m) for m in backbone.modules() if isinstance(m, nn.Conv2d)]
    assert all(normed) == any(normed) == (norm == "weight")


def test_init_of_a_backbone():
    backbone = build_backbone("timm/resnet10t", channels=3, size=32, init="zero")
    assert not any(m.weight.any() for m in backbone.modules() if isinstance(m, nn.Conv2d))


def test_init_reaches_attention():
    model = build_model("torchvision/vit_b_32", channels=3, size=32, classes=5, init="normal:0.5")
    for layer in (m for m in model.modules() if isinstance(m, nn.MultiheadAttention)):
        assert layer.in_proj_weight.std().item() == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("timm/vit_tiny_patch16_224", {"norm": "batch"}, "which has no batch norm, got 'batch'"),
        ("torchvision/squeezenet1_1", {"norm": "group"}, "which has no batch norm, got 'group'"),
        ("torchvision/resnet18", {"norm": "grup"}, "'group'"),
        ("torchvision/resnet18", {"dropout": 0.5}, "model.dropout must be omitted"),
        ("timm/resnet10t", {"activation": "tanh"}, "model.activation must be omitted"),
        ("timm/resnet10t", {"pretrained": True, "init": "he"}, "model.init must be omitted with published weights"),
    ],
)
def test_unknown_network_options_are_refused(name: str, options: dict, sentence: str):
    with pytest.raises(Refusal) as caught:
        build_model(name, channels=3, size=32, classes=5, **options)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("option", [{"dropout": 0.5}, {"activation": "tanh"}, {"aux": True}, {"stem": "3x3"}])
def test_unknown_backbone_options_are_refused(option: dict):
    with pytest.raises(Refusal, match=f"model.{next(iter(option))} must be omitted for"):
        build_backbone("timm/resnet10t", channels=3, size=32, **option)


def test_the_scale_of_published_inception_weights_goes_into_them():
    """torchvision's `transform_input`, which it switches on with its weights, against the kernels that hold it."""
    torch.manual_seed(0)
    model = torchvision.models.inception_v3(aux_logits=False, init_weights=False, transform_input=True, num_classes=3)
    block = model.Conv2d_1a_3x3.eval()
    block.bn.running_mean.normal_()
    x = torch.randn(1, 3, 15, 15)
    with torch.no_grad():
        expected = block(model._transform_input(x))
        fold_in_scale(block.conv, block.bn)
        torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)
    weights = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.transforms()
    assert (weights.mean, weights.std) == (list(MEAN), list(STD))
