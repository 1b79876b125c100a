"""Values for the open settings that decide how data are read: task, image size, colour, memory and workers."""

from __future__ import annotations

import os
from statistics import median

import torch

from danlu.config import Config
from danlu.data.dataset import Dataset, ImageFiles, Samples
from danlu.data.images import channels_of
from danlu.detection.detector_table import DETECTORS
from danlu.message import Message, message
from danlu.preparation.choices import Choice, Chooser
from danlu.preparation.mixed_sizes import choose_mixed_sizes, grid_of, sizes_of
from danlu.preparation.pretrained import choose_size, is_pretrained
from danlu.run.signature import Signature
from danlu.task_spec import TASKS
from danlu.user_objects import is_own

MIN_CANVAS = 64  # pixels, side of the input of detectors and networks of label maps
DATA_MEMORY = {"cpu": 2 << 30, "cuda": 8 << 30, "mps": 2 << 30}  # max bytes of images kept on the device


def choose_data(
    config: Config, dataset: Dataset, device: torch.device, start: Signature | None = None
) -> tuple[Config, list[Choice]]:
    """Values for the settings that decide how data are read: task, image size, colour, memory."""
    chooser = Chooser(config)
    pick_data_settings(chooser, dataset, len(dataset), device, start)
    return chooser.chosen(), chooser.choices


def pick_data_settings(
    chooser: Chooser, dataset: Dataset, samples: int, device: torch.device, start: Signature | None
) -> None:
    """Pick the settings of `choose_data` that are open. samples: number of training samples known so far."""
    pick = chooser.pick
    pick("task", dataset.task, TASKS[dataset.task].reason)
    if dataset.kind in ("images", "files"):
        choose_mixed_sizes(chooser, dataset, start)
        _pick_size(chooser, dataset, samples, device, start)
        if dataset.frames is not None:
            pick("data.frames", dataset.frames, message("choice.frames", "frames of each clip, evenly spaced"))
        _pick_colour(chooser, dataset, start)
        _pick_memory(chooser, dataset, device)
    if isinstance(dataset.inputs, Samples):
        pick("data.memory", False, message("choice.memory.dataset", "your dataset is read batch by batch"))
    if TASKS[dataset.task].targets == "numbers":
        if is_own(chooser["loss.name"]):
            reason = message("choice.own_loss_targets", "your loss gets the targets as they are")
            pick("data.standardise_target", False, reason)
        reason = message("choice.standardise_target", "targets of unit scale work with any learning rate")
        pick("data.standardise_target", True, reason)
    pick("data.memory", True, message("choice.memory.table", "a table is small"))
    pick("data.workers", 0, message("choice.workers.none", "everything is in memory"))


def _pick_size(chooser: Chooser, dataset: Dataset, samples: int, device: torch.device, start: Signature | None) -> None:
    """Size of the images: that of the starting weights, of the detector, or one chosen by the images."""
    pick, objects = chooser.pick, TASKS[dataset.task].on_canvas
    name = chooser["model.name"]
    if start is not None and start.size and _continues(chooser, dataset, start):
        pick("data.size", start.size, _same_as_source(chooser))
    detector = DETECTORS.get(name or "")
    if objects and detector is not None and detector.size:
        text = "the input size {network} was designed for"
        pick("data.size", detector.size, message("choice.size.of_network", text, network=name))
    if is_pretrained(starting_weights(chooser)) and not objects:
        pick("data.size", *choose_size(dataset, samples, device))
    pick("data.size", *(_canvas_size if objects else _image_size)(dataset, device))
    if dataset.task_spec.targets == "none" and chooser.config.data.size is None and start is None:
        _divisible_size(chooser)


def _pick_colour(chooser: Chooser, dataset: Dataset, start: Signature | None) -> None:
    """Colour of the images: all channels of multispectral ones, that of the starting weights, rgb or grey."""
    pick, stored = chooser.pick, dataset.stored_channels
    if stored not in (1, 3):
        text = "the images have {channels} channels"
        pick("data.colour", "all", message("choice.colour.all", text, channels=stored))
    if start is not None and start.channels == 3 and _continues(chooser, dataset, start):
        pick("data.colour", "rgb", _same_as_source(chooser))
    if TASKS[dataset.task].on_canvas:
        pick("data.colour", "rgb", message("choice.colour.backbone", "backbones take three channels"))
    if stored == 1:
        pick("data.colour", "grey", message("choice.colour.grey", "every image is grey"))
    pick("data.colour", "rgb", message("choice.colour.rgb", "some images have colour"))


