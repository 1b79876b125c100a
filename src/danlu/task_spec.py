"""The table of tasks: every fact about a task that the rest of danlu needs, on one entry.

This file is on a low floor, so that reading data and checking settings can use it. The class that computes losses
and metrics for a task is in `tasks/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from danlu.message import Message, message

TaskName = Literal["classify", "multilabel", "regress", "detect", "segment", "pose", "pretrain", "semantic"]
ObjectTask = Literal["detect", "segment", "pose"]  # tasks whose targets are objects in images
Targets = Literal["class", "labels", "numbers", "objects", "none", "map"]
Direction = Literal["high", "low"]

NUMERIC_TARGET = message("choice.task.regress", "a numeric target")


@dataclass(frozen=True)
class TaskSpec:
    """Facts about one task.

    targets: type of one sample's target. "class": an index into the class names; "labels": 0 or 1 for each class
        name; "numbers": one float per target column; "objects": boxes with labels, masks where `masks` is set, and
        poses in space where `poses` is set; "none": the network learns from the inputs
        alone (class labels, where there are any, only measure progress); "map": a class for each pixel.
    reason: why data of this type get this task, for the list of choices.
    goal: what a network learns, with the number of {classes} or the names of {columns}.
    metrics: names of the metrics that every evaluation has, as in the JSON output.
    shown: those of them that each line of the progress of a training has.
    monitor: the one of them that selects the best weights on the validation set and heads the report.
    better: whether a high or a low value of `monitor` is better.
    loss: name and reason of the default loss; None if the network computes its own.
    network: name and reason of the default network; None if it depends on the inputs.
    keeps_last: the last weights are the best ones; validation metrics choose no epoch.
    verb: command that trains it.
    """

    name: TaskName
    targets: Targets
    reason: Message
    goal: Message
    metrics: tuple[str, ...]
    shown: tuple[str, ...]
    monitor: str
    better: Direction = "high"
    masks: bool = False
    poses: bool = False
    loss: tuple[str, Message] | None = None
    network: tuple[str, Message] | None = None
    keeps_last: bool = False
    verb: str = "train"

    @property
    def finds_objects(self) -> bool:
        """Predictions are objects in images: the network is a detector, the targets are annotations."""
        return self.targets == "objects"

    @property
    def labels_pixels(self) -> bool:
        """Predictions are a class for each pixel: the targets are label maps."""
        return self.targets == "map"

    @property
    def on_canvas(self) -> bool:
        """The whole image is resized onto a canvas, and targets and predictions are mapped to it and back."""
        return self.targets in ("objects", "map")

    @property
    def several_labels(self) -> bool:
        """A sample may have any number of labels: each class is decided by a threshold of its own."""
        return self.targets == "labels"

    def learns_from(self, other: TaskSpec) -> bool:
        """Return whether data read for the task `other` have the targets of this one, masks and poses too."""
        return (self.targets, self.masks, self.poses) == (other.targets, other.masks, other.poses)

    @property
    def has_classes(self) -> bool:
        """Targets refer to a list of class names."""
        return self.targets not in ("numbers", "none")


TASKS: dict[TaskName, TaskSpec] = {
    spec.name: spec
    for spec in (
        TaskSpec(
            "classify",
            targets="class",
            reason=message("choice.task.classify", "classes"),
            goal=message("task.goal.classify", "one of {classes} classes for each sample"),
            metrics=("loss", "accuracy", "top5", "f1", "ece"),
            shown=("loss", "accuracy"),
            monitor="accuracy",
            loss=("cross-entropy", message("choice.loss.classes", "exclusive classes")),
        ),
        TaskSpec(
            "multilabel",
            targets="labels",
            reason=message("choice.task.multilabel", "several labels per image"),
            goal=message("task.goal.multilabel", "any of {classes} {classes:label|labels} for each image"),
            metrics=("loss", "mAP", "f1", "f1_micro"),
            shown=("loss", "mAP", "f1_micro"),
            monitor="mAP",
            loss=("binary-cross-entropy", message("choice.loss.labels", "each label is present or absent")),
        ),
        TaskSpec(
            "regress",
            targets="numbers",
            reason=NUMERIC_TARGET,
            goal=message("task.goal.regress", "numbers for each sample ({columns})"),
            metrics=("loss", "r2", "mae", "rmse"),
            shown=("loss", "r2", "rmse"),
            monitor="r2",
            loss=("squared", NUMERIC_TARGET),
        ),
        TaskSpec(
            "detect",
            targets="objects",
            reason=message("choice.task.detect", "boxes around objects"),
            goal=message("task.goal.detect", "boxes around objects of {classes} {classes:class|classes}"),
            metrics=("loss", "mAP", "mAP50"),
            shown=("loss", "mAP"),
            monitor="mAP",
            network=("yolo-nano", message("choice.network.anchor_free", "a fast anchor-free detector")),
        ),
        TaskSpec(
            "segment",
            targets="objects",
            reason=message("choice.task.segment", "outlines of objects"),
            goal=message("task.goal.segment", "boxes and masks of objects of {classes} {classes:class|classes}"),
            metrics=("loss", "mAP", "mAP50", "mask_mAP", "mask_mAP50"),
            shown=("loss", "mAP", "mask_mAP"),
            monitor="mask_mAP",
            masks=True,
            network=("mask-rcnn", message("choice.network.masks", "predicts masks")),
        ),
        TaskSpec(
            "pose",
            targets="objects",
            reason=message("choice.task.pose", "poses of objects in space"),
            goal=message("task.goal.pose", "position and rotation of objects of {classes} {classes:class|classes}"),
            metrics=("loss", "add_s_01d", "auc_add", "auc_add_s"),
            shown=("loss", "add_s_01d"),
            monitor="add_s_01d",
            poses=True,
            network=("pose-crop", message("choice.network.pose", "finds objects, then estimates the pose of each")),
        ),
        TaskSpec(
            "pretrain",
            targets="none",
            reason=message("choice.task.pretrain", "images without labels"),
            goal=message("task.goal.pretrain", "features of images without labels"),
            metrics=("loss", "baseline", "std", "rank"),
            shown=("loss",),
            monitor="loss",
            better="low",
            keeps_last=True,
            verb="pretrain",
        ),
        TaskSpec(
            "semantic",
            targets="map",
            reason=message("choice.task.semantic", "a class for each pixel"),
            goal=message("task.goal.semantic", "one of {classes} classes for each pixel"),
            metrics=("loss", "mIoU", "pixel_accuracy", "class_accuracy", "fw_IoU", "dice", "boundary_IoU"),
            shown=("loss", "mIoU"),
            monitor="mIoU",
            loss=("cross-entropy", message("choice.loss.pixels", "exclusive classes of pixels")),
        ),
    )
}


def targets_of(task: TaskName | None) -> Targets | None:
    """Type of the targets of a task; None where the task is open."""
    return None if task is None else TASKS[task].targets


def label_task(several: bool) -> TaskName:
    """Name of the task of labelled samples: with any number of labels each, or with one class each."""
    return "multilabel" if several else "classify"


def object_task(masks: bool) -> ObjectTask:
    """Name of the task that finds objects with masks, or with boxes only."""
    return "segment" if masks else "detect"
