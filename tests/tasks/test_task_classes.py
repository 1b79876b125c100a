"""Every task of the table has a class that agrees with its facts."""

from typing import get_args

import pytest
import torch

from danlu.config import Config, with_values
from danlu.data.batches import Batch
from danlu.data.canvas import letterbox
from danlu.data.label_maps import LabelMap, MapSet
from danlu.data.object_set import ObjectSet
from danlu.data.sources.named import scenes
from danlu.data.sources.named.shapes import CLASSES, draw
from danlu.detection.detector_table import DETECTORS
from danlu.learning.losses import LOSSES
from danlu.objects import Detections
from danlu.pose.solids import solids
from danlu.run.quantities import METRICS
from danlu.task_spec import TASKS, TaskName, object_task
from danlu.tasks.detect import ImageDetections
from danlu.tasks.task import Evaluation, Task, TaskData
from danlu.tasks.task_classes import BUILDERS, build_task


def test_every_task_has_an_entry_and_a_class():
    assert set(TASKS) == set(BUILDERS) == set(get_args(TaskName))
    assert all(spec.name == name for name, spec in TASKS.items())


@pytest.mark.parametrize("spec", TASKS.values(), ids=list(TASKS))
def test_the_facts_of_a_task_name_things_that_exist(spec):
    assert spec.monitor in spec.metrics
    assert all(name in METRICS for name in spec.metrics)
    assert METRICS[spec.monitor].better == spec.better
    if spec.loss is not None:
        assert spec.loss[0] in LOSSES
    if spec.finds_objects:
        assert spec.network is not None
        assert DETECTORS[spec.network[0]].masks >= spec.masks


def test_the_task_of_objects_follows_from_masks():
    assert [TASKS[object_task(masks)].masks for masks in (False, True)] == [False, True]
    assert all(TASKS[object_task(masks)].finds_objects for masks in (False, True))


def _task(name: TaskName) -> tuple[Task, Evaluation]:
    """A task on made-up data, and an evaluation of four samples."""
    spec = TASKS[name]
    values = {"loss.name": spec.loss[0]} if spec.loss else {"detect.overlap": 0.5}
    config = with_values(Config(), values)
    index = torch.arange(4)
    if spec.targets == "objects":
        annotations = scenes.draw(4, 64)[1] if spec.poses else draw(4)[1]
        models = solids() if spec.poses else ()
        placements = [letterbox(one.size, 128) for one in annotations]
        objects = ObjectSet(annotations, placements, spec.masks, models)
        task = build_task(name, TaskData(config, CLASSES, objects=objects))
        masks = [] if spec.masks else None
        nothing = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long(), masks)
        return task, Evaluation([ImageDetections(nothing, 1.0)] * 4, [task.truth(i) for i in range(4)], index)
    if spec.targets == "map":
        _, annotations = draw(4)
        maps = MapSet(
            [LabelMap(one.size, one) for one in annotations], [letterbox(one.size, 128) for one in annotations]
        )
        task = build_task(name, TaskData(config, ("ground", *CLASSES), maps=maps))
        inputs, rows = torch.zeros(4, 3, 128, 128), torch.arange(4)
        batch = Batch(inputs, maps.index_select(0, rows), rows, 4, 1.0)
        return task, Evaluation(*task.predict(torch.nn.Conv2d(3, 4, 1), batch, None), index)
    if spec.targets == "numbers":
        return build_task(name, TaskData(config)), Evaluation(torch.randn(4, 1), torch.randn(4, 1), index)
    if spec.targets == "labels":
        task = build_task(name, TaskData(config, ("a", "b", "c")))
        return task, Evaluation(torch.randn(4, 3), torch.tensor([[0.0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1]]), index)
    if spec.targets == "none":  # rows of loss, baseline, width of the embedding, embedding and features
        rows = torch.cat([torch.rand(4, 2), torch.full((4, 1), 3.0), torch.randn(4, 8)], 1)
        return build_task(name, TaskData(config)), Evaluation(rows, torch.zeros(4, dtype=torch.long), index)
    task = build_task(name, TaskData(config, ("a", "b", "c"), torch.tensor([2, 1, 1])))
    return task, Evaluation(torch.randn(4, 3), torch.tensor([0, 1, 2, 0]), index)


@pytest.mark.parametrize("name", TASKS)
def test_an_evaluation_has_the_metrics_of_its_task(name):
    task, evaluation = _task(name)
    assert task.spec is TASKS[name]
    found = task.metrics(evaluation)
    assert next(iter(found)) == "loss"
    assert set(TASKS[name].metrics) <= set(found)
