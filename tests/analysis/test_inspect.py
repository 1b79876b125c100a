"""Counts of `danlu inspect` against the papers' and torchvision's, receptive fields against autograd, and wrong input."""

from __future__ import annotations

import json

import pytest
import torch

import danlu
from danlu.analysis.inspect import compare_networks
from danlu.cli import main
from danlu.inspection.layers import trace
from danlu.models.network_table import build_model


# Parameters to the unit and multiply-adds to 1 %: LeNet-5 and CIFAR ResNet from the papers, the others as torchvision states.
@pytest.mark.parametrize(
    ("name", "classes", "parameters", "multiply_adds"),
    [
        ("lenet5", 10, 60_000, 0.326e6),
        ("resnet20", 10, 269_722, 40.6e6),
        ("alexnet", 1000, 60_965_224, 724e6),
        ("vgg16", 1000, 138_357_544, 15.470e9),
        ("googlenet", 1000, 6_998_552, 1.583e9),
        ("resnet50", 1000, 25_557_032, 4.089e9),
        ("torchvision/vit_b_16", 1000, 86_567_656, 17.564e9),
    ],
)
def test_counts(name: str, classes: int, parameters: int, multiply_adds: float) -> None:
    found = danlu.inspect(name, classes=classes)
    assert found["parameters"] == parameters
    assert found["multiply_adds"] == pytest.approx(multiply_adds, rel=0.01)
    assert sum(layer["parameters"] for layer in found["layers"]) == parameters


def test_receptive_field_is_where_the_gradient_comes_from() -> None:
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 5, stride=2), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Conv2d(2, 3, 3, dilation=2)
    )
    x = torch.ones(1, 1, 61, 61, requires_grad=True)
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, torch.nn.Conv2d):
                layer.weight.abs_().add_(0.1)  # with ones as inputs, no unit is inactive and no gradient lost
    seen = torch.nn.functional.avg_pool2d(model[1](model[0](x)), 2)  # an average sees what a maximum may take
    out = model[3](seen)
    out[0, 0, 4, 4].backward()
    rows = x.grad[0, 0].abs().sum(1).nonzero().flatten()  # type: ignore[index]
    last = trace(model, torch.zeros(1, 1, 61, 61)).layers[-1]
    assert last.receptive_field == (len(range(rows[0], rows[-1] + 1)),) * 2
    assert last.jump == (4.0, 4.0)


@pytest.mark.parametrize(("layers", "side", "left"), [(1, 32, 28), (7, 32, 4), (55, 224, 4)])
def test_remaining_5x5_convolutions(layers: int, side: int, left: int) -> None:
    """The lecture notes give 44 layers from 224 to 4 pixels; it takes 55."""
    model = torch.nn.Sequential(*[torch.nn.Conv2d(1, 1, 5) for _ in range(layers)])
    assert trace(model, torch.zeros(1, 1, side, side)).layers[-1].output == (1, left, left)


def test_vc_dimension_of_a_perceptron_is_inputs_plus_one() -> None:
    assert danlu.inspect("softmax", "2", classes=1)["vc_dimension"]["estimate"] == 3


