"""Image or row -> class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from danlu.data.batches import Batch
from danlu.metrics.classification import (
    classification_metrics,
    confusion_matrix,
    per_class,
    reliability,
)
from danlu.tasks.task import Evaluation, Views, raw_answer

MISTAKES_SHOWN = 24
AUXILIARY_WEIGHT = 0.3  # Szegedy et al., "Going Deeper with Convolutions", 2014


class Classify:
    """sample_loss: (outputs (n, K), targets (n,) or (n, K)) -> per-sample losses (n,)."""

    name = "classify"
    monitor: tuple[str, Literal["high", "low"]] = ("accuracy", "high")

    def __init__(self, classes: tuple[str, ...], sample_loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.classes = classes
        self.sample_loss = sample_loss

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        outputs, targets = model(batch.inputs), batch.targets
        auxiliary: list[Tensor] = []
        if isinstance(outputs, tuple):  # GoogLeNet and its kin answer from several depths while training
            outputs, *auxiliary = outputs
        hard = targets if targets.ndim == 1 else targets.argmax(1)  # mixed labels: the larger share counts
        loss = self.sample_loss(outputs, targets).mean()
        for answer in auxiliary:
            loss = loss + AUXILIARY_WEIGHT * self.sample_loss(answer, targets).mean()
        return {
            "loss": loss,
            "accuracy": (choice(outputs) == hard).mean(dtype=torch.float32),
        }

    def answer(self, model: nn.Module, batch: Batch, views: Views | None) -> tuple[Tensor, Tensor]:
        return raw_answer(self, model, batch, views)

    def combine(self, outputs: list[Tensor]) -> Tensor:
        """The log of the averaged probabilities: softmax gives the average back."""
        return torch.stack([probabilities(o) for o in outputs]).mean(0).clamp_min(1e-12).log()

    def metrics(self, evaluation: Evaluation) -> dict[str, float]:
        loss = self.sample_loss(evaluation.outputs, evaluation.targets).mean().item()
        return {"loss": loss} | classification_metrics(probabilities(evaluation.outputs), evaluation.targets)

    def details(
        self, evaluation: Evaluation, name_of: Callable[[int], str], image_of: Callable[[int], str]
    ) -> dict[str, Any]:
        shares, targets = probabilities(evaluation.outputs), evaluation.targets
        confidence, said = shares.max(1)
        confusion = confusion_matrix(said, targets, len(self.classes))
        wrong = (said != targets).nonzero().flatten()
        worst = wrong[confidence[wrong].argsort(descending=True)][:MISTAKES_SHOWN].tolist()
        return {
            "confusion": confusion.tolist(),
            "per_class": [{"name": n, **row} for n, row in zip(self.classes, per_class(confusion))],
            "reliability": reliability(shares, targets),
            "mistakes": [
                {
                    "name": name_of(int(evaluation.index[i])),
                    "image": image_of(int(evaluation.index[i])),
                    "true": self.classes[int(targets[i])],
                    "said": self.classes[int(said[i])],
                    "confidence": float(confidence[i]),
                }
                for i in worst
            ],
        }


def probabilities(outputs: Tensor) -> Tensor:
    """(N, K) logits, or (N, 1) of the positive class -> (N, K) or (N, 2) shares that sum to 1."""
    if outputs.shape[1] == 1:
        positive = outputs.sigmoid()
        return torch.cat([1 - positive, positive], dim=1)
    return outputs.softmax(1)


def choice(outputs: Tensor) -> Tensor:
    """(N, K) or (N, 1) raw outputs -> class indices (N,)."""
    return outputs.argmax(1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).long()
