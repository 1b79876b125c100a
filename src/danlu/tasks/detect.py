"""Object detection and instance segmentation: an image to boxes with classes, and masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from torch import Tensor, nn

from danlu.data.annotations import Annotation
from danlu.data.augmentation.augment import view_flips
from danlu.data.batches import Batch
from danlu.data.canvas import Placement
from danlu.detection.boxes import iou_matrix
from danlu.detection.detector import Detector
from danlu.detection.tta import detect_flipped, merge
from danlu.metrics.detection import (
    Kind,
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
from danlu.objects import Detections, ObjectBatch, Objects
from danlu.task_spec import TASKS, object_task
from danlu.tasks import attention_maps
from danlu.tasks.task import Evaluation, TaskData, ViewFunction

MIN_SCORE = 0.01  # of a detection that is evaluated; the precision-recall curve needs low scores too
MAX_EXAMPLES_SHOWN = 12  # in the report
MAX_QUERIES_SHOWN = 3  # per example, with their attention


@dataclass
class ImageDetections:
    """Detections in one image, in its own pixels, and the loss of the batch it was in.

    attention: uint8 (count, H, W), of the top-scoring detections; None for detectors without queries.
    """

    detections: Detections
    loss: float
    attention: Tensor | None = None


class Detect:
    """Detection of objects with boxes, or with masks too.

    annotations, placements: of every sample, by its number. masks: predict and evaluate masks.
    nms_iou, max_detections: see `Detector.detect`. view_flips: see `tta.detect_flipped`; ((),) for no augmentation.
    """

    def __init__(
        self,
        classes: tuple[str, ...],
        annotations: Sequence[Annotation],
        placements: Sequence[Placement],
        masks: bool,
        nms_iou: float,
        max_detections: int,
        view_flips: Sequence[tuple[int, ...]] = ((),),
    ) -> None:
        self.spec = TASKS[object_task(masks)]
        self.classes, self.annotations, self.placements, self.masks = classes, annotations, placements, masks
        self.nms_iou, self.max_detections, self.view_flips = nms_iou, max_detections, view_flips
        self._truth: dict[int, Objects] = {}

    @classmethod
    def build(cls, data: TaskData) -> Detect:
        """Create the task from a run's data and settings."""
        objects, config = data.objects, data.config
        assert objects is not None
        assert config.detect.overlap is not None, "chosen for every detector"
        return cls(
            data.classes,
            objects.annotations,
            objects.placements,
            masks=objects.masks,
            nms_iou=config.detect.overlap,
            max_detections=config.detect.most,
            view_flips=view_flips(config.augment) if config.tta else ((),),
        )

    def loss(self, model: Callable[..., Any], batch: Batch) -> dict[str, Tensor]:
        """The detector's losses of a batch; "loss" is their sum."""
        return model(batch.inputs, batch.targets)

    def predict(
        self, model: nn.Module, batch: Batch, views: ViewFunction | None
    ) -> tuple[list[ImageDetections], list[Objects]]:
        """Detections and true objects of each image of a batch, in the image's own pixels."""
        detector = getattr(model, "module", model)  # Fabric and DDP wrap it
        assert isinstance(detector, Detector)
        assert isinstance(batch.targets, ObjectBatch)
        outputs = model(batch.inputs)
        loss = float(detector.losses(outputs, batch.targets)["loss"])
        attention: Tensor | None = None
        if len(self.view_flips) == 1:
            attention = detector.attention(outputs, MAX_QUERIES_SHOWN)
            found = detector.detect(outputs, MIN_SCORE, self.nms_iou, self.max_detections)
        else:
            limits = MIN_SCORE, self.nms_iou, self.max_detections
            found = detect_flipped(detector, batch.inputs, self.view_flips, *limits)
        index = batch.index.tolist()
        predictions = [ImageDetections(to_image(d.to("cpu"), self.placements[i]), loss) for d, i in zip(found, index)]
        if attention is not None:
            for one, weights in zip(predictions, attention):
                one.attention = attention_maps.compressed(weights)
        return predictions, [self.truth(i) for i in index]

    def truth(self, index: int) -> Objects:
        """The objects of a sample in its own pixels; masks as run lengths."""
        if index not in self._truth:
            annotation = self.annotations[index]
            objects = Objects(annotation.boxes, annotation.labels, annotation.ignore)
            if self.masks:
                original = Placement(annotation.size, annotation.size, (1.0, 1.0))
                masks: Any = run_lengths(annotation.masks(original))
                objects.masks = masks
            self._truth[index] = objects
        return self._truth[index]

    def combine(self, outputs: list[list[ImageDetections]]) -> list[ImageDetections]:
        """Merge the detections of several networks, image by image."""
        return [
            ImageDetections(
                merge([p.detections for p in of_image], self.nms_iou, self.max_detections, MIN_SCORE),
                fmean(p.loss for p in of_image),
            )
            for of_image in zip(*outputs)
        ]

    def metrics(self, evaluation: Evaluation) -> dict[str, float]:
        """Loss and COCO's metrics of boxes, and of masks where they are predicted; see `metrics.detection`."""
        predictions: list[ImageDetections] = evaluation.outputs
        metrics = dict.fromkeys(self.spec.metrics, 0.0)
        metrics["loss"] = sum(p.loss for p in predictions) / max(len(predictions), 1)
        metrics |= detection_metrics(self._evaluator(evaluation, "boxes"), "boxes")
        if self.masks:
            metrics |= detection_metrics(self._evaluator(evaluation, "masks"), "masks")
        return metrics

    def _evaluator(self, evaluation: Evaluation, kind: Kind) -> Any:
        """A finished COCO evaluator of boxes or masks."""
        found = [prediction.detections for prediction in evaluation.outputs]
        sizes = [self.annotations[i].size for i in evaluation.index.tolist()]
        return evaluator(evaluation.targets, found, sizes, self.classes, kind)

    def _evaluator_without_ignored(self, evaluation: Evaluation, kind: Kind, evaluator: Any) -> Any:
        """`evaluator` without detections in ignored regions, which the confusion matrix cannot represent."""
        if not any(real.ignore.any() for real in evaluation.targets):
            return evaluator
        pairs = zip(evaluation.targets, evaluation.outputs)
        outputs = [replace(p, detections=drop_ignored(real, p.detections)) for real, p in pairs]
        return self._evaluator(replace(evaluation, outputs=outputs), kind)

    def details(
        self, evaluation: Evaluation, name_of: Callable[[int], str], image_of: Callable[[int], str]
    ) -> dict[str, Any]:
        """Scores per class, precision-recall curves, confusion matrix, error types, and example images."""
        truth, found = evaluation.targets, [prediction.detections for prediction in evaluation.outputs]
        kind: Kind = "masks" if self.masks else "boxes"
        judged = self._evaluator(evaluation, kind)
        threshold, f1 = best_threshold(truth, found)
        return {
            "threshold": {"score": threshold, "f1": f1},
            "per_class": per_class(judged, self.classes),
            "precision_recall": precision_recall(judged, self.classes),
            "confusion": confusion(self._evaluator_without_ignored(evaluation, kind, judged), threshold),
            "errors": error_kinds(judged),
            "examples": self._examples(evaluation, threshold, name_of, image_of),
        }

    def _examples(
        self, evaluation: Evaluation, threshold: float, name_of: Callable[[int], str], image_of: Callable[[int], str]
    ) -> list[dict[str, Any]]:
        """Images with true objects and detections; those with the most misses and false alarms first."""
        rows = []
        for place, index in enumerate(evaluation.index.tolist()):
            real, found = evaluation.targets[place], above_score(evaluation.outputs[place].detections, threshold)
            missed, alarms = errors(real, found)
            maps = evaluation.outputs[place].attention
            rows.append((len(missed) + len(alarms), index, real, found, missed, alarms, maps))
        rows.sort(key=lambda row: -row[0])
        if len(rows) > MAX_EXAMPLES_SHOWN:  # the worst, and a regular sample of the others
            half = MAX_EXAMPLES_SHOWN // 2
            rows = rows[:half] + rows[half :: max(1, len(rows) // half)][:half]
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
                    _shown(found, i, self.classes) | {"score": round(score, 4), "false": i in alarms}
                    for i, score in enumerate(found.scores.tolist())
                ],
            }
            | self._attention(index, maps, found)
            for _, index, real, found, missed, alarms, maps in rows
        ]

    def _attention(self, index: int, maps: Tensor | None, found: Detections) -> dict[str, Any]:
        """Attention of the top-scoring detections shown; {} without queries."""
        if maps is None or not len(found):
            return {}
        shown = attention_maps.shown(maps[: len(found)], self.placements[index])
        return {"attention": [one | _shown(found, i, self.classes) for i, one in enumerate(shown)]}


