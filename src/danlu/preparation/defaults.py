"""Values for open settings of the training, chosen from the data and the machine, each with its reason.

A setting that the user gave is never changed. The reasons are printed before training and kept in the report.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch

from danlu.config import Config, ResolvedConfig, keys, resolve, with_values
from danlu.data.dataset import Dataset
from danlu.detection.detector_table import DetectorSpec, find_detector
from danlu.learning.optim import find_optimizer
from danlu.message import message
from danlu.models.network_table import find_network
from danlu.models.packaged import PACKAGED
from danlu.preparation.choices import Choice, Chooser
from danlu.preparation.data_defaults import pick_data_settings, starting_weights
from danlu.preparation.freezing import trains_only_head
from danlu.preparation.own_defaults import CLIP_NETWORK, choose_for_own, choose_network_for_tensors
from danlu.preparation.pretrained import (
    FEWER_IMAGES,
    LAYER_DECAY,
    ONE_CYCLE,
    choose_detector_fine_tuning,
    choose_fine_tuning,
    is_pretrained,
)
from danlu.preparation.pretraining import choose_pretraining
from danlu.preparation.semantic_defaults import choose_semantic
from danlu.run.signature import Signature
from danlu.task_spec import TASKS, TaskName, TaskSpec
from danlu.user_objects import is_own

DETECTOR_LR = 3e-3  # for adamw; measured on drawn shapes and blood cells
SMALL_SET = 10_000  # training samples below which small grey images get small distortions
REJECTION_DISTANCE = 20.0  # lenet5: squared distance, of 4 per wrong sign of 84, beyond which an input is rejected
FINE_TUNING_EPOCHS = 1 / 3  # fraction of the epochs from random initialisation
FINE_TUNING_LR = 1 / 2  # fraction of the learning rate from random initialisation
TRAINING_SAMPLES = 600_000  # over all epochs: enough for a small network, minutes on two cores
MAX_CLIPPED_STEPS = 600  # updates of a whole training, up to which gradients are clipped
FEW_STEPS_CLIP_NORM = 5.0  # cuts off spikes; 1.0 also slowed the learning of ten classes
CLIP_COST = 2  # of each frame of a clip, in small images
CONVEX = message("choice.convex", "a convex problem")
FORMAT_KEYS = ("precision", "channels_last")


def choose_settings(
    config: Config, dataset: Dataset, samples: int, device: torch.device, start: Signature | None = None
) -> tuple[ResolvedConfig, list[Choice]]:
    """Values for all open settings, for `samples` training samples. start: signature of the weights to start from.

    Precision and memory format depend on the built network: where they are open they are fp32 and contiguous here, and
    `preparation/number_format.py` chooses them.
    """
    chooser = Chooser(config)
    pick_data_settings(chooser, dataset, samples, device, start)
    _training(chooser, dataset, samples, device, start)
    format = {key: value for key, value in zip(FORMAT_KEYS, ("fp32", False)) if chooser[key] is None}
    return resolve(with_values(chooser.chosen(), format)), chooser.choices


class DataOutline(Protocol):
    """The properties of a dataset on which settings of training depend."""

    @property
    def kind(self) -> str:
        """Kind of the data, as of `Dataset.kind`."""
        ...

    @property
    def task(self) -> TaskName:
        """Name of the task."""
        ...

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes."""
        ...

    @property
    def frames(self) -> int | None:
        """Number of frames of a clip; None for images and tables."""
        ...


def choose_training(
    config: Config, dataset: DataOutline, samples: int, device: torch.device, start: Signature | None = None
) -> tuple[Config, list[Choice]]:
    """Network, epochs, update rule, loss and augmentation, for `samples` training samples.

    config: with the settings of `choose_data`. start: signature of the weights to start from.
    """
    chooser = Chooser(config)
    _training(chooser, dataset, samples, device, start)
    return chooser.chosen(), chooser.choices


