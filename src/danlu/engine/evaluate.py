"""One pass over a split without gradients: the raw outputs of a network, and the targets beside them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from danlu.data.batches import Batches
from danlu.tasks.task import Evaluation, Task


def evaluate(
    fabric: Fabric,
    task: Task,
    model: nn.Module,
    batches: Batches,
    views: Callable[[Tensor], list[Tensor]] | None = None,
) -> Evaluation:
    """views: inputs -> versions of them whose outputs are averaged. The result is whole, on the CPU, everywhere."""
    training = model.training
    model.eval()
    outputs, targets, index = [], [], []
    with torch.no_grad(), fabric.autocast():
        for batch in batches.epoch():
            if views is None:
                said = model(batch.inputs)
            else:
                said = task.combine([model(view).float() for view in views(batch.inputs)])
            counted = len(batch.index) if batch.weight > 0 else 0
            outputs.append(said[:counted].float())
            targets.append(batch.targets[:counted])
            index.append(batch.index[:counted])
    model.train(training)
    parts = [_gathered(fabric, torch.cat(part)) for part in (outputs, targets, index)]
    return Evaluation(*(part.cpu() for part in parts))


def _gathered(fabric: Fabric, rows: Tensor) -> Tensor:
    """The rows of all processes, rank after rank; each may have another number of them."""
    if fabric.world_size == 1:
        return rows
    counts = fabric.all_gather(torch.tensor([len(rows)], device=rows.device)).flatten().tolist()
    padded = rows.new_zeros(max(counts), *rows.shape[1:])
    padded[: len(rows)] = rows
    everyone = fabric.all_gather(padded)
    return torch.cat([everyone[rank, :count] for rank, count in enumerate(counts)])
