"""Settings chosen from the data, each with its reason, so that the user need not choose them.

A setting that the user gave is never touched. The reasons are printed before training and kept in the report.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from danlu.config import Config, get, with_values
from danlu.data.dataset import Dataset, PictureFiles

MEMORY = {"cpu": 2 << 30, "cuda": 8 << 30, "mps": 2 << 30}  # bytes of pictures kept on the device
FEW = 10_000  # training samples below which grey signs are distorted a little
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
            self.config = with_values(self.config, {key: value})
            self.choices.append(Choice(key, value, reason))


def choose_data(config: Config, dataset: Dataset, device: torch.device) -> tuple[Config, list[Choice]]:
    """What must be known before the samples are read: task, picture size, colour, and where they are kept."""
    chooser = Chooser(config)
    pick = chooser.pick
    pick("task", dataset.task, "classes" if dataset.task == "classify" else "a number is to be predicted")
    if dataset.kind in ("pictures", "files"):
        size, reason = _picture_size(dataset, device)
        pick("data.size", size, reason)
        grey = dataset.inputs.grey if isinstance(dataset.inputs, PictureFiles) else dataset.inputs.shape[1] == 1
        pick("data.colour", "grey" if grey else "rgb", "every picture is grey" if grey else "some pictures have colour")
        side, channels = get(chooser.config, "data.size"), 1 if chooser.config.data.colour == "grey" else 3
        size_bytes = len(dataset) * channels * side * side
        fits = size_bytes <= MEMORY[device.type]
        pick("data.memory", fits, f"{size_bytes / 2**20:,.0f} MiB as bytes {'fit' if fits else 'do not fit'}")
        if not chooser.config.data.memory:
            pick("data.workers", max(1, min(os.cpu_count() or 1, 16)), "one per core, to decode pictures")
    if dataset.task == "regress":
        pick("data.standardise_target", True, "targets of unit scale suit every rate")
    pick("data.memory", True, "a table is small")
    pick("data.workers", 0, "everything is in memory")
    return chooser.config, chooser.choices


def choose_training(
    config: Config, dataset: Dataset, samples: int, device: torch.device
) -> tuple[Config, list[Choice]]:
    """Network, budget, update rule and augmentation, for `samples` training samples."""
    chooser = Chooser(config)
    pick: Callable[[str, Any, str], None] = chooser.pick
    pictures = dataset.kind in ("pictures", "files")
    side, colour = config.data.size or 0, config.data.colour == "rgb"

    if not pictures:
        pick("model.name", "mlp", "rows of a table")
    elif side <= 16:
        pick("model.name", "small-cnn", f"pictures of {side} px")
    elif side <= 40 and not colour:
        pick("model.name", "lenet", f"grey pictures of {side} px")
    elif side <= 80:
        pick("model.name", "resnet20", f"pictures of {side} px")
    else:
        pick("model.name", "resnet18", f"pictures of {side} px")
    name = chooser.config.model.name or ""
    residual = "resnet" in name

    if name == "mlp" and not pictures and samples >= 5_000:
        pick("model.width", (256, 128), f"{samples:,} training samples can fill two hidden layers")
    batch = 128 if samples >= 10_000 else 64 if samples >= 2_000 else 32
    pick("batch_size", min(batch, samples), f"{samples:,} training samples")
    epochs = max(10, min(60, round(SAMPLES_SEEN / samples)))
    if not pictures:
        epochs = 60
    elif residual:
        epochs = max(epochs, 30)
    pick("epochs", epochs, f"{samples:,} training samples, about {epochs * samples:,} seen in all")

    if name in ("linear", "softmax", "perceptron"):
        pick("optim.name", "momentum", "a convex problem")
        pick("optim.lr", 0.05, "a convex problem on standardised inputs")
    elif residual:
        pick("optim.name", "nesterov", "residual networks with batch norm")
        rate = 0.1 * min(1.0, chooser.config.batch_size / 128)
        pick("optim.lr", rate, f"0.1 per 128 samples of a batch of {chooser.config.batch_size}")
    else:
        pick("optim.name", "adamw", "robust for this network")
    if chooser.config.optim.name in ("adam", "adamw", "muon"):
        pick("optim.lr", 3e-3 if pictures else 2e-3, f"usual for {chooser.config.optim.name} at this size")
    elif chooser.config.optim.name == "rmsprop":
        pick("optim.lr", 1e-3, "usual for rmsprop")
    elif chooser.config.optim.name == "adagrad":
        pick("optim.lr", 1e-2, "usual for adagrad")
    elif chooser.config.optim.name == "sgd":
        pick("optim.lr", 0.1, "usual for plain gradient descent")
    pick("optim.lr", 0.05, "usual with momentum")
    convex = name in ("linear", "softmax", "perceptron")
    decay = 0.0 if convex else 5e-4 if residual else 1e-2 if chooser.config.optim.name == "adamw" else 1e-4
    pick("optim.weight_decay", decay, "usual for this network and update rule" if decay else "a convex problem")
    pick("schedule.name", "one-cycle", "quick rise, long fall: strong within a fixed budget")
    loss = "cross-entropy" if dataset.task == "classify" else "squared"
    pick("loss.name", loss, "exclusive classes" if dataset.task == "classify" else "a number is to be predicted")
    if pictures and not convex:
        if config.augment.preset is None and side <= 40 and not colour and samples < FEW:
            for key, value in (("rotate", 10.0), ("scale", 0.1), ("shear", 10.0)):
                pick(f"augment.{key}", value, f"only {samples:,} samples: small distortions stand in for more")
        pick("augment.preset", "light", "moderate variation that keeps the meaning of most pictures")
    pick("augment.preset", "none", "not pictures" if not pictures else "a convex problem")
    return chooser.config, chooser.choices


def _picture_size(dataset: Dataset, device: torch.device) -> tuple[int, str]:
    if not isinstance(dataset.inputs, PictureFiles):
        side = max(dataset.inputs.shape[-2:])  # type: ignore[union-attr]
        return side, f"pictures are {dataset.inputs.shape[-1]} x {dataset.inputs.shape[-2]} px"  # type: ignore[union-attr]
    short = [min(size) for size in dataset.inputs.sizes]
    typical = int(median(short))
    if typical <= 80:
        return typical, f"the median short side is {typical} px"
    full = 224 if device.type == "cuda" else 128
    side = min(full, typical)
    where = "a card" if device.type == "cuda" else "a processor without a card"
    return side, f"the median short side is {typical} px; {full} px suit {where}"
