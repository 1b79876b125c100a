"""The feature pyramid against torchvision's, its extra levels, and its norms."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool, LastLevelP6P7

from danlu.detection.norms import freeze_norms, set_norm
from danlu.detection.pyramid import FeaturePyramid
from danlu.models.network_table import build_backbone
from danlu.refuse import Refusal

CHANNELS = [6, 8, 10]
EXTRAS = {"pool": LastLevelMaxPool(), "output": LastLevelP6P7(4, 4), "input": LastLevelP6P7(10, 4)}


@pytest.mark.parametrize("extend", EXTRAS)
def test_levels_are_torchvisions(extend: str):
    torch.manual_seed(0)
    theirs = FeaturePyramidNetwork(CHANNELS, 4, EXTRAS[extend])
    extra = 1 if extend == "pool" else 2
    ours = FeaturePyramid(CHANNELS, 4, extra=extra, extend=extend)
    layers = [[m for m in x.modules() if isinstance(m, nn.Conv2d)] for x in (ours, theirs)]
    assert len(layers[0]) == len(layers[1])
    for mine, other in zip(*layers):
        mine.load_state_dict(other.state_dict())
    maps = [torch.randn(2, c, *size) for c, size in zip(CHANNELS, [(20, 13), (10, 7), (5, 4)])]
    wanted = theirs(OrderedDict((str(k), x) for k, x in enumerate(maps)))
    found = ours(maps)
    assert len(found) == 3 + extra
    for mine, other in zip(found, wanted.values()):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_norms_follow_every_convolution(norm: str):
    pyramid = FeaturePyramid(CHANNELS, 4, extra=2, extend="output", norm=norm)
    kind = {"batch": nn.BatchNorm2d, "group": nn.GroupNorm}[norm]
    assert sum(isinstance(m, kind) for m in pyramid.modules()) == 8
    assert all(m.bias is None for m in pyramid.modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize("name", ["resnet18", "timm/resnet18", "timm/efficientnet_b0"])
def test_group_norms_take_the_place_of_batch_norms(name: str):
    backbone = build_backbone(name, channels=3, size=64).eval()
    count = sum(isinstance(m, nn.BatchNorm2d) for m in backbone.modules())
    activations = sum(isinstance(m, nn.SiLU | nn.ReLU) for m in backbone.modules())
    assert set_norm(backbone, "group") == "group"
    assert sum(isinstance(m, nn.GroupNorm) for m in backbone.modules()) == count
    assert not any(isinstance(m, nn.BatchNorm2d) for m in backbone.modules())
    assert sum(isinstance(m, nn.SiLU | nn.ReLU) for m in backbone.modules()) == activations
    assert all(x.isfinite().all() for x in backbone.features(torch.randn(1, 3, 64, 64)))


def test_frozen_norms_do_not_move():
    backbone = build_backbone("resnet18", channels=3, size=64).train()
    assert set_norm(backbone, "frozen") == "none"
    before = {k: v.clone() for k, v in backbone.state_dict().items() if "running" in k}
    backbone.train()
    freeze_norms(backbone)
    backbone.features(torch.randn(2, 3, 64, 64))
    assert all(torch.equal(backbone.state_dict()[k], v) for k, v in before.items())
    assert not backbone.stem[1].weight.requires_grad


def test_unknown_norm():
    with pytest.raises(Refusal, match=r"model\.norm"):
        set_norm(nn.Identity(), "batsch")
