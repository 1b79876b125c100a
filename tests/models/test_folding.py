"""Folded frozen batch norms: the same outputs and gradients, also after the weights changed."""

import copy

import pytest
import torch

from danlu.models.backbone import Backbone
from danlu.models.folding import fold_frozen_norms
from danlu.models.network_table import build_backbone
from danlu.models.parts import stay_in_eval


def frozen_backbone(name: str, frozen: list[str]) -> Backbone:
    torch.manual_seed(0)
    model = build_backbone(name, channels=3, size=64)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 2)
            torch.nn.init.uniform_(module.bias, -1, 1)
    for part in frozen:
        for module in model.get_submodule(part).requires_grad_(False).modules():
            stay_in_eval(module)
    return model.double().train()


def maps_and_gradient(model: Backbone, x: torch.Tensor) -> list[torch.Tensor]:
    maps = model.features(x)
    trained = next(p for p in model.parameters() if p.requires_grad)
    return [*maps, *torch.autograd.grad(torch.stack([one.square().mean() for one in maps]).sum(), trained)]


@pytest.mark.parametrize(
    ("name", "frozen"),
    [
        ("timm/tf_efficientnet_lite0", ["network.conv_stem", "network.bn1", "network.blocks.0", "network.blocks.1"]),
        ("resnet18", ["stem", "stage1"]),
    ],
)
def test_outputs_and_gradients_stay(name, frozen):
    x = torch.randn(2, 3, 64, 64, dtype=torch.double)
    model = frozen_backbone(name, frozen)
    expected = maps_and_gradient(copy.deepcopy(model), x)
    names = list(model.state_dict())
    assert fold_frozen_norms(model) >= 5
    assert list(model.state_dict()) == names
    for one in (model, copy.deepcopy(model)):
        for got, wanted in zip(maps_and_gradient(one, x), expected, strict=True):
            torch.testing.assert_close(got, wanted)


def test_new_weights_are_used():
    x = torch.randn(2, 3, 64, 64, dtype=torch.double)
    model = frozen_backbone("resnet18", ["stem"])
    other = {name: value * 1.5 if value.is_floating_point() else value for name, value in model.state_dict().items()}
    plain = copy.deepcopy(model)
    fold_frozen_norms(model)
    before = model.features(x)[0]
    plain.load_state_dict(other)
    model.load_state_dict(other)
    torch.testing.assert_close(model.features(x)[0], plain.features(x)[0])
    assert not torch.allclose(model.features(x)[0], before)


def test_trained_layers_stay():
    assert fold_frozen_norms(frozen_backbone("resnet18", [])) == 0
