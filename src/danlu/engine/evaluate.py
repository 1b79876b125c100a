"""One pass over a split without gradients: what a network says, and what it should have said beside it."""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from danlu.data.batches import Batches
from danlu.tasks.task import Evaluation, Task, Views


def evaluate(fabric: Fabric, task: Task, model: nn.Module, batches: Batches, views: Views | None = None) -> Evaluation:
    """views: inputs -> versions of them whose outputs are averaged. The result is whole, on the CPU, everywhere."""
    modes = {module: module.training for module in model.modules()}  # a wrapper's may differ from what it wraps
    model.eval()
    columns: tuple[list[Any], ...] = ([], [], [])  # answers, targets, index: a part for each batch
    with torch.no_grad(), fabric.autocast():
        for batch in batches.epoch():
            counted = len(batch.index) if batch.weight > 0 else 0
            for column, part in zip(columns, (*task.predict(model, batch, views), batch.index)):
                column.append(part[:counted])
    for module, training in modes.items():
        module.training = training
    return Evaluation(*(_gathered(fabric, column) for column in columns))


def _gathered(fabric: Fabric, parts: list[Any]) -> Any:
    """The rows of all batches and processes, rank after rank; each may have another number of them."""
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
    counts = fabric.all_gather(torch.tensor([len(rows)], device=rows.device)).flatten().tolist()
    padded = rows.new_zeros(max(counts), *rows.shape[1:])
    padded[: len(rows)] = rows
    everyone = fabric.all_gather(padded)
    return torch.cat([everyone[rank, :count] for rank, count in enumerate(counts)])
