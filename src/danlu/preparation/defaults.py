"""Settings chosen from the data, each with its reason, so that the user need not choose them.

A setting that the user gave is never touched. The reasons are printed before training and kept in the report.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol

import torch

from danlu.config import Config, get, keys, with_values
from danlu.data.dataset import Dataset, ImageFiles
from danlu.detection.build import DETECTORS, find_detector
from danlu.models.build import find_network
from danlu.run.signature import Signature

MEMORY = {"cpu": 2 << 30, "cuda": 8 << 30, "mps": 2 << 30}  # bytes of images kept on the device
USUAL_RATE = {
    "sgd": 0.1, "momentum": 0.05, "nesterov": 0.05, "adagrad": 1e-2,
    "rmsprop": 1e-3, "adam": 2e-3, "adamw": 2e-3, "muon": 2e-3,
}  # fmt: skip
DETECTOR_RATE = 3e-3  # of adamw, measured on drawn shapes and blood cells
FEW = 10_000  # training samples below which grey signs are distorted a little
RUBBISH = 20.0  # lenet5: squared distance, of 4 per wrong sign of 84, at which an answer is near enough
FINE_TUNING_EPOCHS, FINE_TUNING_RATE = 1 / 3, 1 / 2  # beside training from drawn weights
TASK_REASONS = {
    "classify": "classes",
    "regress": "a number is to be predicted",
    "detect": "boxes around objects",
    "segment": "outlines of objects",
}
SAMPLES_SEEN = 600_000  # of training, by default: enough for a small network, minutes on two cores


@dataclass(frozen=True)
class Choice:
    key: str
    value: Any
    reason: str


class Chooser:
    """Fills a config's open settings one after the other; later choices may look at earlier ones."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.choices: list[Choice] = []

    def pick(self, key: str, value: Any, reason: str) -> None:
        if get(self.config, key) is None:
            self.set(key, value, reason)

    def set(self, key: str, value: Any, reason: str) -> None:
        self.config = with_values(self.config, {key: value})
        self.choices.append(Choice(key, value, reason))


def choose_data(
    config: Config, dataset: Dataset, device: torch.device, start: Signature | None = None
) -> tuple[Config, list[Choice]]:
    """What must be known before the samples are read: task, image size, colour, and where they are kept.

    start: signature of the weights to start from.
    """
    chooser = Chooser(config)
    pick = chooser.pick
    pick("task", dataset.task, TASK_REASONS[dataset.task])
    if dataset.kind in ("images", "files"):
        same = start is not None and config.model.name in (None, start.model)
        if start is not None and start.size and same:
            pick("data.size", start.size, f"that of {config.transfer.init}")
        entry = DETECTORS.get(config.model.name or "")
        if dataset.task in ("detect", "segment") and entry is not None and entry.size:
            pick("data.size", entry.size, f"what {config.model.name} is made for")
        size, reason = (_canvas_size if dataset.task in ("detect", "segment") else _image_size)(dataset, device)
        pick("data.size", size, reason)
        if start is not None and start.channels == 3 and same:
            pick("data.colour", "rgb", f"that of {config.transfer.init}")
        if dataset.task in ("detect", "segment"):
            pick("data.colour", "rgb", "what backbones take")
        grey = dataset.inputs.grey if isinstance(dataset.inputs, ImageFiles) else dataset.inputs.shape[1] == 1
        pick("data.colour", "grey" if grey else "rgb", "every image is grey" if grey else "some images have colour")
        side, channels = get(chooser.config, "data.size"), 1 if chooser.config.data.colour == "grey" else 3
        size_bytes = len(dataset) * channels * side * side
        fits = size_bytes <= MEMORY[device.type]
        pick("data.memory", fits, f"{size_bytes / 2**20:,.0f} MiB as bytes {'fit' if fits else 'do not fit'}")
        if not chooser.config.data.memory:
            pick("data.workers", max(1, min(os.cpu_count() or 1, 16)), "one per core, to decode images")
    if dataset.task == "regress":
        pick("data.standardise_target", True, "targets of unit scale suit every rate")
    pick("data.memory", True, "a table is small")
    pick("data.workers", 0, "everything is in memory")
    return chooser.config, chooser.choices