def to_image(found: Detections, placement: Placement) -> Detections:
    """Map detections from the network's input to the pixels of the original image; masks become run lengths."""
    masks: Any = found.masks
    if masks is not None:
        masks = [compressed(placement.runs_back(mask), placement.original) for mask in masks.numpy()]
    return Detections(placement.boxes_back(found.boxes), found.scores, found.labels, masks, found.poses)


def above_score(found: Detections, score: float) -> Detections:
    """Keep detections with at least this score."""
    return _select(found, found.scores >= score)


def errors(real: Objects, found: Detections, min_iou: float = 0.5) -> tuple[set[int], set[int]]:
    """Return the indices of missed objects and of false detections, matching greedily by descending score.

    A detection matches an object of its class at IoU >= min_iou. One that matches only an ignored region is not false.
    """
    iou = iou_matrix(real.boxes, found.boxes, real.ignore)
    hits = (iou >= min_iou) & (real.labels[:, None] == found.labels)
    matched, false = set(), set()
    for d in range(len(found)):
        candidates = hits[:, d].nonzero()[:, 0].tolist()
        free = [g for g in candidates if g not in matched and not real.ignore[g]]
        if free:
            matched.add(max(free, key=lambda g: float(iou[g, d])))
        elif not any(real.ignore[g] for g in candidates):
            false.add(d)
    return {g for g in range(len(real)) if g not in matched and not real.ignore[g]}, false


