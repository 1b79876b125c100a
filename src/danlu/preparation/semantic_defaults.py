"""Values for open settings of semantic segmentation: network, epochs and update rule."""

from __future__ import annotations

import torch

from danlu.learning.optim import find_optimizer
from danlu.message import message
from danlu.models.packaged import PACKAGED
from danlu.preparation.choices import Chooser
from danlu.preparation.pretrained import FEWER_IMAGES, ONE_CYCLE, PRETRAINED_SEGMENTER, SEGMENTER, is_pretrained
from danlu.segmentation.segmenter_table import SegmenterSpec, find_segmenter
from danlu.task_spec import TaskSpec

SIDE = 256  # pixels, of the images in `SegmenterSpec.training_images`
SMALL_SET = 1_000  # training images; with fewer, small batches give enough steps
MIN_EPOCHS, MAX_EPOCHS = 8, 100
FINE_TUNING_LR = 2e-3  # of adamw in the head
FINE_TUNING_IMAGES = 3_600  # over all epochs, on a CPU
LAYER_DECAY = 0.6


def choose_semantic(chooser: Chooser, task: TaskSpec, samples: int, device: torch.device) -> None:
    """Choose network, epochs, update rule, loss and augmentation, for `samples` training images."""
    init = chooser["transfer.init"]
    fine_tuning = is_pretrained(init)
    if fine_tuning:
        chooser.pick(
            "model.name", PRETRAINED_SEGMENTER, message("choice.network.pretrained_fpn", "a pretrained backbone")
        )
    chooser.pick("model.name", SEGMENTER, message("choice.network.unet", "fine contours, trained from scratch"))
    network = find_segmenter(chooser["model.name"])
    from_scratch = init in (None, "none")
    if device.type == "cpu" and from_scratch:
        text = "without a GPU: as fast as at half the resolution, but every pixel is predicted"
        why = message("choice.fold_pixels.light", text)
        for option, value in network.light.items():
            chooser.pick(f"detect.{option}", value, why)
    batch = 16 if samples >= SMALL_SET else 8
    why = message("choice.batch_size.images", "{samples:,} training images", samples=samples)
    chooser.pick("batch_size", min(batch, samples), why)
    _epochs(chooser, network, samples, device, fine_tuning)
    if fine_tuning:
        _start(chooser, str(init))
    usual = message("choice.usual_for_segmentation", "usual for segmentation")
    rule = network.optimizer if from_scratch else "adamw"
    chooser.pick("optim.name", rule, usual if rule == "adamw" else FEWER_IMAGES)
    rule = chooser["optim.name"]
    optimizer = find_optimizer(rule)
    lr = network.lr * optimizer.lr_ratio
    if not from_scratch and not fine_tuning:
        lr /= 2
    chooser.pick("optim.lr", lr, message("choice.lr.usual", "usual for {optimiser}", optimiser=rule))
    chooser.pick("optim.weight_decay", 0.02 if optimizer.strong_decay else 5e-4, usual)
    chooser.pick("schedule.name", "one-cycle", ONE_CYCLE)
    if task.loss is not None:
        chooser.pick("loss.name", *task.loss)
    if chooser["loss.name"] == "cross-entropy" and from_scratch:
        text = "most pixels are background; rare classes count more, and less than in full balance"
        chooser.pick("loss.class_weights", "root", message("choice.class_weights.root", text))
    why = message("choice.augment.maps", "moderate variation; label maps are transformed with the image")
    chooser.pick("augment.preset", "light", why)


def _epochs(chooser: Chooser, network: SegmenterSpec, samples: int, device: torch.device, fine_tuning: bool) -> None:
    seen = float(FINE_TUNING_IMAGES if fine_tuning else network.training_images)
    ratio = SIDE / (chooser["data.size"] or SIDE)
    seen *= min(1.0, ratio) ** 2 if device.type == "cpu" else 1.0  # the time that an image takes
    epochs = max(MIN_EPOCHS, min(MAX_EPOCHS, round(seen / max(samples, 1))))
    if not fine_tuning and chooser["transfer.init"] not in (None, "none"):
        epochs = max(5, epochs // 3)
    text = "{samples:,} training images, about {seen:,} seen in all"
    chooser.pick("epochs", epochs, message("choice.epochs.images", text, samples=samples, seen=epochs * samples))


def _start(chooser: Chooser, init: str) -> None:
    """Settings of a network whose backbone starts from ImageNet weights, and whose other layers are random."""
    if chooser["optim.name"] in (None, "adamw"):
        why = message("choice.lr.head", "of the head; earlier layers learn more slowly")
        chooser.pick("optim.lr", FINE_TUNING_LR, why)
    weights = PACKAGED.get(init)
    if weights is not None and chooser["transfer.freeze"] is None:
        chooser.keep("transfer.freeze", tuple(f"backbone.network.{name}" for name in weights.early_layers))
    if chooser["transfer.layer_decay"] == 1.0:
        chooser.keep("transfer.layer_decay", LAYER_DECAY)
    text = "batch norm keeps the source's statistics; those of few images are noise"
    chooser.pick("transfer.freeze_norm", True, message("choice.freeze_norm", text))