def _training(
    chooser: Chooser, dataset: DataOutline, samples: int, device: torch.device, start: Signature | None
) -> None:
    images = dataset.kind in ("images", "files")
    if start is not None and TASKS[dataset.task].on_canvas and not start.task_spec.on_canvas:
        reason = message("choice.same_as_source", "that of {source}", source=starting_weights(chooser))
        chooser.pick("detect.backbone", start.model, reason)
    elif start is not None and chooser["model.name"] in (None, start.model):
        _take_over(chooser, start)
    if TASKS[dataset.task].labels_pixels:
        choose_semantic(chooser, TASKS[dataset.task], samples, device)
        return
    if TASKS[dataset.task].finds_objects:
        _detector(chooser, TASKS[dataset.task], samples, device)
        return
    if TASKS[dataset.task].targets == "none":
        choose_pretraining(chooser, samples)
        return
    if images and is_pretrained(starting_weights(chooser)):
        _fine_tuning(chooser, samples, TASKS[dataset.task])
        return
    if dataset.kind == "tensors":
        choose_network_for_tensors(chooser, dataset)
    if dataset.frames is not None:
        chooser.pick("model.name", CLIP_NETWORK, message("choice.network.clips", "clips: it sees motion"))
    _network(chooser, images, samples)
    network = find_network(chooser["model.name"])
    if network.name or is_own(chooser["optim.name"]):
        choose_for_own(chooser)
    self_supervised = start is not None and start.pretrain is not None
    _budget(
        chooser, images, network.residual, samples, full=self_supervised, cost=CLIP_COST * (dataset.frames or 0) or 1
    )
    if self_supervised and chooser["transfer.layer_decay"] == 1.0:
        chooser.keep("transfer.layer_decay", LAYER_DECAY)  # described where its factors are known
    own_lr = chooser["optim.lr"] is not None
    _update_rule(chooser, images, network.residual, network.convex)
    if network.residual and not own_lr:
        _clip_norm(chooser, samples)
    _loss(chooser, TASKS[dataset.task])
    if network.distance_outputs and chooser["loss.name"] == "cross-entropy" and not chooser["loss.smoothing"]:
        chooser.pick(
            "loss.rubbish",
            REJECTION_DISTANCE,
            message(
                "choice.loss.distances", "outputs are negative distances; the one of the true class must approach 0"
            ),
        )
    if chooser["data.transform"] is not None:
        chooser.pick("augment.preset", "none", message("choice.augment.own", "your transform takes its place"))
    _augmentation(chooser, images and not network.convex, samples, clips=dataset.frames is not None)


def _fine_tuning(chooser: Chooser, samples: int, task: TaskSpec) -> None:
    """Settings of an image network that starts from ImageNet weights."""
    choose_fine_tuning(chooser, samples, task)
    _loss(chooser, task)
    _augmentation(chooser, True, samples)


def _loss(chooser: Chooser, task: TaskSpec) -> None:
    if task.loss is not None:
        chooser.pick("loss.name", *task.loss)


def _take_over(chooser: Chooser, start: Signature) -> None:
    """Choose the network of the weights to start from, and its options where the user gave none."""
    reason = message("choice.same_as_source", "that of {source}", source=starting_weights(chooser))
    chooser.pick("model.name", start.model, reason)
    if start.backbone:
        chooser.pick("detect.backbone", start.backbone, reason)
    for option, value in start.options.items():
        own = f"detect.{option}"  # a detector's width is not that of a dense layer
        key = own if start.task_spec.on_canvas and own in keys() else f"model.{option}"
        if chooser[key] == keys()[key].default:
            chooser.set(key, value, reason)


def _network(chooser: Chooser, images: bool, samples: int) -> None:
    side, colour = chooser["data.size"] or 0, chooser["data.colour"] == "rgb"
    if not images:
        name, why = "mlp", message("choice.network.table", "rows of a table")
    elif side <= 16:
        name, why = "small-cnn", message("choice.network.images", "images of {side} px", side=side)
    elif side <= 40 and not colour:
        name, why = "lenet", message("choice.network.grey_images", "grey images of {side} px", side=side)
    else:
        name, why = (
            ("resnet20" if side <= 80 else "resnet18"),
            message("choice.network.images", "images of {side} px", side=side),
        )
    chooser.pick("model.name", name, why)
    if chooser["model.name"] == "mlp" and not images and samples >= 5_000:
        chooser.pick(
            "model.width",
            (256, 128),
            message("choice.width", "{samples:,} training samples are enough for two hidden layers", samples=samples),
        )


