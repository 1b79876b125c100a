"""The table of task classes, by the names of `task_spec.TASKS`."""

from __future__ import annotations

from collections.abc import Callable

from danlu.task_spec import TaskName
from danlu.tasks.classify import Classify
from danlu.tasks.detect import Detect
from danlu.tasks.multilabel import MultiLabel
from danlu.tasks.pose import Pose
from danlu.tasks.pretrain import Pretrain
from danlu.tasks.regress import Regress
from danlu.tasks.semantic import Semantic
from danlu.tasks.task import Task, TaskData

BUILDERS: dict[TaskName, Callable[[TaskData], Task]] = {
    "classify": Classify.build,
    "multilabel": MultiLabel.build,
    "regress": Regress.build,
    "detect": Detect.build,
    "segment": Detect.build,
    "pose": Pose.build,
    "pretrain": Pretrain.build,
    "semantic": Semantic.build,
}


def build_task(name: TaskName, data: TaskData) -> Task:
    """Create the task object that the training loop uses."""
    return BUILDERS[name](data)
