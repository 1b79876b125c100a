"""Effective receptive fields against their closed form, and the drawing."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import danlu
from danlu.inspection.effective import MIN_FRACTION, draw_fields, effective_fields, last_of_each_stride
from danlu.inspection.layers import trace


def stack(depth: int) -> nn.Sequential:
    """3x3 convolutions with equal weights."""
    layers = [nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(depth)]
    for layer in layers:
        nn.init.constant_(layer.weight, 1 / 9)
    return nn.Sequential(*layers)


@pytest.mark.parametrize("depth", [1, 4, 10])
def test_equal_weights_give_the_repeated_convolution_of_a_box(depth):
    model = stack(depth)
    layers = trace(model, torch.zeros(1, 1, 41, 41)).layers
    (name,) = last_of_each_stride(layers)
    (field,) = effective_fields(model, (1, 41, 41), layers, [name])
    line = np.ones(1)
    for _ in range(depth):
        line = np.convolve(line, np.ones(3))
    expected = np.outer(line, line) / (line.max() ** 2)
    border = (41 - len(line)) // 2
    torch.testing.assert_close(field.gradient, torch.from_numpy(np.pad(expected, border)).float(), atol=1e-5, rtol=1e-4)
    assert field.theoretical == (2 * depth + 1, 2 * depth + 1)
    assert field.effective == pytest.approx(float((expected >= MIN_FRACTION).sum()) ** 0.5)


def test_the_border_of_a_deep_stacks_field_hardly_matters():
    model = stack(16)
    layers = trace(model, torch.zeros(1, 1, 65, 65)).layers
    (field,) = effective_fields(model, (1, 65, 65), layers, last_of_each_stride(layers))
    assert field.theoretical == (33, 33)
    assert field.effective < 20


def test_command_draws_one_map_per_stride(tmp_path):
    found = danlu.inspect("resnet20", effective=tmp_path / "fields.png")
    assert [one.theoretical for one in found.effective] == [[15, 15], [32, 32], [32, 32]]
    assert found.effective[0].effective < 15
    with Image.open(tmp_path / "fields.png") as drawn:
        assert drawn.width > 3 * 160


def test_wrong_input_is_refused(tmp_path):
    with pytest.raises(danlu.Refusal, match=r"^effective must be a \.png file"):
        danlu.inspect("resnet20", effective=tmp_path / "fields.txt")
    with pytest.raises(danlu.Refusal, match=r"^effective must be omitted for networks without convolutions"):
        danlu.inspect("mlp", effective=tmp_path / "fields.png")


def test_the_centre_is_drawn_dark(tmp_path):
    model = stack(2)
    layers = trace(model, torch.zeros(1, 1, 9, 9)).layers
    draw_fields(effective_fields(model, (1, 9, 9), layers, last_of_each_stride(layers)), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as drawn:
        assert np.asarray(drawn.convert("L")).min() < 60