def _detector(chooser: Chooser, task: TaskSpec, samples: int, device: torch.device) -> None:
    """Network, epochs and update rule of a detector, which has its own losses."""
    if task.network is not None:
        chooser.pick("model.name", *task.network)
    detector = find_detector(chooser["model.name"])
    if detector.light_backbone and device.type == "cpu":
        _lighten(chooser, detector.light_backbone, detector.light_width)
    if is_pretrained(starting_weights(chooser)):
        choose_detector_fine_tuning(chooser, samples, device)
    _detector_epochs(chooser, detector, samples)
    _detector_optimizer(chooser, detector)
    usual = message("choice.usual_for_detectors", "usual for detectors")
    if detector.per_region:
        why = message("choice.augment.regions", "separately cropped regions vary enough")
        chooser.pick("augment.preset", "none", why)
        mirrored = message("choice.augment.mirrored_regions", "regions are mirrored with the image")
        chooser.pick("augment.flip", "lr", mirrored)
        usual = message("choice.nms.regions", "regions of one object differ a lot")
    why = message("choice.augment.objects", "moderate variation; objects are transformed with the image")
    chooser.pick("augment.preset", "light", why)
    if detector.nms_iou == 1:
        usual = message("choice.nms.none", "trained to find each object once: nothing is suppressed")
    chooser.pick("detect.overlap", detector.nms_iou, usual)


def _detector_epochs(chooser: Chooser, detector: DetectorSpec, samples: int) -> None:
    """Batch size, and as many epochs as show the detector about its usual number of images."""
    two_stages = detector.two_stages
    batch = detector.batch_size if samples >= 256 else 16
    batch = batch if samples >= 64 and not two_stages else 8
    why = message("choice.batch_size.images", "{samples:,} training images", samples=samples)
    if two_stages:
        why = message("choice.batch_size.two_stage", "two-stage detectors learn faster from small batches")
    chooser.pick("batch_size", min(batch, samples), why)
    seen = detector.training_images * max(1.0, 320 / (chooser["data.size"] or 320))
    epochs = max(10, min(120, round(seen / max(samples, 1))))
    if starting_weights(chooser):
        text = "fine-tuning: a third of the {epochs} used from random initialisation"
        fewer = max(5, round(epochs * FINE_TUNING_EPOCHS))
        chooser.pick("epochs", fewer, message("choice.epochs.fine_tuning", text, epochs=epochs))
    text = "{samples:,} training images, about {seen:,} seen in all"
    chooser.pick("epochs", epochs, message("choice.epochs.images", text, samples=samples, seen=epochs * samples))


def _detector_optimizer(chooser: Chooser, detector: DetectorSpec) -> None:
    """Update rule, learning rate, weight decay, schedule and clipping of the gradient."""
    rule = "adamw" if starting_weights(chooser) else detector.optimizer
    robust = message("choice.optimiser.detector", "robust for detectors")
    chooser.pick("optim.name", rule, robust if rule == "adamw" else FEWER_IMAGES)
    rule = chooser["optim.name"]
    optimizer = find_optimizer(rule)
    lr = optimizer.lr
    if optimizer.like_adam:
        lr = (detector.lr or DETECTOR_LR / (3 if detector.two_stages else 1)) * optimizer.lr_ratio
    chooser.pick("optim.lr", lr, message("choice.lr.detector", "usual for {optimiser} and a detector", optimiser=rule))
    usual = message("choice.usual_for_detectors", "usual for detectors")
    chooser.pick("optim.weight_decay", 0.02 if optimizer.strong_decay else 5e-4, usual)
    chooser.pick("schedule.name", "one-cycle", ONE_CYCLE)
    if detector.clip_norm is not None:
        why = message("choice.clip_norm.transformer", "attention has rare large gradients early in training")
        chooser.pick("optim.clip_norm", detector.clip_norm, why)


def _lighten(chooser: Chooser, backbone: str, width: int | None) -> None:
    """Choose a small backbone and a narrow pyramid unless trained weights or a backbone are given."""
    packaged = (starting_weights(chooser) or "") in PACKAGED
    if chooser["model.pretrained"] or (not packaged and (starting_weights(chooser) or chooser["detect.backbone"])):
        return
    why = message("choice.backbone.no_gpu", "without a GPU, more images help more than a larger network")
    chooser.pick("detect.backbone", backbone, why)
    if width and chooser["detect.neck"] != "none":
        chooser.pick("detect.width", width, why)


