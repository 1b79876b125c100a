"""Classification: an image or a table row to one of K classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from danlu.data.batches import Batch
from danlu.learning.losses import build_loss
from danlu.metrics.classification import (
    classification_metrics,
    compact,
    confusion_matrix,
    per_class,
    reliability,
)
from danlu.task_spec import TASKS
from danlu.tasks.task import Evaluation, SampleLoss, SampleLossTask, TaskData, UserMetrics

MAX_MISTAKES_SHOWN = 24  # in the report


class Classify(SampleLossTask):
    """Classification into exclusive classes.

    classes: K names. sample_loss: (outputs (N, K), targets (N,) or mixed (N, K)) -> losses (N,).
    temperature: divides outputs before softmax; the loss is of the outputs as they are.
    """

    spec = TASKS["classify"]

    def __init__(
        self,
        classes: tuple[str, ...],
        sample_loss: SampleLoss,
        user_metrics: UserMetrics | None = None,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(sample_loss, user_metrics)
        self.classes = classes
        self.temperature = temperature

    @classmethod
    def build(cls, data: TaskData) -> Classify:
        """Create the task from a run's data and settings."""
        sample_loss = build_loss(data.config.loss, data.class_counts, cls.spec.name)
        return cls(data.classes, sample_loss, data.metrics, data.temperature)

    def loss(self, model: Callable[..., Any], batch: Batch) -> dict[str, Tensor]:
        """Mean loss and accuracy of a batch. Networks with auxiliary classifiers return a tuple while training."""
        targets = batch.targets
        loss, outputs = self.mean_loss_of(model(batch.inputs), targets)
        hard = targets if targets.ndim == 1 else targets.argmax(1)  # of mixed labels the class with the larger weight
        return {
            "loss": loss,
            "accuracy": (predicted_class(outputs) == hard).mean(dtype=torch.float32),
        }

    def combine(self, outputs: list[Tensor]) -> Tensor:
        """Outputs whose probabilities are the average: its logarithm times the temperature."""
        mean = torch.stack([probabilities(o, self.temperature) for o in outputs]).mean(0)
        return mean.clamp_min(1e-12).log() * self.temperature

    def metrics(self, evaluation: Evaluation) -> dict[str, float]:
        """Loss, accuracy, top5, f1 and ece; see `metrics.classification`."""
        outputs, targets = evaluation.outputs, evaluation.targets
        p = probabilities(outputs, self.temperature)
        scores = {"loss": self.mean_loss(evaluation)} | classification_metrics(p, targets)
        if self.user_metrics is not None:
            scores |= self.user_metrics(outputs, targets, predicted_class(outputs), p)
        return scores

    def details(
        self, evaluation: Evaluation, name_of: Callable[[int], str], image_of: Callable[[int], str]
    ) -> dict[str, Any]:
        """Confusion matrix, scores per class, reliability, and the mistakes with the highest confidence."""
        p, targets = probabilities(evaluation.outputs, self.temperature), evaluation.targets
        confidence, predicted = p.max(1)
        confusion = confusion_matrix(predicted, targets, len(self.classes))
        wrong = (predicted != targets).nonzero().flatten()
        worst = wrong[confidence[wrong].argsort(descending=True)][:MAX_MISTAKES_SHOWN].tolist()
        return {
            "confusion": compact(confusion),
            "per_class": [{"name": n, **row} for n, row in zip(self.classes, per_class(confusion))],
            "reliability": reliability(p, targets),
            "mistakes": [
                {
                    "name": name_of(int(evaluation.index[i])),
                    "image": image_of(int(evaluation.index[i])),
                    "true": self.classes[int(targets[i])],
                    "said": self.classes[int(predicted[i])],
                    "confidence": float(confidence[i]),
                }
                for i in worst
            ],
        }


def probabilities(outputs: Tensor, temperature: float = 1.0) -> Tensor:
    """Probabilities (N, K) of logits (N, K) over `temperature`; (N, 1) logits of the positive class give (N, 2)."""
    outputs = outputs / temperature if temperature != 1 else outputs
    if outputs.shape[1] == 1:
        positive = outputs.sigmoid()
        return torch.cat([1 - positive, positive], dim=1)
    return outputs.softmax(1)


def predicted_class(outputs: Tensor) -> Tensor:
    """Index (N,) of the most probable class, from logits (N, K), or (N, 1) of the positive class."""
    return outputs.argmax(1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).long()
