"""timm/NAME and torchvision/NAME build for free channels, classes and sizes."""

from __future__ import annotations

import pytest
import torch

from danlu.models.build import build_model


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