def drop_ignored(real: Objects, found: Detections, min_iou: float = 0.5) -> Detections:
    """Drop detections that match only an ignored region of their class: they are neither right nor wrong."""
    hits = iou_matrix(real.boxes, found.boxes, real.ignore) >= min_iou
    same = real.labels[:, None] == found.labels
    ignored = (hits & same & real.ignore[:, None]).any(0) & ~(hits & ~real.ignore[:, None]).any(0)
    return _select(found, ~ignored)


def _select(found: Detections, mask: Tensor) -> Detections:
    masks: Any = found.masks
    if masks is not None:
        masks = [one for one, chosen in zip(masks, mask.tolist()) if chosen]
    return Detections(found.boxes[mask], found.scores[mask], found.labels[mask], masks)


def run_lengths_to_json(mask: Any) -> dict[str, Any]:
    """COCO run lengths as plain JSON values."""
    return {"size": list(mask["size"]), "counts": mask["counts"].decode("ascii")}


def _shown(objects: Objects | Detections, index: int, classes: Sequence[str]) -> dict[str, Any]:
    """Box, class and mask of an object, as the report draws them."""
    box = [round(value, 1) for value in objects.boxes[index].tolist()]
    masks: Any = objects.masks
    mask = {} if masks is None else {"mask": run_lengths_to_json(masks[index])}
    return {"box": box, "class": classes[int(objects.labels[index])]} | mask
