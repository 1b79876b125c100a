"""The base class of networks that estimate poses of objects in space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from danlu.detection.detector import Detector
from danlu.objects import Detections, ObjectBatch
from danlu.pose.losses import moments
from danlu.pose.object_model import ObjectModel
from danlu.pose.symmetry import thinned

MAX_SYMMETRIES = 72  # of a model, in the loss: a continuous symmetry in steps of ten degrees, with a half turn
POINTS = 128  # of the surface of a model: for the losses of PoseCNN, and to draw the model without its mesh


class PoseDetector(Detector):
    """A detector whose detections have poses. Facts about the models are buffers, saved with the weights.

    moments (K, 4, 4): of the points of each model, see `pose.losses.moments`. symmetries (K, G, 4, 4): their groups,
    the identity repeated where a group is smaller. diameters (K,) in metres. corners (K, 2, 3): the box along the
    model's axes. points (K, P, 3): of the surface. camera (3, 3): for images of an unknown camera. pose_loss: of
    rotations, one of `pose.losses.POSE_LOSSES`.
    """

    moments: Tensor
    symmetries: Tensor
    diameters: Tensor
    corners: Tensor
    points: Tensor
    camera: Tensor
    pose_loss: str

    def __init__(self, classes: int, size: int) -> None:
        super().__init__()
        self.register_buffer("moments", torch.eye(4).repeat(classes, 1, 1))
        self.register_buffer("symmetries", torch.eye(4).repeat(classes, MAX_SYMMETRIES, 1, 1))
        self.register_buffer("diameters", torch.ones(classes))
        self.register_buffer("corners", torch.zeros(classes, 2, 3))
        self.register_buffer("points", torch.zeros(classes, POINTS, 3))
        self.register_buffer("camera", torch.tensor([[size, 0, size / 2], [0, size, size / 2], [0, 0, 1.0]]))

    def set_models(self, models: Sequence[ObjectModel], camera: Tensor) -> None:
        """Store the facts about the models, one per class. camera: of an image of the network's size, (3, 3)."""
        for k, model in enumerate(models):
            group = thinned(model.symmetries, MAX_SYMMETRIES)
            self.moments[k] = moments(model.points)
            self.symmetries[k] = torch.eye(4)
            self.symmetries[k, : len(group)] = group
            self.diameters[k] = model.extent
            self.corners[k] = torch.stack(model.box)
            self.points[k] = model.mesh.surface(POINTS)
        self.camera.copy_(camera)

    def detect_poses(
        self,
        outputs: dict[str, Any],
        cameras: Tensor,
        min_score: float = 0.05,
        nms_iou: float = 0.5,
        max_detections: int = 100,
    ) -> list[Detections]:
        """Return the detections of each image as `detect` does, with poses in metres.

        cameras: intrinsics of the images in pixels of the network's input, (N, 3, 3).
        """
        raise NotImplementedError

    def vote_maps(self, outputs: dict[str, Any], cameras: Tensor) -> Tensor | None:
        """Return votes for centres of objects over the images, (N, h, w) in [0, 1]; None for networks without votes."""
        return None

    def detect(
        self, outputs: dict[str, Any], min_score: float = 0.05, nms_iou: float = 0.5, max_detections: int = 100
    ) -> list[Detections]:
        """See `Detector.detect`; poses are those for the typical camera of the training set."""
        cameras = self.camera.expand(self.images_in(outputs), 3, 3)
        return self.detect_poses(outputs, cameras, min_score, nms_iou, max_detections)

    def images_in(self, outputs: dict[str, Any]) -> int:
        """Return the number of images that outputs belong to."""
        return len(outputs["images"])


def images_of(found: Sequence[Detections]) -> Tensor:
    """Return the number of the image of each detection, all images after one another, int64 (R,)."""
    return torch.cat([torch.full_like(one.labels, i) for i, one in enumerate(found)])


def real_objects(objects: ObjectBatch) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return boxes (R, 4), labels (R,), poses (R, 3, 4), cameras (R, 3, 3) and images (R,) of the objects to learn."""
    assert objects.poses is not None
    assert objects.cameras is not None
    valid = objects.valid & (objects.poses[..., 2, 3] > 0)
    image = valid.nonzero()[:, 0]
    return objects.boxes[valid], objects.labels[valid], objects.poses[valid], objects.cameras[image], image
