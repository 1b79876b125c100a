"""Pretraining: features of images without labels, by the method of `pretraining/`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from danlu.data.batches import Batch
from danlu.pretraining.pretrainer import parts_of
from danlu.pretraining.probes import MIN_SAMPLES, knn_accuracy, linear_accuracy
from danlu.pretraining.two_view_losses import effective_rank, spread
from danlu.task_spec import TASKS
from danlu.tasks.task import Evaluation, TaskData, ViewFunction

MAX_MEASURED = 5_000  # images of which spread and rank are measured


class Pretrain:
    """Pretraining of a backbone.

    labels: names of the classes where the images have labels; they measure progress and are not trained on.
    """

    spec = TASKS["pretrain"]

    def __init__(self, labels: tuple[str, ...], method: str) -> None:
        self.labels, self.method = labels, method

    @classmethod
    def build(cls, data: TaskData) -> Pretrain:
        """Create the task from a run's data and settings."""
        return cls(data.classes, data.config.pretrain.method or "")

    def loss(self, model: Callable[..., Any], batch: Batch) -> dict[str, Tensor]:
        """Loss of the method and of the baseline, computed by the network itself."""
        return model(batch.inputs)

    def predict(self, model: nn.Module, batch: Batch, views: ViewFunction | None) -> tuple[Tensor, Tensor]:
        """Losses, embeddings and features of a batch as rows, see `pretraining.pretrainer`; and the labels."""
        return model(batch.inputs), batch.targets

    def combine(self, outputs: list[Tensor]) -> Tensor:
        """Mean of the outputs."""
        return torch.stack(outputs).mean(0)

    def metrics(self, evaluation: Evaluation) -> dict[str, float]:
        """Loss and that of the baseline, spread and effective rank; knn and linear where there are labels."""
        losses, baselines, embeddings, features = parts_of(evaluation.outputs)
        measured = (embeddings if embeddings.shape[1] else features)[:MAX_MEASURED]
        found = {
            "loss": losses.mean().item(),
            "baseline": baselines.mean().item(),
            "std": spread(measured),
            "rank": effective_rank(features[:MAX_MEASURED]),
        }
        labels = evaluation.targets
        if len(self.labels) > 1 and len(labels) >= MIN_SAMPLES and bool(features.isfinite().all()):
            found |= {"knn": knn_accuracy(features, labels), "linear": linear_accuracy(features, labels)}
        return found

    def details(
        self, evaluation: Evaluation, name_of: Callable[[int], str], image_of: Callable[[int], str]
    ) -> dict[str, Any]:
        """Method and width of the features, beside which the rank is judged."""
        features = parts_of(evaluation.outputs)[3]
        largest = max((n for n in torch.bincount(evaluation.targets).tolist()), default=0) if self.labels else 0
        return {
            "pretraining": {
                "method": self.method,
                "width": features.shape[1],
                "samples": len(features),
                "majority": largest / len(features) if self.labels else None,
            }
        }