def _budget(chooser: Chooser, images: bool, residual: bool, samples: int, full: bool = False, cost: int = 1) -> None:
    """Batch size and epochs. full: as many as from random initialisation, also with weights to start from.

    cost: of a sample, in small images.
    """
    batch = 128 if samples >= 10_000 else 64 if samples >= 2_000 else 32
    chooser.pick(
        "batch_size",
        min(batch, samples),
        message("choice.batch_size.samples", "{samples:,} training samples", samples=samples),
    )
    min_epochs = 30 if residual else 10
    epochs = max(min_epochs, min(60, round(TRAINING_SAMPLES / max(samples * cost, 1)))) if images else 60
    if starting_weights(chooser) and not full:
        fewer = max(5, round(epochs * FINE_TUNING_EPOCHS))
        chooser.pick(
            "epochs",
            fewer,
            message(
                "choice.epochs.fine_tuning",
                "fine-tuning: a third of the {epochs} used from random initialisation",
                epochs=epochs,
            ),
        )
    chooser.pick(
        "epochs",
        epochs,
        message(
            "choice.epochs.samples",
            "{samples:,} training samples, about {seen:,} seen in all",
            samples=samples,
            seen=epochs * samples,
        ),
    )


def _update_rule(chooser: Chooser, images: bool, residual: bool, convex: bool) -> None:
    if is_own(chooser["optim.name"]):  # its settings are its own, see `choose_for_own`
        chooser.pick("schedule.name", "one-cycle", ONE_CYCLE)
        return
    if convex:
        chooser.pick("optim.name", "momentum", CONVEX)
    elif residual:
        chooser.pick(
            "optim.name", "nesterov", message("choice.optimiser.residual", "a residual network with batch norm")
        )
    else:
        chooser.pick("optim.name", "adamw", message("choice.optimiser.robust", "robust for this network"))
    rule = chooser["optim.name"]
    optimizer = find_optimizer(rule)
    batch = chooser["batch_size"]
    if residual and optimizer.divisor == "none":
        lr = 0.1 * min(1.0, batch / 128)
        why = message("choice.lr.by_batch", "0.1 for a batch of 128, scaled to {batch_size}", batch_size=batch)
    else:
        lr = 3e-3 if images and optimizer.like_adam else optimizer.lr
        why = message("choice.lr.usual", "usual for {optimiser}", optimiser=rule)
    if starting_weights(chooser) and not trains_only_head(chooser["transfer.freeze"]):
        why = message(
            "choice.lr.fine_tuning", "fine-tuning: half of {lr:g}, to keep the pretrained weights intact", lr=lr
        )
        lr *= FINE_TUNING_LR
    chooser.pick("optim.lr", lr, why)
    decay = 0.0 if convex else 5e-4 if residual else 1e-2 if optimizer.strong_decay else 1e-4
    why = message("choice.weight_decay.usual", "usual for this network and optimiser")
    chooser.pick("optim.weight_decay", decay, why if decay else CONVEX)
    chooser.pick("schedule.name", "one-cycle", ONE_CYCLE)


def _clip_norm(chooser: Chooser, samples: int) -> None:
    """Bound the gradient where a training has few updates, among which one large gradient undoes many."""
    rule, steps = chooser["optim.name"], chooser["epochs"] * math.ceil(samples / chooser["batch_size"])
    if steps <= MAX_CLIPPED_STEPS and not is_own(rule) and find_optimizer(rule).divisor == "none":
        text = "{steps:,} updates in all: one large gradient would undo many of them"
        chooser.pick("optim.clip_norm", FEW_STEPS_CLIP_NORM, message("choice.clip_norm.few_steps", text, steps=steps))


def _augmentation(chooser: Chooser, augmented: bool, samples: int, clips: bool = False) -> None:
    if not augmented:
        chooser.pick("augment.preset", "none", message("choice.augment.none", "not images, or a convex problem"))
        return
    small_grey = (chooser["data.size"] or 0) <= 40 and chooser["data.colour"] == "grey"
    if chooser["augment.preset"] is None and small_grey and not clips and samples < SMALL_SET:
        why = message(
            "choice.augment.few_samples",
            "only {samples:,} samples: small distortions make up for missing ones",
            samples=samples,
        )
        for key, value in (("rotate", 10.0), ("scale", 0.1), ("shear", 10.0)):
            chooser.pick(f"augment.{key}", value, why)
    chooser.pick(
        "augment.preset",
        "light",
        message("choice.augment.light", "moderate variation that keeps the class of most images"),
    )
