"""Result of `danlu.evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from danlu.doctor.finding import Finding
from danlu.run.result import Result
from danlu.run.summary import SplitMetrics


@dataclass(frozen=True, eq=False, repr=False)
class EvaluationResult(Result):
    """Metrics of a network, or of a file of detections, on one split."""

    run: str  # run folder, or file of detections
    task: str
    model: str  # "" for a file of detections
    epochs: int  # trained; 0 for a file of detections
    metrics: SplitMetrics  # of `part`; empty for the other splits
    seconds: float  # reading and evaluation
    samples_per_second: float
    findings: list[Finding]  # of the doctor during the training
    data: str  # evaluated data
    part: str  # evaluated split: train, val or test; test for other data
    samples: int  # images or rows
    detections: int | None = None  # entries in the file of detections
    per_class: list[dict[str, Any]] | None = None  # of the last kind (boxes, masks) in the file of detections
    trained_on: bool | None = None  # True if other data were given that are those of the training, its samples included
    test_looks: int | None = None  # evaluations on the run's own test split so far, this one included

    confusion: list[list[int]] | dict[str, Any] | None = None  # classification; rows are true classes (`compact`)
    mistakes: list[dict[str, Any]] | None = None  # of a classification: name, true, said, confidence
    classes: list[str] | None = None  # of the confusion matrix, in its order
    page: str | None = None  # HTML page that was written

    ALWAYS: ClassVar[tuple[str, ...]] = ("test_looks",)

    def __repr__(self) -> str:
        figures = ", ".join(f"{name}={value:.4g}" for name, value in self.metrics[self.part].items())
        return f"EvaluationResult({self.run}: {self.part} of {self.data}, {self.samples:,} samples, {figures})"

    __str__ = __repr__
