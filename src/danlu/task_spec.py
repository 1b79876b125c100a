"""The table of tasks: every fact about a task that the rest of danlu needs, on one entry.

This file is on a low floor, so that reading data and checking settings can use it. The class that computes losses
and metrics for a task is in `tasks/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from danlu.message import Message, message

TaskName = Literal["classify", "regress", "detect", "segment"]
ObjectTask = Literal["detect", "segment"]  # tasks whose targets are objects in images
Targets = Literal["class", "numbers", "objects"]
Direction = Literal["high", "low"]

NUMERIC_TARGET = message("choice.task.regress", "a numeric target")


@dataclass(frozen=True)
class TaskSpec:
    """Facts about one task.

    targets: type of one sample's target. "class": an index into the class names; "numbers": one float per target
        column; "objects": boxes with labels, and masks where `masks` is set.
    reason: why data of this type get this task, for the list of choices.
    metrics: names of the metrics that every evaluation has, as in the JSON output.
    monitor: the one of them that selects the best weights on the validation set and heads the report.
    better: whether a high or a low value of `monitor` is better.
    loss: name and reason of the default loss; None where the network computes its own.
    network: name and reason of the default network; None where it depends on the inputs.
    """

    name: TaskName
    targets: Targets
    reason: Message
    metrics: tuple[str, ...]
    monitor: str
    better: Direction = "high"
    masks: bool = False
    loss: tuple[str, Message] | None = None
    network: tuple[str, Message] | None = None

    @property
    def finds_objects(self) -> bool:
        """Predictions are objects in images: the network is a detector, the targets are annotations."""
        return self.targets == "objects"

    @property
    def has_classes(self) -> bool:
        """Targets refer to a list of class names."""
        return self.targets != "numbers"


TASKS: dict[TaskName, TaskSpec] = {
    spec.name: spec
    for spec in (
        TaskSpec(
            "classify",
            targets="class",
            reason=message("choice.task.classify", "classes"),
            metrics=("loss", "accuracy", "top5", "f1", "ece"),
            monitor="accuracy",
            loss=("cross-entropy", message("choice.loss.classes", "exclusive classes")),
        ),
        TaskSpec(
            "regress",
            targets="numbers",
            reason=NUMERIC_TARGET,
            metrics=("loss", "r2", "mae", "rmse"),
            monitor="r2",
            loss=("squared", NUMERIC_TARGET),
        ),
        TaskSpec(
            "detect",
            targets="objects",
            reason=message("choice.task.detect", "boxes around objects"),
            metrics=("loss", "mAP", "mAP50"),
            monitor="mAP",
            network=("yolo-nano", message("choice.network.anchor_free", "a fast anchor-free detector")),
        ),
        TaskSpec(
            "segment",
            targets="objects",
            reason=message("choice.task.segment", "outlines of objects"),
            metrics=("loss", "mAP", "mAP50", "mask_mAP", "mask_mAP50"),
            monitor="mask_mAP",
            masks=True,
            network=("mask-rcnn", message("choice.network.masks", "predicts masks")),
        ),
    )
}
OBJECT_TASKS = frozenset(name for name, spec in TASKS.items() if spec.finds_objects)


def object_task(masks: bool) -> ObjectTask:
    """Name of the task that finds objects with masks, or with boxes only."""
    return "segment" if masks else "detect"