def _pick_memory(chooser: Chooser, dataset: Dataset, device: torch.device) -> None:
    """Keep the decoded images in memory where they fit; else choose the number of processes that decode them."""
    pick, grid = chooser.pick, grid_of(chooser.chosen())
    channels = channels_of(chooser["data.colour"], dataset.stored_channels, grid or "crop")
    side = chooser["data.size"] if grid is None else grid.canvas(sizes_of(dataset))
    size_bytes = len(dataset) * (dataset.frames or 1) * channels * side**2
    mib = size_bytes / 2**20
    if size_bytes <= DATA_MEMORY[device.type]:
        pick("data.memory", True, message("choice.memory.fits", "{size:,.0f} MiB as bytes fit", size=mib))
    pick("data.memory", False, message("choice.memory.too_large", "{size:,.0f} MiB as bytes do not fit", size=mib))
    if not chooser["data.memory"]:
        workers = max(1, min(os.cpu_count() or 1, 16))
        pick("data.workers", workers, message("choice.workers.per_core", "one per core, to decode images"))


def _continues(chooser: Chooser, dataset: Dataset, start: Signature) -> bool:
    """Return whether the network that starts from the weights takes the same inputs as the one they are of."""
    same_network = chooser["model.name"] in (None, start.model)
    return same_network and start.task_spec.on_canvas == TASKS[dataset.task].on_canvas


def _same_as_source(chooser: Chooser) -> Message:
    return message("choice.same_as_source", "that of {source}", source=starting_weights(chooser))


def starting_weights(chooser: Chooser) -> str | None:
    """The weights to start from, None for random initialisation."""
    init = chooser["transfer.init"]
    return None if init == "none" else init


def _image_size(dataset: Dataset, device: torch.device) -> tuple[int, Message]:
    """Image side for classification and regression: the median short side, limited by the device."""
    if not isinstance(dataset.inputs, ImageFiles):
        height, width = dataset.inputs.shape[-2:]  # type: ignore[union-attr]
        return max(height, width), message(
            "choice.size.images", "images are {width} x {height} px", width=width, height=height
        )
    short = [min(size) for size in dataset.inputs.sizes]
    typical = int(median(short))
    if typical <= 80:
        return typical, message("choice.size.median", "the median short side is {median} px", median=typical)
    full = 224 if device.type == "cuda" else 128
    side = min(full, typical)
    values = {"median": typical, "limit": full}
    if device.type == "cuda":
        text = "the median short side is {median} px; {limit} px suit a GPU"
        return side, message("choice.size.gpu", text, **values)
    text = "the median short side is {median} px; {limit} px suit a CPU"
    return side, message("choice.size.cpu", text, **values)


def _divisible_size(chooser: Chooser) -> None:
    """Reduce a chosen image side to a multiple of the patches of vision transformers and of usual strides."""
    side = chooser["data.size"]
    step = 32 if side >= 64 else 4
    if side % step and side > step:
        reason = message(
            "choice.size.divisible", "{side} px, less what patches of {step} px leave over", side=side, step=step
        )
        chooser.set("data.size", side // step * step, reason)


def _canvas_size(dataset: Dataset, device: torch.device) -> tuple[int, Message]:
    """Image side for detectors: the median long side, a multiple of 32 pixels, limited by the device."""
    if isinstance(dataset.inputs, ImageFiles):
        typical = int(median(max(size) for size in dataset.inputs.sizes))
    else:
        typical = max(dataset.inputs.shape[-2:])  # type: ignore[union-attr]
    full = 640 if device.type == "cuda" else 320
    side = max(MIN_CANVAS, min(full, round(typical / 32) * 32))
    text = "the median long side is {median} px; at most {limit} px by default on this device, in steps of 32"
    return side, message("choice.size.detector", text, median=typical, limit=full)
