"""Predictions as dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from danlu.run.result import Result, html_table


@dataclass(frozen=True, eq=False, repr=False)
class Detection(Result):
    """One object found in an image. The JSON key of `label` is "class"."""

    label: str  # name of the class
    score: float  # confidence, [0, 1]
    box: list[float]  # [left, top, right, bottom] in pixels of the image file
    mask: dict[str, Any] | None = None  # segmentation: COCO run lengths {"size": [height, width], "counts"}
    # pose: {"rotation": 3 x 3, "quaternion_wxyz", "translation": metres, "camera": [fx, fy, cx, cy] in pixels of the
    # image, "landmarks": corners of the model's box and its axes in pixels}
    pose: dict[str, Any] | None = None

    KEYS: ClassVar[Mapping[str, str]] = {"label": "class"}


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(Result):
    """Prediction for one image, video frame or table row; fields of other tasks are None.

    The JSON keys of `label` and `targets` are "class" and "values".
    """

    path: str  # file; "array N" for images in memory, "FILE N" for row N of a table
    label: str | None = None  # classification: name of the most probable class
    confidence: float | None = None  # classification: its probability, [0, 1]
    top: list[tuple[str, float]] | None = None  # classification, several labels: the most probable ones
    labels: list[tuple[str, float]] | None = None  # several labels: those at or above their threshold, by probability
    value: float | None = None  # regression on one target, in its unit
    targets: Mapping[str, float] | None = None  # regression on several: target name -> value in its unit
    objects: list[Detection] | None = None  # detection and segmentation, by descending score
    distance: float | None = None  # classification: from the training data, above 1 where it is unlike them
    areas: Mapping[str, float] | None = None  # semantic: fraction of the pixels of each class that occurs, by size
    error: str | None = None  # why the image could not be read; all other fields are None then

    probabilities: Mapping[str, float] | None = None  # classification: of all classes, by name; not in the JSON form

    label_map: Any = None  # semantic: class number of each pixel of the image, uint8 (H, W); not in the JSON form

    KEYS: ClassVar[Mapping[str, str]] = {"label": "class", "targets": "values"}

    def _attributes(self) -> dict[str, str]:
        left_out = ("probabilities", "label_map")
        return {key: name for key, name in super()._attributes().items() if name not in left_out}

    def _repr_html_(self) -> str:
        shown = dict(self.items())
        if self.top is not None:
            shown["top"] = ", ".join(f"{name} {probability:.3f}" for name, probability in self.top)
        return html_table(shown)

    def __str__(self) -> str:
        if self.error is not None:
            return f"{self.path}: not readable ({self.error})"
        if self.label is not None:
            return f"{self.path}: {self.label} ({self.confidence:.1%})"
        if self.labels is not None:
            found = ", ".join(f"{name} ({probability:.1%})" for name, probability in self.labels)
            return f"{self.path}: {found or 'no label'}"
        if self.objects is not None:
            found = ", ".join(f"{one.label} {one.score:.2f}" for one in self.objects[:8])
            more = len(self.objects) - 8
            return f"{self.path}: {found or 'no objects'}{f' and {more} more' if more > 0 else ''}"
        if self.areas is not None:
            return f"{self.path}: {', '.join(f'{name} {fraction:.1%}' for name, fraction in self.areas.items())}"
        values = {"value": self.value} if self.value is not None else self.targets or {}
        return f"{self.path}: {', '.join(f'{name} {value:.6g}' for name, value in values.items())}"
