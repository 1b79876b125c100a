"""Image -> the objects in it: boxes, and masks where the task is to segment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Literal

from torch import Tensor, nn

from danlu.data.annotations import Annotation
from danlu.data.batches import Batch
from danlu.data.canvas import Placement
from danlu.detection.boxes import iou_matrix
from danlu.detection.tta import detect_mirrored, joined
from danlu.metrics.detection import (
    best_threshold,
    compressed,
    confusion,
    detection_metrics,
    error_kinds,
    evaluator,
    per_class,
    precision_recall,
    run_lengths,
)
from danlu.objects import Detections, Objects
from danlu.tasks.task import Evaluation, Views

LEAST_SCORE = 0.01  # of a detection that is evaluated: the curve of precision over recall goes down to it
EXAMPLES_SHOWN = 12


@dataclass
class Answer:
    """What was found in one image, in its own pixels, and the loss of its batch."""

    found: Detections
    loss: float


class Detect:
    """annotations, placements: of every sample, by its index. masks: the task is to segment.

    overlap, most: see `Detector.detect`. mirrors: see `tta.detect_mirrored`; () alone is the image as it is.
    """

    def __init__(
        self,
        classes: tuple[str, ...],
        annotations: Sequence[Annotation],
        placements: Sequence[Placement],
        masks: bool,
        overlap: float,
        most: int,
        mirrors: Sequence[tuple[int, ...]] = ((),),
    ) -> None:
        self.name = "segment" if masks else "detect"
        self.monitor: tuple[str, Literal["high", "low"]] = ("mask_mAP" if masks else "mAP", "high")
        self.classes, self.annotations, self.placements, self.masks = classes, annotations, placements, masks
        self.overlap, self.most, self.mirrors = overlap, most, mirrors
        self._truth: dict[int, Objects] = {}

    def loss(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return model(batch.inputs, batch.targets)

    def answer(self, model: nn.Module, batch: Batch, views: Views | None) -> tuple[list[Answer], list[Objects]]:
        detector: Any = getattr(model, "module", model)  # a `Detector`, bare where it is wrapped
        outputs = model(batch.inputs)
        loss = float(detector.losses(outputs, batch.targets)["loss"])
        if len(self.mirrors) == 1:
            found = detector.detect(outputs, LEAST_SCORE, self.overlap, self.most)
        else:
            found = detect_mirrored(detector, batch.inputs, self.mirrors, LEAST_SCORE, self.overlap, self.most)
        index = batch.index.tolist()
        return [Answer(self._back(d, i), loss) for d, i in zip(found, index)], [self.truth(i) for i in index]

    def truth(self, index: int) -> Objects:
        """The objects of a sample in its own pixels; masks as run lengths."""
        if index not in self._truth:
            annotation = self.annotations[index]
            objects = Objects(annotation.boxes, annotation.labels, annotation.ignore)
            if self.masks:
                whole = Placement(annotation.size, annotation.size, (1.0, 1.0))
                objects.masks = run_lengths(annotation.masks(whole))  # type: ignore[assignment]
            self._truth[index] = objects
        return self._truth[index]

    def _back(self, found: Detections, index: int) -> Detections:
        return to_image(found.to("cpu"), self.placements[index])

    def combine(self, outputs: list[list[Answer]]) -> list[Answer]:
        """What several networks found, image by image."""
        return [
            Answer(joined([a.found for a in each], self.overlap, self.most, LEAST_SCORE), fmean(a.loss for a in each))
            for each in zip(*outputs)
        ]

    def metrics(self, evaluation: Evaluation) -> dict[str, float]:
        answers: list[Answer] = evaluation.outputs
        metrics = {"loss": sum(a.loss for a in answers) / max(len(answers), 1)}
        for kind in ("boxes", "masks") if self.masks else ("boxes",):
            judged = self._judge(evaluation, kind)
            none = {"mask_mAP": 0.0, "mask_mAP50": 0.0} if kind == "masks" else {"mAP": 0.0, "mAP50": 0.0}
            metrics |= none | detection_metrics(judged, kind)
        return metrics

    def _judge(self, evaluation: Evaluation, kind: Literal["boxes", "masks"] = "boxes") -> Any:
        found = [answer.found for answer in evaluation.outputs]
        sizes = [self.annotations[i].size for i in evaluation.index.tolist()]
        return evaluator(evaluation.targets, found, sizes, self.classes, kind)

    def _judge_counted(self, evaluation: Evaluation, kind: Literal["boxes", "masks"], judged: Any) -> Any:
        """`judged`, but without detections in ignored regions, which the confusion matrix knows nothing of."""
        if not any(real.ignore.any() for real in evaluation.targets):
            return judged
        pairs = zip(evaluation.targets, evaluation.outputs)
        answers = [replace(answer, found=counted(real, answer.found)) for real, answer in pairs]
        return self._judge(replace(evaluation, outputs=answers), kind)

    def details(
        self, evaluation: Evaluation, name_of: Callable[[int], str], image_of: Callable[[int], str]
    ) -> dict[str, Any]:
        truth, found = evaluation.targets, [answer.found for answer in evaluation.outputs]
        kind = "masks" if self.masks else "boxes"
        judged = self._judge(evaluation, kind)
        threshold, f1 = best_threshold(truth, found)
        return {
            "threshold": {"score": threshold, "f1": f1},
            "per_class": per_class(judged, self.classes),
            "precision_recall": precision_recall(judged, self.classes),
            "confusion": confusion(self._judge_counted(evaluation, kind, judged), threshold),
            "errors": error_kinds(judged),
            "examples": self._examples(evaluation, threshold, name_of, image_of),
        }

    def _examples(
        self, evaluation: Evaluation, threshold: float, name_of: Callable[[int], str], image_of: Callable[[int], str]
    ) -> list[dict[str, Any]]:
        """Images with what is there and what was found; those with the most misses and false alarms first."""
        rows = []
        for place, index in enumerate(evaluation.index.tolist()):
            real, said = evaluation.targets[place], kept(evaluation.outputs[place].found, threshold)
            missed, alarms = errors(real, said)
            rows.append((len(missed) + len(alarms), index, real, said, missed, alarms))
        rows.sort(key=lambda row: -row[0])
        half = EXAMPLES_SHOWN // 2
        shown = rows if len(rows) <= EXAMPLES_SHOWN else rows[:half] + rows[half :: max(1, len(rows) // half)][:half]
        return [
            {
                "name": name_of(index),
                "image": image_of(index),
                "size": list(self.annotations[index].size),
                "true": [
                    _shown(real, i, self.classes) | {"missed": i in missed}
                    for i in range(len(real))
                    if not real.ignore[i]
                ],
                "found": [
                    _shown(said, i, self.classes) | {"score": round(score, 4), "false": i in alarms}
                    for i, score in enumerate(said.scores.tolist())
                ],
            }
            for _, index, real, said, missed, alarms in shown
        ]


def to_image(found: Detections, placement: Placement) -> Detections:
    """From the canvas to the image's own pixels; masks become run lengths."""
    masks: Any = found.masks
    if masks is not None:
        masks = [compressed(placement.runs_back(mask), placement.original) for mask in masks.numpy()]
    return Detections(placement.boxes_back(found.boxes), found.scores, found.labels, masks)


