"""Refusal of a network that is for another task; needs no data."""

from __future__ import annotations

from danlu.detection.detector_table import DETECTORS
from danlu.message import Message, message
from danlu.models.network_table import MODELS
from danlu.refuse import refusal
from danlu.segmentation.segmenter_table import SEGMENTERS
from danlu.task_spec import TASKS, TaskName, TaskSpec


def check_network_task(name: str | None, task: TaskName | None) -> None:
    """Refuse a network that is known, but for other tasks than `task`, with those that fit."""
    if name is None or task is None:
        return
    spec, on_canvas = TASKS[task], name in DETECTORS or name in SEGMENTERS
    classifies = not on_canvas and (name in MODELS or name.startswith(("timm/", "torchvision/")))
    fits = name in suited(spec) if spec.on_canvas else not on_canvas
    if fits or not (on_canvas or classifies):
        return
    wanted = message("preparation.wanted.network_of_task", "a network for --task {task}", task=task)
    if not spec.on_canvas:
        raise refusal("--model", wanted, name, do=_its_tasks(name))
    text = "a network for --task {task} ({suited})"
    own = [one for one in suited(spec) if "/" not in one]  # torchvision's would make it long
    wanted = message("preparation.wanted.network_of_task_suited", text, task=task, suited=own)
    raise refusal("--model", wanted, name, do=_as_backbone(name, spec) if classifies else _its_tasks(name))


def suited(task: TaskSpec) -> list[str]:
    """Names of the networks for a task whose outputs lie on a canvas; of one in which each image has one output, []."""
    if task.labels_pixels:
        return [*SEGMENTERS]
    if not task.finds_objects:
        return []
    return [name for name, one in DETECTORS.items() if (one.masks, one.poses) == (task.masks, task.poses)]


def _its_tasks(name: str) -> Message:
    tasks = [f"--task {task}" for task, spec in TASKS.items() if name in suited(spec)]
    return message("preparation.do.its_tasks", "{name} is for {tasks}", name=name, tasks=tasks)


def _as_backbone(name: str, task: TaskSpec) -> Message:
    usual = task.network[0] if task.network else suited(task)[0]
    text = "it can be the backbone: --model {usual} --backbone {name}"
    return message("preparation.do.as_backbone", text, usual=usual, name=name)
