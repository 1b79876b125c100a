"""Multi-label classification: any number of K labels for an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from danlu.data.batches import Batch
from danlu.learning.losses import build_loss
from danlu.metrics.multilabel import DEFAULT_THRESHOLD, label_metrics, per_label
from danlu.task_spec import TASKS
from danlu.tasks.task import Evaluation, SampleLoss, SampleLossTask, TaskData, UserMetrics

MAX_MISTAKES_SHOWN = 24  # in the report


class MultiLabel(SampleLossTask):
    """Independent labels, each present or absent.

    classes: K names. sample_loss: (outputs (N, K), targets (N, K)) -> losses (N,). thresholds: (K,), the smallest
    probability at which each label is predicted; by default 0.5.
    """

    spec = TASKS["multilabel"]

    def __init__(
        self,
        classes: tuple[str, ...],
        sample_loss: SampleLoss,
        thresholds: Sequence[float] = (),
        user_metrics: UserMetrics | None = None,
    ) -> None:
        super().__init__(sample_loss, user_metrics)
        self.classes = classes
        self.thresholds = tuple(thresholds) or (DEFAULT_THRESHOLD,) * len(classes)

    @classmethod
    def build(cls, data: TaskData) -> MultiLabel:
        """Create the task from a run's data and settings."""
        return cls(data.classes, build_loss(data.config.loss, task=cls.spec.name), data.thresholds, data.metrics)

    def loss(self, model: Callable[..., Any], batch: Batch) -> dict[str, Tensor]:
        """Mean loss of a batch. Networks with auxiliary classifiers return a tuple while training."""
        return {"loss": self.mean_loss_of(model(batch.inputs), batch.targets)[0]}

    def combine(self, outputs: list[Tensor]) -> Tensor:
        """The logits of the averaged probabilities."""
        return torch.stack([o.sigmoid() for o in outputs]).mean(0).logit(eps=1e-7)

    def metrics(self, evaluation: Evaluation) -> dict[str, float]:
        """Loss, mAP, f1 and f1_micro; see `metrics.multilabel`."""
        p, targets = evaluation.outputs.sigmoid(), evaluation.targets
        scores = {"loss": self.mean_loss(evaluation)} | label_metrics(p, targets, self.thresholds)
        if self.user_metrics is not None:
            predicted = (p >= torch.tensor(self.thresholds, dtype=p.dtype)).to(targets.dtype)
            scores |= self.user_metrics(evaluation.outputs, targets, predicted, p)
        return scores

    def details(
        self, evaluation: Evaluation, name_of: Callable[[int], str], image_of: Callable[[int], str]
    ) -> dict[str, Any]:
        """Scores per class, and the samples with the largest error of a label."""
        p, truth = evaluation.outputs.sigmoid(), evaluation.targets > 0
        thresholds = torch.tensor(self.thresholds, dtype=p.dtype)
        predicted = p >= thresholds
        # Certainty of a wrong decision: distance from the threshold relative to the largest possible one.
        distance = torch.where(predicted, (p - thresholds) / (1 - thresholds), (thresholds - p) / thresholds)
        error, label = torch.where(predicted != truth, distance.nan_to_num(), -1.0).max(1)
        wrong = (error >= 0).nonzero().flatten()
        worst = wrong[error[wrong].argsort(descending=True, stable=True)][:MAX_MISTAKES_SHOWN].tolist()
        return {
            "per_label": [
                {"name": n, **row} for n, row in zip(self.classes, per_label(p, evaluation.targets, self.thresholds))
            ],
            "label_mistakes": [
                {
                    "name": name_of(int(evaluation.index[i])),
                    "image": image_of(int(evaluation.index[i])),
                    "true": self._names(truth[i]),
                    "predicted": self._names(predicted[i]),
                    "label": self.classes[int(label[i])],
                    "probability": float(p[i, label[i]]),
                }
                for i in worst
            ],
        }

    def _names(self, marked: Tensor) -> list[str]:
        return [self.classes[k] for k in marked.nonzero().flatten().tolist()]
