"""Inception v3 and v4 have danlu's stages and equal the networks of the libraries."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import nn

from danlu.models.backbone import Backbone
from danlu.models.network_table import build_backbone, build_model
from danlu.models.networks.inception import InceptionV3


@pytest.mark.parametrize(
    ("name", "channels"), [("inception-v3", (64, 192, 288, 768, 2048)), ("inception-v4", (64, 192, 384, 1024, 1536))]
)
def test_a_backbone_is_the_network_without_its_head(name: str, channels: tuple[int, ...]):
    model = build_model(name, channels=1, size=75, classes=3).eval()
    backbone = build_backbone(name, channels=1, size=75).eval()
    assert isinstance(model, Backbone)
    assert backbone.feature_channels == model.feature_channels == channels
    backbone.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("head.")})
    x = torch.randn(1, 1, 75, 75)
    with torch.no_grad():
        for ours, theirs in zip(backbone.features(x), model.features(x), strict=True):
            assert torch.equal(ours, theirs)


def test_stages_of_v4_end_where_those_of_timm_end():
    """But for stride 4, of which timm gives an earlier map."""
    theirs = timm.create_model("inception_v4", features_only=True, out_indices=(0, 2, 3, 4)).eval()
    ours = build_model("inception-v4", channels=3, size=75, classes=2).eval()
    source = [v for k, v in theirs.state_dict().items()]
    target = {k: v for k, v in ours.state_dict().items() if not k.startswith("head.")}
    ours.load_state_dict(dict(zip(target, source, strict=True)), strict=False)
    x = torch.randn(1, 3, 107, 107)
    with torch.no_grad():
        maps = ours.features(x)
        for own, other in zip((maps[0], *maps[2:]), theirs(x), strict=True):
            torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5)


def test_auxiliary_outputs_are_torchvisions():
    """Their weights by name, in training (where the auxiliary classifier speaks) with dropout off."""
    torch.manual_seed(0)
    theirs = torchvision.models.inception_v3(num_classes=4, aux_logits=True, init_weights=False, dropout=0.0)
    ours = InceptionV3(3, 299, 4, aux=True, dropout=0.0)
    source = theirs.state_dict()
    names = {
        k: k.partition(".")[2] if k.startswith(("stage", "head")) else f"AuxLogits.{k[4:]}" for k in ours.state_dict()
    }
    ours.load_state_dict({k: source[name] for k, name in names.items()})
    x = torch.randn(2, 3, 299, 299)
    with torch.no_grad():
        expected, outputs = theirs(x), ours(x)
        assert len(outputs) == 2
        for own, other in zip(outputs, expected):
            torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-4)
        assert ours.eval()(x).shape == (2, 4)


@pytest.mark.parametrize("name", ["inception-v3", "inception-v4"])
def test_dropout_setting_is_used(name: str):
    with torch.device("meta"):
        model = build_model(name, channels=3, size=75, classes=2, dropout=0.3)
    assert 0.3 in {m.p for m in model.modules() if isinstance(m, nn.Dropout)}
