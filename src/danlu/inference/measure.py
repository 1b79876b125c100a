"""Outputs and metrics of a trained network on one split, in the precision it was trained in."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from danlu.data.columns import ColumnEncoder, TargetScaler
from danlu.data.inputs import frame_of
from danlu.engine.device import make_fabric
from danlu.engine.evaluate import evaluate
from danlu.inference.trained_network import TrainedNetwork
from danlu.message import translated
from danlu.preparation.assemble import evaluation_batches, evaluation_views, make_task
from danlu.preparation.prepared import Prepared
from danlu.progress.stages import stage
from danlu.run.names import SPLIT_WORDS
from danlu.run.signature import Signature
from danlu.tasks.task import Evaluation, Task


@dataclass(frozen=True)
class Measurement:
    """Evaluation of one split.

    metrics: name -> number, NaN where undefined. evaluation: outputs and targets of every sample. task: it was scored
    by, with the thresholds or the temperature of the weights.
    """

    split: str
    metrics: dict[str, float]
    evaluation: Evaluation
    task: Task


def measure(trained: TrainedNetwork, prepared: Prepared, split: str) -> Measurement:
    """Evaluate on `prepared.split.<split>`, targets on the scale of `prepared`.

    The members of an ensemble each take the samples in their own encoding; their outputs are combined by the task.
    """
    config = prepared.config
    fabric = make_fabric(prepared.device, 1, config.precision)
    fabric.launch()
    kept = trained.signature
    outer = replace(prepared.signature, thresholds=kept.thresholds, temperature=kept.temperature)
    prepared = replace(prepared, signature=outer)
    task = make_task(prepared)
    index, views = getattr(prepared.split, split), evaluation_views(config)
    each = []
    for signature, model in trained.members_on(fabric.device, config.channels_last):
        own = _encoded_for(signature, prepared)
        scorer = task if signature is kept else make_task(own)
        batches = evaluation_batches(own, index, fabric)
        text = translated("stage.evaluating", "evaluating on the {split} set", split=SPLIT_WORDS[split])
        with stage(text, len(index)) as shown:
            one = evaluate(fabric, scorer, fabric.setup(model), batches, views, shown)
        each.append(replace(one, outputs=_rescaled(one.outputs, signature, prepared.signature)))
    evaluation = each[0]
    if len(each) > 1:
        evaluation = replace(evaluation, outputs=task.combine([one.outputs for one in each]))
    return Measurement(split, task.metrics(evaluation), evaluation, task)


def _encoded_for(signature: Signature, prepared: Prepared) -> Prepared:
    """The same samples with the columns, mean and standard deviation of another network."""
    if signature.columns in (None, prepared.signature.columns):
        return replace(prepared, signature=signature)
    columns = ColumnEncoder.from_dict(signature.columns or {}).transform(frame_of(prepared.dataset))
    return replace(prepared, signature=signature, columns=columns)


def _rescaled(outputs: Tensor, own: Signature, wanted: Signature) -> Tensor:
    """Outputs from the temperature of `own` to that of `wanted`; regression outputs (N, T) between target scales."""
    if own.temperature != wanted.temperature:
        return outputs * (wanted.temperature / own.temperature)
    if own.target_scale == wanted.target_scale:
        return outputs
    in_units = TargetScaler.from_dict(own.target_scale or {}).inverse(outputs)
    return TargetScaler.from_dict(wanted.target_scale or {}).transform(in_units)
