"""Tables F5 to F7 of the claims: parameters and multiply-adds of layers, by hand formulas and the notes' figures."""

from __future__ import annotations

import pytest
import torch

from danlu.analysis.inspect import compare_networks
from danlu.inspection.comparison import branched, compare, family_fractions
from danlu.inspection.layers import trace
from danlu.models.network_table import build_model


def conv(inputs: int, outputs: int, kernel: int, side: int) -> tuple[int, int]:
    """Parameters and multiply-adds of a convolution with bias."""
    weights = inputs * outputs * kernel * kernel
    return weights + outputs, weights * side * side


def rows(*names: str, **settings) -> dict[str, dict]:
    return {row["row"]: row for row in compare_networks(*names, **settings)["rows"]}


def cell(row: dict, name: str) -> tuple[int, int]:
    return row[name]["parameters"], row[name]["multiply_adds"]


def test_alexnet_beside_lenet() -> None:
    """F6, in one tower: conv1 35K/101M, conv2 614K/415M, dense 26M and 16M, total 46M/1G; LeNet in all 62K/0.4M."""
    found = rows("alexnet-plain", "lenet", classes=10)
    assert cell(found["conv 1"], "alexnet-plain") == conv(3, 96, 11, 54)
    assert cell(found["conv 2"], "alexnet-plain") == conv(96, 256, 5, 26)
    assert cell(found["conv 1"], "lenet") == conv(1, 6, 5, 28)
    assert cell(found["conv 2"], "lenet") == conv(6, 16, 5, 10)
    assert found["conv 3"]["lenet"] is None
    dense = [found[f"dense {i}"]["alexnet-plain"]["parameters"] for i in (1, 2)]
    assert dense == pytest.approx([26e6, 16.8e6], rel=0.03)
    assert cell(found["total"], "alexnet-plain")[0] == pytest.approx(46.8e6, rel=0.02)
    assert cell(found["total"], "alexnet-plain")[1] == pytest.approx(1e9, rel=0.1)
    assert cell(found["total"], "lenet") == (61706, 416520)


def test_first_dense_layer_after_the_convolutions() -> None:
    """F5: LeNet 48k, AlexNet 26M, VGG 102M."""
    found = rows("lenet", "alexnet-plain", "vgg16")["dense 1"]
    wanted = {"lenet": 48_120, "alexnet-plain": 26e6, "vgg16": 102.76e6}
    for name, count in wanted.items():
        assert found[name]["parameters"] == pytest.approx(count, rel=0.03)


def test_inception_block_against_plain_convolutions() -> None:
    """F7: 192 x 28 x 28 in, 256 out: 0.16M/128M against 0.44M/346M (3x3) and 1.22M/963M (5x5)."""
    block = build_model("googlenet", channels=3, size=224, classes=10)
    layers = trace(block, torch.zeros(1, 3, 224, 224)).layers
    first = [x for x in layers if x.parameters and tuple(x.output[-2:]) == (28, 28)][:6]  # the first block's six
    total = compare({"block": first})[-1]["block"]
    assert total["parameters"] == pytest.approx(0.163e6, rel=0.02)
    assert total["multiply_adds"] == pytest.approx(128e6, rel=0.02)
    assert conv(192, 256, 3, 28) == pytest.approx((0.4426e6, 346.8e6), rel=0.01)
    assert conv(192, 256, 5, 28) == pytest.approx((1.229e6, 963e6), rel=0.01)


def test_blocks_of_branches_against_one_convolution() -> None:
    """F7 as the command prints it: the first block of GoogLeNet, by the table of its paper."""
    block = compare_networks("googlenet", "lenet")["branched"]["googlenet"][0]
    sizes = [(192, 64, 1), (192, 96, 1), (96, 128, 3), (192, 16, 1), (16, 32, 5), (192, 32, 1)]
    costs = [conv(*size, 28) for size in sizes]
    assert (block["input"], block["output"]) == ([192, 28, 28], [256, 28, 28])
    assert block["parameters"] == sum(parameters for parameters, _ in costs) == 163_696
    assert block["multiply_adds"] == sum(work for _, work in costs) == 128_049_152
    for kernel, name in ((3, "3x3"), (5, "5x5")):
        parameters, work = conv(192, 256, kernel, 28)
        assert block["instead"][name] == {"parameters": parameters - 256, "multiply_adds": work}


def test_blocks_that_halve_the_map_are_left_out() -> None:
    with torch.device("meta"):
        model = build_model("bn-inception", channels=3, size=224, classes=10)
    rows = branched(trace(model, torch.zeros(1, 3, 224, 224)).layers, (3, 224, 224))
    assert len(rows) == 8  # of ten modules, two have a stride
    assert all(row["input"][1:] == row["output"][1:] for row in rows)


def test_fractions_are_of_the_total() -> None:
    found = compare_networks("lenet", "alexnet-plain")
    dense = 400 * 120 + 120 + 120 * 84 + 84 + 84 * 10 + 10
    assert found["shares"]["lenet"]["dense layers"]["parameters"] == pytest.approx(dense / 61_706)
    for families in found["shares"].values():
        for figure in ("parameters", "multiply_adds", "activation_bytes"):
            assert sum(own[figure] for own in families.values()) == pytest.approx(1)
    assert family_fractions([]) == {}


def test_vgg_shapes() -> None:
    """F5: 64x112x112 after the first pool, 128x56x56, 256x28x28, 512x14x14, 512x7x7."""
    with torch.device("meta"):
        model = build_model("vgg16", channels=3, size=224, classes=10)
    pools = [x.output for x in trace(model, torch.zeros(1, 3, 224, 224)).layers if x.kind == "MaxPool2d"]
    assert pools == [(64, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14), (512, 7, 7)]
