"""Dominant layers as sentences, and the VC dimension, which is known exactly for a perceptron."""

from __future__ import annotations

import math

import torch

from danlu.inspection.dominance import dominant, family, vc_dimension
from danlu.inspection.layers import Layer, trace
from danlu.models.network_table import build_model


def test_parameters_of_lenet_are_dense_and_its_work_is_convolution() -> None:
    layers = trace(build_model("lenet", channels=1, size=28, classes=10), torch.zeros(1, 1, 28, 28)).layers
    dense = (400 * 120 + 120) + (120 * 84 + 84) + (84 * 10 + 10)
    work = 25 * 6 * 28 * 28 + 25 * 6 * 16 * 100
    parameters, operations, _ = dominant(layers)
    assert parameters.startswith(f"{100 * dense / 61_706:.0f} % of the parameters in dense layers, ")
    assert parameters.endswith(" in head.2 alone")
    assert operations.startswith(f"{100 * work / 416_520:.0f} % of the multiply-adds in convolutions")


def test_figure_without_values_is_omitted() -> None:
    assert dominant([Layer("fc", "Linear", parameters=3)]) == [
        "100 % of the parameters in dense layers, 100 % in fc alone"
    ]


def test_families() -> None:
    kinds = {"Conv2d": "convolutions", "SparseConvolution": "convolutions", "BatchRenorm": "normalisation",
        "Subsampling": "pooling", "ScaledTanh": "activations", "Block": "blocks' own operations"}  # fmt: skip
    assert {kind: family(Layer("x", kind)) for kind in kinds} == kinds
    assert family(Layer("x", "Anything", detail="attention")) == "attention"


def test_vc_dimension() -> None:
    """Three points of the plane are split in all ways by a line, four (XOR) are not: 2 + 1."""
    line = [Layer("fc", "Linear", parameters=3, multiply_adds=2)]
    assert vc_dimension(line, 2)[0] == 3
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    design = torch.cat([points, torch.ones(3, 1)], dim=1)
    assert torch.linalg.matrix_rank(design) == 3  # so that any labels of the three can be met
    deep = [Layer("a", "Linear", parameters=1000), Layer("b", "Linear", parameters=24)]
    assert vc_dimension(deep, 2)[0] == 1024 * math.log2(1024)