def kept(found: Detections, score: float) -> Detections:
    """Those of at least this score."""
    return _chosen(found, found.scores >= score)


def errors(real: Objects, found: Detections, iou: float = 0.5) -> tuple[set[int], set[int]]:
    """Objects that nothing of their class hits, and detections that hit none: places in each.

    A detection that hits no object, but lies in a region that is ignored, is no error.
    """
    overlaps = iou_matrix(real.boxes, found.boxes, real.ignore)
    hits = (overlaps >= iou) & (real.labels[:, None] == found.labels)
    taken, alarms = set(), set()
    for d in range(len(found)):
        ours = hits[:, d].nonzero()[:, 0].tolist()
        free = [g for g in ours if g not in taken and not real.ignore[g]]
        if free:
            taken.add(max(free, key=lambda g: float(overlaps[g, d])))
        elif not any(real.ignore[g] for g in ours):
            alarms.add(d)
    return {g for g in range(len(real)) if g not in taken and not real.ignore[g]}, alarms


def counted(real: Objects, found: Detections, iou: float = 0.5) -> Detections:
    """Without those that hit nothing but an ignored region of their class: they are neither right nor wrong."""
    hits = iou_matrix(real.boxes, found.boxes, real.ignore) >= iou
    same = real.labels[:, None] == found.labels
    ignored = (hits & same & real.ignore[:, None]).any(0) & ~(hits & ~real.ignore[:, None]).any(0)
    return _chosen(found, ~ignored)


def _chosen(found: Detections, chosen: Tensor) -> Detections:
    masks: Any = found.masks
    if masks is not None:
        masks = [mask for mask, one in zip(masks, chosen.tolist()) if one]
    return Detections(found.boxes[chosen], found.scores[chosen], found.labels[chosen], masks)


def plain_mask(mask: Any) -> dict[str, Any]:
    """Run lengths as JSON has them."""
    return {"size": list(mask["size"]), "counts": mask["counts"].decode("ascii")}


def _shown(things: Objects | Detections, place: int, classes: Sequence[str]) -> dict[str, Any]:
    """Box, class and, where there is one, mask of an object as the page draws them."""
    box = [round(value, 1) for value in things.boxes[place].tolist()]
    masks: Any = things.masks
    mask = {} if masks is None else {"mask": plain_mask(masks[place])}
    return {"box": box, "class": classes[int(things.labels[place])]} | mask
