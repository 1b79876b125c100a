"""Regression: an image or a table row to T numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from danlu.data.batches import Batch
from danlu.data.columns import TargetScaler
from danlu.learning.losses import build_loss
from danlu.metrics.regression import regression_metrics
from danlu.task_spec import TASKS
from danlu.tasks.task import Evaluation, SampleLoss, SampleLossTask, TaskData, UserMetrics, rows

MAX_POINTS_SHOWN, MAX_WORST_SHOWN = 2000, 12  # in the report


class Regress(SampleLossTask):
    """Regression of T target columns.

    sample_loss: (outputs (N, T), targets (N, T)) -> losses (N,). mean, std (T,): scale of the targets that the network
    is trained on. The loss is on that scale, metrics are in the user's units.
    """

    spec = TASKS["regress"]

    def __init__(
        self, sample_loss: SampleLoss, mean: Tensor, std: Tensor, user_metrics: UserMetrics | None = None
    ) -> None:
        super().__init__(sample_loss, user_metrics)
        self.mean, self.std = mean.cpu(), std.cpu()

    @classmethod
    def build(cls, data: TaskData) -> Regress:
        """Create the task from a run's data and settings."""
        scaler = data.target_scaler or TargetScaler.from_dict({})
        return cls(build_loss(data.config.loss, task=cls.spec.name), scaler.mean, scaler.std, data.metrics)

    def loss(self, model: Callable[..., Any], batch: Batch) -> dict[str, Tensor]:
        """Mean loss of a batch."""
        return {"loss": self.sample_loss(rows(model(batch.inputs)), batch.targets).mean()}

    def combine(self, outputs: list[Tensor]) -> Tensor:
        """Mean of the outputs."""
        return torch.stack(outputs).mean(0)

    def in_units(self, values: Tensor) -> Tensor:
        """Scaled values (N, T) -> the user's units."""
        return values * self.std + self.mean

    def metrics(self, evaluation: Evaluation) -> dict[str, float]:
        """Loss, r2, mae and rmse; see `metrics.regression`."""
        outputs, targets = self.in_units(evaluation.outputs), self.in_units(evaluation.targets)
        scores = {"loss": self.mean_loss(evaluation)} | regression_metrics(outputs, targets)
        if self.user_metrics is not None:
            scores |= self.user_metrics(outputs, targets, outputs, outputs)
        return scores

    def details(
        self, evaluation: Evaluation, name_of: Callable[[int], str], image_of: Callable[[int], str]
    ) -> dict[str, Any]:
        """Points (true, predicted) of the first target column, and the samples with the largest errors."""
        predicted, true = self.in_units(evaluation.outputs), self.in_units(evaluation.targets)
        step = -(-len(true) // MAX_POINTS_SHOWN)
        worst = (predicted - true).abs().mean(1).argsort(descending=True)[:MAX_WORST_SHOWN].tolist()
        return {
            "scatter": torch.stack([true[::step, 0], predicted[::step, 0]], dim=1).tolist(),
            "worst": [
                {
                    "name": name_of(int(evaluation.index[i])),
                    "image": image_of(int(evaluation.index[i])),
                    "true": float(true[i, 0]),
                    "predicted": float(predicted[i, 0]),
                }
                for i in worst
            ],
        }
