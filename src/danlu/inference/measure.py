"""A trained network on one part of prepared data: outputs and metrics, in the arithmetic it was trained in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from danlu.data.columns import ColumnEncoder, TargetScaler
from danlu.data.inputs import frame_of
from danlu.engine.device import make_fabric
from danlu.engine.evaluate import evaluate
from danlu.inference.trained_run import TrainedRun
from danlu.preparation.assemble import evaluation_batches, evaluation_views, make_task
from danlu.preparation.prepared import Prepared
from danlu.run.signature import Signature


def measure(run: TrainedRun, prepared: Prepared, part: str) -> dict[str, Any]:
    """{"metrics", "evaluation"} of the run's network on prepared.split.<part>, targets on the scale of `prepared`.

    Each member of an ensemble sees the samples in its own encoding; their predictions are averaged.
    """
    config = prepared.config
    fabric = make_fabric(prepared.device, 1, config.precision or "fp32")
    fabric.launch()
    task = make_task(prepared)
    index, views = getattr(prepared.split, part), evaluation_views(config)
    said = []
    for signature, network in run.members_on(fabric.device, bool(config.channels_last)):
        batches = evaluation_batches(_encoded(prepared, signature), index, fabric)
        one = evaluate(fabric, task, fabric.setup(network), batches, views)
        said.append(replace(one, outputs=_rescaled(one.outputs, signature, prepared.signature)))
    evaluation = said[0]
    if len(said) > 1:
        evaluation = replace(evaluation, outputs=task.combine([one.outputs for one in said]))
    return {"metrics": task.metrics(evaluation), "evaluation": evaluation}


def _encoded(prepared: Prepared, signature: Signature) -> Prepared:
    """The same samples as another network takes them: by its columns, its mean and its standard deviation."""
    if signature.columns in (None, prepared.signature.columns):
        return replace(prepared, signature=signature)
    columns = ColumnEncoder.from_dict(signature.columns or {}).transform(frame_of(prepared.dataset))
    return replace(prepared, signature=signature, columns=columns)


def _rescaled(outputs: Tensor, own: Signature, wanted: Signature) -> Tensor:
    """Regression outputs (N, T) from the scale of one signature's targets to that of another's."""
    if own.target_scale == wanted.target_scale:
        return outputs
    in_units = TargetScaler.from_dict(own.target_scale or {}).inverse(outputs)
    return TargetScaler.from_dict(wanted.target_scale or {}).transform(in_units)
