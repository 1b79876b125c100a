"""True values of samples as text, and predictions beside them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from danlu.data.dataset import Dataset
from danlu.inference.prediction import Prediction
from danlu.report.markup import number


def truth_of(dataset: Dataset, place: int) -> list[str]:
    """Names of the true classes of a sample, or its true values."""
    assert isinstance(dataset.targets, Tensor)
    target = dataset.targets[place]
    if dataset.task_spec.several_labels:
        return [name for name, present in zip(dataset.classes, target.tolist()) if present]
    if dataset.task_spec.has_classes:
        return [dataset.classes[int(target)]]
    return [number(value) for value in target.flatten().tolist()]


def compared(found: Prediction, truth: list[str]) -> dict[str, Any]:
    """{"predicted", "true", "right", "confidence"}; right is None for numbers."""
    if found.label is not None:
        predicted, right = [found.label], [found.label] == truth
    elif found.labels is not None:
        predicted = [name for name, _ in found.labels]
        right = set(predicted) == set(truth)
    else:
        values = [found.value] if found.value is not None else list((found.targets or {}).values())
        predicted, right = [number(value) for value in values], None
    return {"predicted": predicted, "true": truth, "right": right, "confidence": found.confidence}
