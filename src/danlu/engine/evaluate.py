"""Run a model over a split without gradients; return outputs and targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from danlu.data.batches import Batches
from danlu.progress.stages import Stage
from danlu.tasks.task import Evaluation, Task, ViewFunction

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def evaluate(
    fabric: Fabric,
    task: Task,
    model: nn.Module,
    batches: Batches,
    views: ViewFunction | None = None,
    shown: Stage | None = None,
) -> Evaluation:
    """Evaluate `model` on all `batches`; every process returns the outputs of all samples, on the CPU.

    views: inputs -> versions of them for test-time augmentation; see `Task.predict`. shown: counts the samples.
    """
    modes = {module: module.training for module in model.modules()}  # a wrapper's may differ from the module's
    model.eval()
    columns: tuple[list[Any], ...] = ([], [], [])  # outputs, targets, index, one entry per batch
    with torch.no_grad(), fabric.autocast():
        for batch in batches.epoch():
            counted = len(batch.index) if batch.weight > 0 else 0
            for column, part in zip(columns, (*task.predict(model, batch, views), batch.index)):
                column.append(part[:counted])
            if shown is not None:
                shown.advance(counted)
    for module, training in modes.items():
        module.training = training
    return Evaluation(*(_gathered(fabric, column) for column in columns))


def _gathered(fabric: Fabric, parts: list[Any]) -> Any:
    """Concatenate the rows of all batches and processes in rank order; their numbers may differ."""
    if isinstance(parts[0], Tensor):
        return _gathered_rows(fabric, torch.cat(parts)).cpu()
    mine = [row for part in parts for row in part]
    if fabric.world_size == 1:
        return mine
    everyone: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(everyone, mine)
    return [row for rows in everyone for row in rows]


def _gathered_rows(fabric: Fabric, rows: Tensor) -> Tensor:
    if fabric.world_size == 1:
        return rows
    lengths: Any = fabric.all_gather(torch.tensor([len(rows)], device=rows.device))
    counts = lengths.flatten().tolist()
    padded = rows.new_zeros(max(counts), *rows.shape[1:])
    padded[: len(rows)] = rows
    everyone: Any = fabric.all_gather(padded)
    return torch.cat([everyone[rank, :count] for rank, count in enumerate(counts)])
