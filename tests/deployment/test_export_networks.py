"""Every network for single images can be written as ONNX, with any number of images, and the file gives its answers."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from danlu.config import Config
from danlu.deployment.graph import ImageGraph
from danlu.deployment.onnx_file import read_onnx, write_onnx
from danlu.inference.loaded_run import LoadedRun
from danlu.models.network_table import MODELS, build_model

MIN_SIZE = 32  # pixels
QUICK = ("lenet5", "small-cnn", "vit-mini")  # the others are slow
# Largest difference from the same network in float64, in multiples of torch's own in float32: rounding errors of random
# weights grow over some hundred layers, to 4e-4 in torch and 4e-4 in onnxruntime in inception-v4.
MAX_ROUNDING = 3


def as_trained(graph: ImageGraph, images: torch.Tensor) -> None:
    """Replace parameters that start at zero, and measure batch norm's statistics: constant answers prove nothing."""
    for parameter in graph.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    for module in graph.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
    with torch.no_grad():
        graph.train()(images)
    graph.eval()


def probabilities(graph: ImageGraph, images: torch.Tensor, dtype: torch.dtype) -> np.ndarray:
    """Answers of the network, computed in `dtype` from the pixels on."""
    normalise, network = graph.normalise[0], copy.deepcopy(graph.networks[0]).to(dtype)
    with torch.no_grad():
        return network(normalise.scale(images.permute(0, 3, 1, 2)).to(dtype)).softmax(1).double().numpy()


def cases() -> list:
    """Names of the networks of single images."""
    names = [name for name, spec in MODELS.items() if not spec.clips]
    return [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in names]


@pytest.mark.parametrize("name", cases())
def test_the_file_gives_the_answers_of_the_network(name: str, coloured_run: LoadedRun, tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = MODELS[name]
    size = spec.sizes[-1] if spec.sizes else max(MIN_SIZE, spec.min_size)
    model = build_model(name, classes=3, channels=3, size=size)
    graph = ImageGraph([(replace(coloured_run.signature, model=name, size=size), model)], Config())
    images = torch.randint(0, 256, (32, size, size, 3), dtype=torch.uint8)
    as_trained(graph, images)
    images = images[:5]
    write_onnx(graph, images[:2], tmp_path / "m.onnx", {}, graph.output_names, any_batch=True)
    answer = read_onnx(tmp_path / "m.onnx")
    expected = probabilities(graph, images, torch.float64)
    assert np.ptp(expected, 0).max() > 1e-3
    rounding = np.abs(probabilities(graph, images, torch.float32) - expected).max()
    assert rounding < 1e-3
    for count in (1, 5):
        found = answer(images[:count].numpy())[0]
        assert found == pytest.approx(expected[:count], abs=max(1e-4, MAX_ROUNDING * rounding))