class Outlined(Protocol):
    """What of a dataset the settings of training depend on."""

    @property
    def kind(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def classes(self) -> Sequence[str]: ...


def choose_training(
    config: Config, dataset: Outlined, samples: int, device: torch.device, start: Signature | None = None
) -> tuple[Config, list[Choice]]:
    """Network, budget, update rule, loss and augmentation, for `samples` training samples.

    start: signature of the weights to start from.
    """
    chooser = Chooser(config)
    images = dataset.kind in ("images", "files")
    if start is not None and config.model.name in (None, start.model):
        _take_over(chooser, start)
    if dataset.task in ("detect", "segment"):
        _detector(chooser, dataset.task, samples, device)
        return chooser.config, chooser.choices
    _network(chooser, images, samples)
    name = chooser.config.model.name or ""
    network = find_network(name)
    _budget(chooser, images, network.residual, samples)
    _update_rule(chooser, images, network.residual, network.convex)
    loss, why = (
        ("cross-entropy", "exclusive classes") if dataset.classes else ("squared", "a number is to be predicted")
    )
    chooser.pick("loss.name", loss, why)
    if network.distance_outputs and chooser.config.loss.name == "cross-entropy" and not chooser.config.loss.smoothing:
        chooser.pick("loss.rubbish", RUBBISH, "outputs are minus distances, and the right one must come near 0")
    _variation(chooser, images and not network.convex, samples)
    return chooser.config, chooser.choices


def _take_over(chooser: Chooser, start: Signature) -> None:
    """The network of the weights to start from, with its options where the user gave none."""
    reason = f"that of {chooser.config.transfer.init}"
    chooser.pick("model.name", start.model, reason)
    if start.backbone:
        chooser.pick("detect.backbone", start.backbone, reason)
    for option, value in start.options.items():
        own = f"detect.{option}"  # before the model's of the same name: a detector's width is no dense layer's
        key = own if start.task in ("detect", "segment") and own in keys() else f"model.{option}"
        if get(chooser.config, key) == keys()[key].default:
            chooser.set(key, value, reason)


def _network(chooser: Chooser, images: bool, samples: int) -> None:
    config = chooser.config
    side, colour = config.data.size or 0, config.data.colour == "rgb"
    if not images:
        name, why = "mlp", "rows of a table"
    elif side <= 16:
        name, why = "small-cnn", f"images of {side} px"
    elif side <= 40 and not colour:
        name, why = "lenet", f"grey images of {side} px"
    else:
        name, why = ("resnet20" if side <= 80 else "resnet18"), f"images of {side} px"
    chooser.pick("model.name", name, why)
    if chooser.config.model.name == "mlp" and not images and samples >= 5_000:
        chooser.pick("model.width", (256, 128), f"{samples:,} training samples can fill two hidden layers")


def _detector(chooser: Chooser, task: str, samples: int, device: torch.device) -> None:
    """Network, budget and update rule of a detector; its losses are its own."""
    name, why = ("mask-rcnn", "finds masks") if task == "segment" else ("yolo-nano", "a fast detector without anchors")
    chooser.pick("model.name", name, why)
    name = chooser.config.model.name or ""
    detector = find_detector(name)
    two_stages = detector.two_stages
    if detector.light_backbone and device.type == "cpu":
        _lighten(chooser, detector.light_backbone, detector.light_width)
    batch = 16 if samples >= 64 and not two_stages else 8
    why = "two stages learn faster from small batches" if two_stages else f"{samples:,} training images"
    chooser.pick("batch_size", min(batch, samples), why)
    seen = detector.training_images * max(1.0, 320 / (chooser.config.data.size or 320))
    epochs = max(10, min(120, round(seen / samples)))
    if chooser.config.transfer.init:
        fewer = max(5, round(epochs * FINE_TUNING_EPOCHS))
        chooser.pick("epochs", fewer, f"fine-tuning: a third of the {epochs} that drawn weights would get")
    chooser.pick("epochs", epochs, f"{samples:,} training images, about {epochs * samples:,} seen in all")
    chooser.pick("optim.name", "adamw", "robust for detectors")
    rule = chooser.config.optim.name or ""
    slower = 3 if two_stages else 1
    rate = USUAL_RATE[rule] if rule != "adamw" else DETECTOR_RATE / slower
    chooser.pick("optim.lr", rate, f"usual for {rule} and a detector")
    chooser.pick("optim.weight_decay", 0.02 if rule == "adamw" else 5e-4, "usual for detectors")
    chooser.pick("schedule.name", "one-cycle", "quick rise, long fall: strong within a fixed budget")
    if detector.per_region:
        chooser.pick("augment.preset", "none", "regions cut out one by one vary enough")
        chooser.pick("augment.flip", "lr", "a mirrored image has mirrored regions")
    chooser.pick("augment.preset", "light", "moderate variation; objects move with the image")
    why = "regions of one object differ much" if detector.per_region else "usual for detectors"
    chooser.pick("detect.overlap", detector.nms_iou, why)


def _lighten(chooser: Chooser, backbone: str, width: int | None) -> None:
    """A small backbone and a narrow pyramid, unless trained weights are to be used or a backbone is named."""
    config = chooser.config
    if config.transfer.init or config.model.pretrained or config.detect.backbone:
        return
    why = "without a card more images teach more than a larger network"
    chooser.pick("detect.backbone", backbone, why)
    if width and config.detect.neck != "none":
        chooser.pick("detect.width", width, why)


def _budget(chooser: Chooser, images: bool, residual: bool, samples: int) -> None:
    batch = 128 if samples >= 10_000 else 64 if samples >= 2_000 else 32
    chooser.pick("batch_size", min(batch, samples), f"{samples:,} training samples")
    least = 30 if residual else 10
    epochs = max(least, min(60, round(SAMPLES_SEEN / samples))) if images else 60
    if chooser.config.transfer.init:
        fewer = max(5, round(epochs * FINE_TUNING_EPOCHS))
        chooser.pick("epochs", fewer, f"fine-tuning: a third of the {epochs} that drawn weights would get")
    chooser.pick("epochs", epochs, f"{samples:,} training samples, about {epochs * samples:,} seen in all")


def _update_rule(chooser: Chooser, images: bool, residual: bool, convex: bool) -> None:
    if convex:
        chooser.pick("optim.name", "momentum", "a convex problem")
    elif residual:
        chooser.pick("optim.name", "nesterov", "residual networks with batch norm")
    else:
        chooser.pick("optim.name", "adamw", "robust for this network")
    rule = chooser.config.optim.name or ""
    batch = chooser.config.batch_size or 128
    if residual and rule in ("sgd", "momentum", "nesterov"):
        rate, why = 0.1 * min(1.0, batch / 128), f"0.1 for a batch of 128, and this one is {batch}"
    else:
        rate = 3e-3 if images and rule in ("adam", "adamw", "muon") else USUAL_RATE[rule]
        why = f"usual for {rule}"
    if chooser.config.transfer.init and chooser.config.transfer.freeze != ("all-but-head",):
        why = f"fine-tuning: half of {rate:g}, not to undo what was learnt"
        rate *= FINE_TUNING_RATE
    chooser.pick("optim.lr", rate, why)
    decay = 0.0 if convex else 5e-4 if residual else 1e-2 if rule == "adamw" else 1e-4
    chooser.pick("optim.weight_decay", decay, "usual for this network and update rule" if decay else "a convex problem")
    chooser.pick("schedule.name", "one-cycle", "quick rise, long fall: strong within a fixed budget")


def _variation(chooser: Chooser, varied: bool, samples: int) -> None:
    config = chooser.config
    if not varied:
        chooser.pick("augment.preset", "none", "not images, or a convex problem")
        return
    small_signs = (config.data.size or 0) <= 40 and config.data.colour == "grey"
    if config.augment.preset is None and small_signs and samples < FEW:
        for key, value in (("rotate", 10.0), ("scale", 0.1), ("shear", 10.0)):
            chooser.pick(f"augment.{key}", value, f"only {samples:,} samples: small distortions stand in for more")
    chooser.pick("augment.preset", "light", "moderate variation that keeps the meaning of most images")


def _image_size(dataset: Dataset, device: torch.device) -> tuple[int, str]:
    if not isinstance(dataset.inputs, ImageFiles):
        side = max(dataset.inputs.shape[-2:])  # type: ignore[union-attr]
        return side, f"images are {dataset.inputs.shape[-1]} x {dataset.inputs.shape[-2]} px"  # type: ignore[union-attr]
    short = [min(size) for size in dataset.inputs.sizes]
    typical = int(median(short))
    if typical <= 80:
        return typical, f"the median short side is {typical} px"
    full = 224 if device.type == "cuda" else 128
    side = min(full, typical)
    where = "a card" if device.type == "cuda" else "a processor without a card"
    return side, f"the median short side is {typical} px; {full} px suit {where}"


def _canvas_size(dataset: Dataset, device: torch.device) -> tuple[int, str]:
    """For detectors: the typical long side, in steps of 32 pixels, as far as the machine is fit for it."""
    if isinstance(dataset.inputs, ImageFiles):
        typical = int(median(max(size) for size in dataset.inputs.sizes))
    else:
        typical = max(dataset.inputs.shape[-2:])  # type: ignore[union-attr]
    full = 640 if device.type == "cuda" else 320
    side = max(64, min(full, round(typical / 32) * 32))
    return side, f"the median long side is {typical} px; at most {full} px by default here, in steps of 32"