def test_memory_counts_what_autograd_saves() -> None:
    found = danlu.inspect("lenet", batch_size=16, optimizer="adamw")["memory"]
    model, saved = build_model("lenet", channels=1, size=28, classes=10).train(), {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        model(torch.randn(16, 1, 28, 28))
    measured = sum(size for place, size in saved.items() if place not in own)
    assert found["activations"] == pytest.approx(measured, rel=0.05)
    assert found["optimizer_state"] == 2 * found["gradients"]


def test_the_result_has_attributes_and_the_same_keys() -> None:
    found = danlu.inspect("lenet")
    assert found.memory.total == found["memory"]["total"] > found.memory.parameters
    assert sum(layer.parameters for layer in found.layers) == found.parameters
    assert found.layers[0].output == [6, 28, 28]
    assert "time" not in found
    assert str(found).startswith("InspectedNetwork(lenet on 1x28x28: 61,706 parameters")
    assert json.loads(json.dumps(found.to_json())) == found.to_json()
    compared = compare_networks("lenet", "mlp")
    assert compared.fractions is compared["shares"]


def test_the_verb_prints_and_draws(capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    assert main(["inspect", "lenet", "--plot", str(tmp_path / "lenet.png"), "--time", "true", "--batch-size", "4"]) == 0
    assert "61,706 parameters" in capsys.readouterr().out
    assert (tmp_path / "lenet.png").stat().st_size > 5_000
    assert main(["inspect", "lenet", "--json"]) == 0
    assert {"model", "input", "parameters", "multiply_adds", "activation_bytes", "layers"} <= set(
        json.loads(capsys.readouterr().out)
    )


def test_a_network_too_large_for_any_memory_is_inspected(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "alexnet-plain", "--input", "3x20000x20000", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parameters"] > 1e11


def test_options_of_the_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "googlenet", "--classes", "1000", "--model.aux", "true", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] == 13_378_280


def test_networks_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "lenet", "--compare", "googlenet"]) == 0
    said = capsys.readouterr().out
    assert all(
        word in said
        for word in ("conv 57", "164k/128M", "442k/347M", "1.23M/963M", "lenet: 96 % of the parameters in dense layers")
    )
    assert main(["inspect", "--compare", "alexnet", "lenet", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["models"] == ["alexnet", "lenet"]
    assert found["rows"][-1]["lenet"]["parameters"] == 61_706


def test_more_networks_than_a_line_holds(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """At 80 columns the third network begins a table of its own; no figure is cut, no line longer."""
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["inspect", "--compare", "alexnet-plain", "lenet", "vgg16"]) == 0
    lines = capsys.readouterr().out.splitlines()
    heads = [line.split() for line in lines if "mult-adds" in line]
    columns = ["weights", "mult-adds"]
    assert heads == [["alexnet-plain", *columns, "lenet", *columns], ["vgg16", *columns]]
    assert not any("…" in line for line in lines)
    assert all(len(line) <= 80 for line in lines if ": " not in line)  # sentences are for the terminal to fold
    totals = [line.split() for line in lines if line.startswith("total")]
    assert totals == [["total", "46.8M", "1.01G", "61.7k", "417k"], ["total", "134M", "15.5G"]]
    assert not any(line.startswith("conv 6") for line in lines[: lines.index(next(x for x in lines if "vgg16" in x))])


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["resnt50"], ["MODEL", "'resnt50'", "resnet50"]),
        (["lenet", "--input", "3by224"], ["--input", "CxHxW", "'3by224'"]),
        (["lenet", "--input", "1x28x20"], ["--input", "H = W"]),
        (["lenet5", "--input", "1x50x50"], ["50", "lenet5"]),
        (["lenet", "--classes", "0"], ["--classes", "at least 1"]),
        (["lenet", "--optimizer", "adm"], ["--optimizer", "adam"]),
        (["lenet", "--plot", "x.gif"], ["--plot", ".png"]),
        (["lenet", "--input", "0x28x28"], ["--input", "CxHxW"]),
        (["lenet", "--input", "1x2x2"], ["at least 4 for lenet"]),
        (["lenet", "--input", "28"], ["table rows", "mlp", "'lenet'"]),
        (["lenet", "--input", "28x28"], ["--input", "H = W"]),
        (["vit-tiny", "--input", "3x30x30"], ["30", "patch"]),
        (["vgg16", "--input", "3x9999999x9999999"], ["--input", "at most 1,000,000"]),
        (["lenet", "--classes", "1.5"], ["--classes", "'1.5'"]),
        (["lenet", "--classes", "\u00b2"], ["--classes", "an integer"]),
        (["lenet", "--classes", "-3"], ["--classes"]),
        (["lenet", "--batch-size", "many"], ["--batch-size", "'many'"]),
        (["lenet", "--time", "maybe"], ["--time", "true or false"]),
        (["lenet", "--model.norm", "bacth"], ["model.norm", "'batch'"]),
        (["lenet", "--model.init", "kaimimg"], ["model.init", "'kaimimg'"]),
        (["lenet", "--model.aux", "true"], ["model.aux", "omitted for lenet"]),
        (["timm/resnet1800"], ["resnet1800"]),
        (["torchvision/resnet17"], ["resnet17"]),
        (["--compare", "lenet", "lenet"], ["--compare", "two networks"]),
        (["--compare", "lenet", "alexnet", "--input", "1x28x28"], ["at least 67 for alexnet"]),
    ],
)
def test_wrong_input(argv: list[str], words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", *argv]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert all(word in said for word in words), said


@pytest.mark.parametrize("name", ["yolo-nano", "retinanet", "faster-rcnn", "fast-rcnn"])
def test_detectors_have_layers_costs_and_anchors(name: str) -> None:
    found = danlu.inspect(name, input="3x64x64", classes=3)
    assert found.parameters == sum(layer.parameters for layer in found.layers)
    assert found.multiply_adds > 1e6
    assert found.memory.activations > 0
    if name == "retinanet":  # 3 ratios and 3 sizes at each cell of three maps
        assert sum(one[2] for one in found.anchors) == 9 * (8 * 8 + 4 * 4 + 2 * 2)
        assert [1, 1] in [[w, h] for w, h in {(w / h, h / w) for w, h, _ in found.anchors}]
    elif name != "faster-rcnn":
        assert found.anchors == []


def test_ssd300_has_the_boxes_of_its_paper() -> None:
    anchors = danlu.inspect("ssd300", classes=20).anchors
    assert sum(one[2] for one in anchors) == 8732


def test_the_backbone_of_a_detector_is_chosen() -> None:
    """DetNet's last stages have one stride: the bottom-up path keeps it."""
    found = danlu.inspect("yolo-nano", input="3x64x64", backbone="detnet59")
    assert found.parameters > 10 * danlu.inspect("yolo-nano", input="3x64x64").parameters
    assert not [layer for layer in found.layers if layer.name.startswith("pyramid.shrink") and "/2" in layer.detail]


def test_time_is_not_measured_for_detectors() -> None:
    with pytest.raises(danlu.Refusal, match=r"^time must be omitted for detectors"):
        danlu.inspect("yolo-nano", time=True)
