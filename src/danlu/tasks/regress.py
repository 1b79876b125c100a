"""Image or row -> one number, or several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from danlu.data.batches import Batch
from danlu.metrics.regression import regression_metrics
from danlu.tasks.task import Evaluation, Views, raw_answer

POINTS_SHOWN, WORST_SHOWN = 2000, 12


class Regress:
    """sample_loss: (outputs (n, T), targets (n, T)) -> per-sample losses (n,).

    mean, std (T,): the scale of the targets the network is trained on. Metrics are in the user's units, the loss not.
    """

    name = "regress"
    monitor: tuple[str, Literal["high", "low"]] = ("r2", "high")

    def __init__(self, sample_loss: Callable[[Tensor, Tensor], Tensor], mean: Tensor, std: Tensor) -> None:
        self.sample_loss = sample_loss
        self.mean, self.std = mean.cpu(), std.cpu()

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"loss": self.sample_loss(model(batch.inputs), batch.targets).mean()}

    def answer(self, model: nn.Module, batch: Batch, views: Views | None) -> tuple[Tensor, Tensor]:
        return raw_answer(self, model, batch, views)

    def combine(self, outputs: list[Tensor]) -> Tensor:
        return torch.stack(outputs).mean(0)

    def in_units(self, values: Tensor) -> Tensor:
        """Scaled values (N, T) -> the user's units."""
        return values * self.std + self.mean

    def metrics(self, evaluation: Evaluation) -> dict[str, float]:
        loss = self.sample_loss(evaluation.outputs, evaluation.targets).mean().item()
        return {"loss": loss} | regression_metrics(self.in_units(evaluation.outputs), self.in_units(evaluation.targets))

    def details(
        self, evaluation: Evaluation, name_of: Callable[[int], str], image_of: Callable[[int], str]
    ) -> dict[str, Any]:
        predicted, true = self.in_units(evaluation.outputs), self.in_units(evaluation.targets)
        step = -(-len(true) // POINTS_SHOWN)
        worst = (predicted - true).abs().mean(1).argsort(descending=True)[:WORST_SHOWN].tolist()
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
