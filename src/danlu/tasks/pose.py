"""6D pose estimation: an image to objects with their rotation and position before the camera."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from danlu.data.annotations import Annotation
from danlu.data.batches import Batch
from danlu.data.canvas import Placement
from danlu.detection.pose_detector import PoseDetector
from danlu.objects import Detections, ObjectBatch
from danlu.pose.cameras import project_model
from danlu.pose.drawing import landmarks
from danlu.pose.evaluation import PoseErrors, TrueObjects, pose_errors, pose_metrics
from danlu.pose.object_model import ObjectModel
from danlu.task_spec import TASKS
from danlu.tasks import attention_maps
from danlu.tasks.task import Evaluation, TaskData, ViewFunction

MIN_SCORE = 0.05  # of an evaluated detection; the best ones of each class count regardless of their score
MAX_EXAMPLES_SHOWN = 12  # in the report
MAX_ERRORS_SHOWN = 2000  # per object, in the histograms of the report
ERRORS_SHOWN = ("rotation", "rotation_given", "translation", "centre", "depth")  # in the histograms
DIGITS = 5  # of poses in the report


@dataclass
class PosePrediction:
    """Detections in one image with boxes in its own pixels, and the loss of the batch it was in.

    votes: for centres, uint8 (1, h, w) over the network's input; None for networks without votes.
    """

    detections: Detections
    loss: float
    votes: Tensor | None = None


class Pose:
    """Poses of objects in space.

    annotations, placements: of every sample, by its number. models: of each class. nms_iou, max_detections: see
    `Detector.detect`.
    """

    def __init__(
        self,
        classes: tuple[str, ...],
        annotations: Sequence[Annotation],
        placements: Sequence[Placement],
        models: Sequence[ObjectModel],
        nms_iou: float,
        max_detections: int,
    ) -> None:
        self.spec = TASKS["pose"]
        self.classes, self.annotations, self.placements, self.models = classes, annotations, placements, models
        self.nms_iou, self.max_detections = nms_iou, max_detections
        self._computed: tuple[Evaluation, PoseErrors] | None = None  # of the last evaluation

    @classmethod
    def build(cls, data: TaskData) -> Pose:
        """Create the task from a run's data and settings."""
        objects, config = data.objects, data.config
        assert objects is not None
        assert config.detect.overlap is not None, "chosen for every detector"
        return cls(
            data.classes,
            objects.annotations,
            objects.placements,
            objects.models,
            config.detect.overlap,
            config.detect.most,
        )

    def loss(self, model: Callable[..., Any], batch: Batch) -> dict[str, Tensor]:
        """The network's losses of a batch; "loss" is their weighted sum."""
        return model(batch.inputs, batch.targets)

    def predict(
        self, model: nn.Module, batch: Batch, views: ViewFunction | None
    ) -> tuple[list[PosePrediction], list[TrueObjects]]:
        """Detections with poses, and true objects, of each image of a batch."""
        detector = getattr(model, "module", model)  # Fabric and DDP wrap it
        assert isinstance(detector, PoseDetector)
        assert isinstance(batch.targets, ObjectBatch)
        assert batch.targets.cameras is not None
        outputs = model(batch.inputs)
        loss = float(detector.losses(outputs, batch.targets)["loss"])
        found = detector.detect_poses(outputs, batch.targets.cameras, MIN_SCORE, self.nms_iou, self.max_detections)
        index = batch.index.tolist()
        predictions = [PosePrediction(in_image(d.to("cpu"), self.placements[i]), loss) for d, i in zip(found, index)]
        votes = detector.vote_maps(outputs, batch.targets.cameras)
        if votes is not None:
            for one, map_ in zip(predictions, votes):
                one.votes = attention_maps.compressed(map_[None])
        return predictions, [self.truth(i) for i in index]

    def truth(self, index: int) -> TrueObjects:
        """The objects of a sample."""
        annotation = self.annotations[index]
        rigid = annotation.rigid
        assert rigid is not None
        kept = ~annotation.ignore
        poses = torch.cat((rigid.rotations, rigid.translations[..., None]), -1)
        return TrueObjects(annotation.labels[kept], poses[kept], rigid.visible[kept], rigid.camera, annotation.size[1])

    def combine(self, outputs: list[list[PosePrediction]]) -> list[PosePrediction]:
        """Take for each image the detections of the network whose detections have the highest mean score.

        Poses are not averaged: the mean of two poses that look the same may look like neither.
        """
        best = (
            max(of_image, key=lambda p: float(p.detections.scores.mean().nan_to_num())) for of_image in zip(*outputs)
        )
        losses = [fmean(p.loss for p in of_image) for of_image in zip(*outputs)]
        return [PosePrediction(one.detections, loss, one.votes) for one, loss in zip(best, losses)]

    def metrics(self, evaluation: Evaluation) -> dict[str, float]:
        """Loss and metrics of poses; see `pose.evaluation`."""
        predictions: list[PosePrediction] = evaluation.outputs
        metrics = dict.fromkeys(self.spec.metrics, 0.0)
        metrics["loss"] = sum(p.loss for p in predictions) / max(len(predictions), 1)
        return metrics | pose_metrics(self._errors(evaluation))

    def records(self, evaluation: Evaluation) -> list[tuple[str, float, str]]:
        """Mean errors of rotation and depth of each object that has estimates; see `RecordedTask.records`."""
        found, rows = self._errors(evaluation), []
        for k, name in enumerate(self.classes):
            seen = (found.labels == k) & (found.estimate >= 0)
            if seen.any():
                rows += [(f"pose.{key}", float(found.values[key][seen].mean()), name) for key in ("rotation", "depth")]
        return rows

    def _errors(self, evaluation: Evaluation) -> PoseErrors:
        """Errors of an evaluation, computed once."""
        if self._computed is not None and self._computed[0] is evaluation:
            return self._computed[1]
        errors = self._compute_errors(evaluation)
        self._computed = evaluation, errors
        return errors

    def _compute_errors(self, evaluation: Evaluation) -> PoseErrors:
        found = [(d.labels, d.scores, _poses(d)) for d in (p.detections for p in evaluation.outputs)]
        return pose_errors(found, evaluation.targets, self.models)

    def details(
        self, evaluation: Evaluation, name_of: Callable[[int], str], image_of: Callable[[int], str]
    ) -> dict[str, Any]:
        """Metrics and errors per object, and the worst images with their true and estimated poses."""
        found = self._errors(evaluation)
        per_object, histograms = [], []
        for k, name in enumerate(self.classes):
            chosen = found.labels == k
            model = self.models[k]
            values = pose_metrics(found, chosen)
            facts = {"name": name, "objects": int(chosen.sum()), "symmetries": len(model.symmetries)}
            per_object.append(facts | {"diameter": model.extent} | _finite(values))
            seen = chosen & (found.estimate >= 0)
            kept = {
                key: [round(v, DIGITS) for v in found.values[key][seen][:MAX_ERRORS_SHOWN].tolist()]
                for key in ERRORS_SHOWN
            }
            histograms.append({"name": name, "symmetric": model.symmetric} | kept)
        return {
            "per_object": per_object,
            "pose_errors": histograms,
            "pose_examples": self._examples(evaluation, found, name_of, image_of),
        }

    def _examples(
        self, evaluation: Evaluation, found: PoseErrors, name_of: Callable[[int], str], image_of: Callable[[int], str]
    ) -> list[dict[str, Any]]:
        """The images with the largest errors in diameters, and a regular sample of the others."""
        relative = (found.values["add_or_s"] / found.diameters).clamp(max=10)
        worst = torch.zeros(len(evaluation.targets), dtype=torch.float64)
        worst.scatter_reduce_(0, found.image, relative, "amax")
        order = worst.argsort(descending=True, stable=True).tolist()
        half = MAX_EXAMPLES_SHOWN // 2
        if len(order) > MAX_EXAMPLES_SHOWN:
            order = order[:half] + order[half :: max(1, len(order) // half)][:half]
        rows = []
        for place in order:
            index = int(evaluation.index[place])
            votes = evaluation.outputs[place].votes
            rows.append(
                {
                    "name": name_of(index),
                    "image": image_of(index),
                    "size": list(self.annotations[index].size),
                    "error": round(float(worst[place]), DIGITS),
                    "objects": [
                        self._outline(evaluation, found, row, place)
                        for row in (found.image == place).nonzero()[:, 0].tolist()
                    ],
                }
                | ({} if votes is None else {"votes": attention_maps.shown(votes, self.placements[index])[0]})
            )
        return rows

    def _outline(self, evaluation: Evaluation, found: PoseErrors, row: int, place: int) -> dict[str, Any]:
        """Boxes of a true object and its estimate, drawn as eight corners in pixels of the image."""
        truth: TrueObjects = evaluation.targets[place]
        number, detection = int(found.number[row]), int(found.estimate[row])
        model = self.models[int(found.labels[row])]
        drawn = {"class": model.name, "true": projected_box(model.box, truth.poses[number], truth.camera)}
        drawn["error"] = round(float((found.values["add_or_s"] / found.diameters)[row].clamp(max=10)), 3)
        if detection >= 0:
            pose = _poses(evaluation.outputs[place].detections)[detection]
            drawn["found"] = projected_box(model.box, pose, truth.camera)
        return drawn


def in_image(found: Detections, placement: Placement) -> Detections:
    """Map boxes of detections to the pixels of the original image; poses do not depend on its pixels."""
    return Detections(placement.boxes_back(found.boxes), found.scores, found.labels, poses=found.poses)


def projected_box(box: tuple[Tensor, Tensor], pose: Tensor, camera: Tensor) -> list[list[float]]:
    """Project the eight corners of a model's box, x fastest, then the origin and the ends of its axes, (12, 2)."""
    points = landmarks(box).to(pose)
    pixels = project_model(points, pose[:, :3], pose[:, 3], camera.to(pose))
    return [[round(x, 1), round(y, 1)] for x, y in pixels.clamp(-1e4, 1e4).tolist()]


def _poses(found: Detections) -> Tensor:
    return found.boxes.new_zeros(0, 3, 4) if found.poses is None else found.poses


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    """Values for JSON: None for those that are not finite."""
    return {key: round(v, DIGITS) if math.isfinite(v) else None for key, v in values.items()}
