"""With the weights of a library's network danlu's network gives equal outputs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
from torch import nn

from danlu.models.network_table import build_model

tv = torchvision.models


def heavy(*case: object) -> object:
    return pytest.param(*case, marks=pytest.mark.slow)


# ours, options, size, the library's
PAIRS: list = [
    ("resnet18", {}, 64, lambda: tv.resnet18(num_classes=7)),
    ("resnet34", {}, 64, lambda: tv.resnet34(num_classes=7)),
    ("resnet50", {}, 64, lambda: tv.resnet50(num_classes=7)),
    heavy("resnet101", {}, 64, lambda: tv.resnet101(num_classes=7)),
    heavy("resnet152", {}, 64, lambda: tv.resnet152(num_classes=7)),
    heavy("alexnet-2014", {}, 224, lambda: tv.alexnet(num_classes=7)),
    heavy("vgg11", {}, 32, lambda: tv.vgg11(num_classes=7)),
    heavy("vgg13", {}, 32, lambda: tv.vgg13(num_classes=7)),
    heavy("vgg16", {}, 32, lambda: tv.vgg16(num_classes=7)),
    heavy("vgg19", {}, 32, lambda: tv.vgg19(num_classes=7)),
    heavy("vgg16-bn", {}, 32, lambda: tv.vgg16_bn(num_classes=7)),
    ("inception-v3", {}, 75, lambda: tv.inception_v3(num_classes=7, aux_logits=False, init_weights=False)),
    ("inception-v4", {}, 75, lambda: timm.create_model("inception_v4", num_classes=7)),
    ("vit-tiny", {"patch": 16}, 32, lambda: timm.create_model("vit_tiny_patch16_224", num_classes=7, img_size=32)),
    heavy("vit-base", {"patch": 16}, 32, lambda: tv.vit_b_16(num_classes=7, image_size=32)),
]


@pytest.mark.parametrize(("name", "options", "size", "library"), PAIRS)
def test_outputs_agree(name: str, options: dict, size: int, library: Callable[[], nn.Module]):
    torch.manual_seed(0)
    theirs = library().eval()
    disturb(theirs)
    ours = build_model(name, channels=3, size=size, classes=7, **options).eval()
    move(theirs, ours)
    x = torch.randn(2, 3, size, size)
    with torch.no_grad():
        expected = theirs(x)
        assert expected.std() > 1e-3, "the test would see nothing"
        torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-4)


def disturb(model: nn.Module) -> None:
    """Make statistics, scales and zero-initialised weights matter."""
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.uniform_(-0.1, 0.1)
        norm.running_var.uniform_(0.8, 1.2)
        nn.init.uniform_(norm.weight, 0.8, 1.2)
        nn.init.uniform_(norm.bias, -0.1, 0.1)
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)


def move(theirs: nn.Module, ours: nn.Module) -> None:
    """Copy in order. The first two tensors of a transformer, class token and positions, are shaped alike in all."""
    source, target = theirs.state_dict(), ours.state_dict()
    if "encoder.pos_embedding" in source:  # torchvision: patches before positions
        order = ["class_token", "encoder.pos_embedding", "conv_proj.weight", "conv_proj.bias"]
        source = {k: source[k] for k in [*order, *(k for k in source if k not in order)]}
    if "head.weight" in target:  # ours is built before the blocks
        target = {k: target[k] for k in sorted(target, key=lambda k: k.startswith("head."))}
    ours.load_state_dict(dict(zip(target, source.values(), strict=True)))
