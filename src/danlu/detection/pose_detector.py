"""The base class of networks that estimate poses of objects in space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from danlu.detection.detector import Detector
from danlu.objects import Detections, ObjectBatch
from danlu.pose.alignment import QUICK, THOROUGH, Effort, ObjectCrops, aligned, best_aligned, disturbed, turned_to_match
from danlu.pose.object_model import ObjectModel
from danlu.pose.pose_losses import moments
from danlu.pose.self_occlusion import DIRECTIONS, unhidden
from danlu.pose.shading import Surfaces
from danlu.pose.symmetry import thinned

MAX_SYMMETRIES = 72  # of a model, in the loss: a continuous symmetry in steps of ten degrees, with a half turn
SURFACE_POINTS = 1024  # of a model, with which poses are aligned with the image; 512 find 9 % fewer poses
MIN_ALIGNED_SCORE = 0.5  # of a detection whose pose is aligned, relative to the best one of its class in the image
MAX_ALIGNED = 5  # detections of an image; early in a training many have like scores, and each takes 25 ms
MIN_JUDGED = 8  # min number of objects of a model to judge whether alignment improves its poses
POINTS = 128  # of the surface of a model: for the losses of PoseCNN, and to draw the model without its mesh


class PoseDetector(Detector):
    """A detector whose detections have poses. Facts about the models are buffers, saved with the weights.

    moments (K, 4, 4): of the points of each model, see `pose.losses.moments`. symmetries (K, G, 4, 4): their groups,
    the identity repeated where a group is smaller. diameters (K,) in metres. corners (K, 2, 3): the box along the
    model's axes. points (K, P, 3): of the surface. surface (K, 3, S, 3): points,
    normals and colours, see `Mesh.spread_surface`. unhidden (K, V, S): see `pose.self_occlusion`. aligns (K,): bool,
    models whose poses are improved by comparing them with the pixels. camera (3, 3): for images of an unknown camera.
    pose_loss: of rotations, one of `pose.losses.POSE_LOSSES`. effort: of the alignment; a training sets a smaller one
    for its validations.
    """

    moments: Tensor
    symmetries: Tensor
    diameters: Tensor
    corners: Tensor
    points: Tensor
    surface: Tensor
    unhidden: Tensor
    aligns: Tensor
    camera: Tensor
    pose_loss: str
    effort: Effort = THOROUGH

    def __init__(self, classes: int, size: int) -> None:
        super().__init__()
        self.register_buffer("moments", torch.eye(4).repeat(classes, 1, 1))
        self.register_buffer("symmetries", torch.eye(4).repeat(classes, MAX_SYMMETRIES, 1, 1))
        self.register_buffer("diameters", torch.ones(classes))
        self.register_buffer("corners", torch.zeros(classes, 2, 3))
        self.register_buffer("points", torch.zeros(classes, POINTS, 3))
        self.register_buffer("surface", torch.zeros(classes, 3, SURFACE_POINTS, 3))
        self.register_buffer("unhidden", torch.ones(classes, DIRECTIONS, SURFACE_POINTS, dtype=torch.bool))
        self.register_buffer("aligns", torch.zeros(classes, dtype=torch.bool))
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
            self.surface[k] = torch.stack(model.mesh.spread_surface(SURFACE_POINTS))
            self.unhidden[k] = unhidden(*self.surface[k, :2])
        self.camera.copy_(camera)

    def judge_alignment(self, images: Tensor, objects: ObjectBatch) -> None:
        """Decide for which models poses are aligned: those where it brings disturbed true poses nearer to the truth.

        The light of photographs, or meshes of other colours than the objects, can make it worse than none.

        Args:
            images: Normalised training images (N, 3, H, W).
            objects: Their objects.
        """
        _, labels, poses, cameras, image = real_objects(objects)
        self.aligns.fill_(False)
        if not len(labels) or images.shape[1] != 3:
            return
        surfaces = Surfaces.of(self.surface, self.unhidden, labels)
        start = disturbed(poses, self.diameters[labels])
        better = aligned(ObjectCrops.around(images.float(), image, cameras, surfaces, start), start, QUICK)
        before, after = ((one - poses)[..., 3].norm(dim=-1) for one in (start, better))
        for label in labels.unique():
            own = labels == label
            self.aligns[label] = (own.sum() >= MIN_JUDGED) & (after[own].median() < before[own].median())

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

    def align(
        self,
        found: Sequence[Detections],
        images: Tensor,
        cameras: Tensor,
        *,
        others: Tensor | None = None,
        rotations: Tensor | None = None,
    ) -> None:
        """Improve the poses of the detections in colour images (N, 3, H, W) in place, see `pose.alignment`.

        Those with a low score, of which there may be many, keep their pose. others: second estimates of all detections,
        (D, 3, 4), NaN where there is none. rotations: relative to the viewing ray, (A, 3, 3), that are tried first,
        where those of the detections may be far from the truth; they take the place of the second estimates.
        """
        image = images_of(found)
        if not len(image) or images.shape[1] != 3:
            return
        labels, scores = torch.cat([one.labels for one in found]), torch.cat([one.scores for one in found])
        poses = torch.cat([one.poses for one in found if one.poses is not None])
        classes = len(self.diameters)
        place = image * classes + labels
        best = scores.new_zeros(len(found) * classes).scatter_reduce(0, place, scores, "amax")
        usable = poses.isfinite().flatten(1).all(1) & (poses[:, 2, 3] > 0)
        rank = torch.cat([one.scores.argsort(descending=True).argsort() for one in found])
        sure = (scores >= MIN_ALIGNED_SCORE * best[place]) & (scores >= self.effort.min_score)
        chosen = usable & self.aligns[labels] & sure & (rank < MAX_ALIGNED)
        with torch.autocast(images.device.type, enabled=False):
            surfaces = Surfaces.of(self.surface, self.unhidden, labels[chosen])
            of, better = image[chosen], poses[chosen].float()
            crops = ObjectCrops.around(images.float(), of, cameras.float()[of], surfaces, better)
            second = torch.full_like(better, torch.nan) if others is None else others[chosen].float()
            if rotations is not None:
                better, second = turned_to_match(crops, better, rotations, self.effort)
            poses[chosen] = best_aligned(crops, better, second, self.effort)
        for one, part in zip(found, poses.split([len(one) for one in found])):
            one.poses = part

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
