"""A trained network on one part of prepared data: outputs and metrics, in the arithmetic it was trained in."""

from __future__ import annotations

from typing import Any

import torch

from danlu.assemble import evaluation_batches, evaluation_views, make_task
from danlu.engine.device import make_fabric
from danlu.engine.evaluate import evaluate
from danlu.prepare import Prepared
from danlu.verbs.trained import TrainedRun


def measure(run: TrainedRun, prepared: Prepared, part: str) -> dict[str, Any]:
    """{"metrics", "evaluation"} of the run's network on prepared.split.<part>."""
    config = prepared.config
    fabric = make_fabric(prepared.device, 1, config.precision or "fp32")
    fabric.launch()
    module = run.model
    if config.channels_last:
        module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model = fabric.setup(module)
    task = make_task(prepared)
    batches = evaluation_batches(prepared, getattr(prepared.split, part), fabric)
    evaluation = evaluate(fabric, task, model, batches, evaluation_views(config))
    return {"metrics": task.metrics(evaluation), "evaluation": evaluation}
