"""What the loop asks of a task; the loop knows none of them by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor, nn

from danlu.data.batches import Batch


@dataclass(frozen=True)
class Evaluation:
    """What a network said of a split of N samples.

    outputs: (N, K) raw, float32, or a list of N answers. targets: (N,) or (N, T), or a list of N. index: (N,) into the
    dataset.
    """

    outputs: Any
    targets: Any
    index: Tensor


Views = Callable[[Tensor], list[Tensor]]


class Task(Protocol):
    """monitor: the validation metric that decides which weights are best, and whether high or low is better."""

    name: str
    monitor: tuple[str, Literal["high", "low"]]

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Means over the batch's samples: "loss" (with gradient) and whatever else is worth following."""
        ...

    def answer(self, model: nn.Module, batch: Batch, views: Views | None) -> tuple[Any, Any]:
        """What the network says of each sample of a batch, and what it should have said: tensors or lists, row by row.

        views: inputs -> versions of them whose outputs are joined by `combine`.
        """
        ...

    def combine(self, outputs: list[Any]) -> Any:
        """Raw outputs for several views of the same images -> one raw output (test-time augmentation)."""
        ...

    def metrics(self, evaluation: Evaluation) -> dict[str, float]:
        """Plain numbers, by names of the vocabulary; "loss" is the first."""
        ...

    def details(
        self, evaluation: Evaluation, name_of: Callable[[int], str], image_of: Callable[[int], str]
    ) -> dict[str, Any]:
        """What the report shows of an evaluation, as plain JSON values. image_of: index -> data URI, or ""."""
        ...


def raw_answer(task: Task, model: nn.Module, batch: Batch, views: Views | None) -> tuple[Tensor, Tensor]:
    """`Task.answer` where the network's raw outputs are the answer."""
    if views is None:
        return model(batch.inputs).float(), batch.targets
    return task.combine([model(view).float() for view in views(batch.inputs)]), batch.targets
