"""Settings of detectors chosen from the data, the machine and the starting weights."""

from __future__ import annotations

import pytest
import torch

from danlu.config import Config, get, with_values
from danlu.data.dataset import Dataset
from danlu.data.sources.named.shapes import CLASSES, draw
from danlu.preparation.data_defaults import choose_data
from danlu.preparation.defaults import choose_training
from danlu.run.signature import Signature

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(scope="module")
def shapes() -> Dataset:
    images, annotations = draw(8, 128)
    return Dataset(path="shapes", format="drawn", task="detect", inputs=images, targets=annotations, classes=CLASSES)


def chosen(shapes: Dataset, device: torch.device = CPU, start: Signature | None = None, **settings):
    """The config once all is chosen for 420 training images, and the reason of every choice."""
    config = with_values(Config(), settings)
    config, first = choose_data(config, shapes, CPU, start)
    config, second = choose_training(config, shapes, 420, device, start)
    return config, {one.key: one.reason for one in first + second}


def test_a_detector_made_for_one_size_gets_it(shapes):
    config, reasons = chosen(shapes, **{"model.name": "ssd300"})
    assert (config.data.size, reasons["data.size"]) == (300, "the input size ssd300 was designed for")
    assert chosen(shapes, **{"model.name": "ssd300", "data.size": 320})[0].data.size == 320
    assert chosen(shapes, **{"model.name": "ssd"})[0].data.size == 128


@pytest.mark.parametrize("name", ["faster-rcnn", "mask-rcnn"])
def test_two_stage_detectors_are_small_without_gpu(name, shapes):
    config, reasons = chosen(shapes, **{"model.name": name})
    assert (config.detect.backbone, config.detect.width) == ("cspnet-nano", 64)
    assert "without a GPU" in reasons["detect.backbone"]
    assert chosen(shapes, GPU, **{"model.name": name})[0].detect.backbone is None
    assert chosen(shapes, **{"model.name": name, "detect.neck": "none"})[0].detect.width is None
    assert chosen(shapes, **{"model.name": f"{name}-resnet50"})[0].detect.backbone is None


@pytest.mark.parametrize("given", [{"detect.backbone": "resnet34"}, {"model.pretrained": True}])
def test_a_backbone_of_the_users_keeps_the_width_of_the_detector(given, shapes):
    config, _ = chosen(shapes, **{"model.name": "mask-rcnn"} | given)
    assert config.detect.backbone == given.get("detect.backbone")
    assert config.detect.width is None


def test_trained_weights_bring_their_backbone_and_its_options(shapes):
    start = Signature(task="detect", model="faster-rcnn", options={"width": 64}, classes=CLASSES, backbone="resnet34")
    config, reasons = chosen(shapes, start=start, **{"transfer.init": "runs/1"})
    assert (config.model.name, config.detect.backbone, config.detect.width) == ("faster-rcnn", "resnet34", 64)
    assert reasons["detect.backbone"] == "that of runs/1"


def test_cheap_and_slow_networks_get_more_epochs(shapes):
    epochs = {name: chosen(shapes, **{"model.name": name})[0].epochs for name in ("yolo-nano", "yolo-v1", "mask-rcnn")}
    assert epochs["mask-rcnn"] < epochs["yolo-nano"] < epochs["yolo-v1"]
    assert get(chosen(shapes, epochs=3)[0], "epochs") == 3


@pytest.mark.parametrize(
    ("samples", "network", "expected"), [(70, "resnet18", 5.0), (7_000, "resnet18", None), (70, "lenet", None)]
)
def test_gradients_of_a_residual_network_are_clipped_where_updates_are_few(samples, network, expected):
    grey = torch.zeros(8, 1, 96, 96, dtype=torch.uint8)
    data = Dataset(
        path="x", format="folder", task="classify", inputs=grey, targets=torch.arange(8) % 2, classes=("a", "b")
    )
    config, _ = choose_data(with_values(Config(), {"model.name": network}), data, CPU, None)
    config, choices = choose_training(config, data, samples, CPU, None)
    assert config.optim.clip_norm == expected
    assert ("optim.clip_norm" in {choice.key for choice in choices}) == (expected is not None)


def test_gradients_are_not_clipped_for_a_learning_rate_of_the_users():
    grey = torch.zeros(8, 1, 96, 96, dtype=torch.uint8)
    data = Dataset(
        path="x", format="folder", task="classify", inputs=grey, targets=torch.arange(8) % 2, classes=("a", "b")
    )
    config, _ = choose_data(with_values(Config(), {"model.name": "resnet18", "optim.lr": 0.1}), data, CPU, None)
    assert choose_training(config, data, 70, CPU, None)[0].optim.clip_norm is None
