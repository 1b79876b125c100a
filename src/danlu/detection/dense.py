"""The base class of detectors that score a fixed number of boxes per image, and suppress the overlapping ones."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from danlu.detection.detector import Detector
from danlu.detection.nms import batched_nms
from danlu.objects import Detections


class Candidates(NamedTuple):
    """Top-scoring boxes before suppression: boxes (N, P, 4) inside the image, scores and labels int64 (N, P)."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class DenseDetector(Detector):
    """A detector whose detections are its candidates after non-maximum suppression.

    default_nms_iou: IoU threshold of `detect` without one.
    """

    default_nms_iou = 0.5

    def candidates(self, outputs: dict[str, Any]) -> Candidates:
        """Decode raw outputs into scored boxes. P depends on the size of the images only."""
        raise NotImplementedError

    @torch.no_grad()
    def detect(
        self,
        outputs: dict[str, Any],
        min_score: float = 0.05,
        nms_iou: float | None = None,
        max_detections: int = 100,
    ) -> list[Detections]:
        """See `Detector.detect`."""
        threshold = self.default_nms_iou if nms_iou is None else nms_iou
        return suppressed(self.candidates(outputs), min_score, threshold, max_detections)


def suppressed(candidates: Candidates, min_score: float, nms_iou: float, max_detections: int) -> list[Detections]:
    """Detections of each image, by descending score."""
    boxes, scores, labels = candidates
    chosen, taken = batched_nms(
        boxes, scores, labels, iou_threshold=nms_iou, max_detections=max_detections, min_score=min_score
    )
    kept = [c[t] for c, t in zip(chosen, taken)]
    return [Detections(boxes[i, k], scores[i, k], labels[i, k]) for i, k in enumerate(kept)]
