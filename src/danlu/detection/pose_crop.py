"""pose-crop: a detector, then a small network that estimates the pose of each object from a view of its box.

Each view is what a camera turned towards the box would see (`pose.view_crops`), so that the head predicts quantities
that do not change when an object moves or another camera is used: the rotation relative to the viewing ray
(allocentric), the projected centre relative to the view, and the logarithm of the depth relative to its zoom, as
CosyPose and GDR-Net do. The rotation is one of several anchors, chosen by a score, with a small correction
(`pose.rotation_anchors`). Distances of rotations are the smallest over the symmetries of the model, so that poses that
look the same cost the same. Each object is seen in several views, turned about their axes: at random in training, by
equal steps in detection, where the estimates are merged (`pose.consensus`) and aligned with the image
(`pose.alignment`).

R views, K classes, A anchors.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.detection.pose_detector import PoseDetector, images_of, real_objects
from danlu.detection.yolo import YOLO
from danlu.models.backbone import Backbone
from danlu.models.parts import conv
from danlu.objects import Detections, ObjectBatch
from danlu.pose.consensus import pose_consensus
from danlu.pose.pose_losses import EPSILON, sloss, symmetric_distances
from danlu.pose.rotation_anchors import anchor_distances, spread_rotations
from danlu.pose.rotations import from_quaternions
from danlu.pose.symmetry import group_sizes, orbits
from danlu.pose.view_crops import Views, towards

CONTEXT = 1.3  # side of a view relative to the longer side of its box
JITTER = 0.12  # of boxes in training: shift and change of side, as fractions; detected boxes are not exact
DETECTOR_IMAGES = 2  # the detector is trained on every second image, since most of the time is spent on the views
VIEWS_PER_IMAGE = 8  # views per training image of a batch; a constant number, so that kernels are compiled once
MERGED_VIEWS = 8  # views of a detection whose estimates are merged; eight halve the error of one
VIEWS_AT_ONCE = 512  # max number of views in one pass of detection
MULTIPLE_OF_VIEWS = 64  # such a pass is padded to a multiple of it: few sizes, for which kernels are compiled
MERGED_DETECTIONS = 10  # top-scoring detections of an image that get MERGED_VIEWS; the others get one view
ANCHORS = 200
ANCHOR_WIDTH = 0.12  # in diameters: distance at which an anchor's target probability has fallen to 1/e
PLACE, CORRECTION = 3, 3  # outputs: centre 2 and depth 1; of each anchor, the correction of its rotation
ROTATION_WEIGHT, SCORE_WEIGHT, CENTRE_WEIGHT, DEPTH_WEIGHT = 4.0, 2.0, 4.0, 2.0
INITIAL_SPREAD = 0.01  # standard deviation of the weights of the output layers


class ViewPose(NamedTuple):
    """Rotation (R, 3, 3), centre (R, 2) in sides of the view, and log of the depth in units of its zoom (R,)."""

    rotation: Tensor
    centre: Tensor
    log_depth: Tensor


class ViewNetwork(nn.Module):
    """Views (R, C, S, S) and classes (R,) to scores (R, A) and corrections (R, A, 3) of anchors, and places (R, 3)."""

    def __init__(self, channels: int, classes: int, width: int, hidden: int) -> None:
        super().__init__()
        w = width
        self.features = nn.Sequential(
            conv(channels, w, 5, stride=2, norm="batch"),
            conv(w, 2 * w, 3, stride=2, norm="batch"),
            conv(2 * w, 3 * w, 3, stride=2, norm="batch"),
            conv(3 * w, 4 * w, 3, norm="batch"),
            nn.AdaptiveAvgPool2d(6),
            nn.Flatten(),
            nn.Linear(144 * w, hidden, bias=False),
            nn.BatchNorm1d(hidden),  # without a norm all units of the layer died within an epoch
            nn.ReLU(),
        )
        self.scores = nn.Linear(hidden, classes * ANCHORS)
        self.corrections = nn.Linear(hidden, classes * ANCHORS * CORRECTION)
        self.place = nn.Linear(hidden, classes * PLACE)
        for layer in (self.scores, self.corrections, self.place):
            nn.init.normal_(layer.weight, std=INITIAL_SPREAD)
            nn.init.zeros_(layer.bias)

    def forward(self, views: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return scores (R, A), corrections (R, A, 3) and places (R, 3) of views (R, C, S, S), classes (R,)."""
        x = self.features(views).float()
        rows = torch.arange(len(labels), device=labels.device)
        with exact(x):
            scores = self.scores(x).unflatten(1, (-1, ANCHORS))[rows, labels]
            corrections = self.corrections(x).unflatten(1, (-1, ANCHORS, CORRECTION))[rows, labels]
            place = self.place(x).unflatten(1, (-1, PLACE))[rows, labels]
        return scores, corrections, place


class PoseCrop(PoseDetector):
    """A YOLO on the backbone, and `ViewNetwork` on views of its boxes.

    width: channels of the detector's pyramid. crop: side of the views in pixels. hidden: units of the dense layer.
    pose_loss: of rotations, one of `pose.losses.POSE_LOSSES`.
    """

    anchors: Tensor

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        size: int,
        *,
        width: int = 48,
        crop: int = 64,
        hidden: int = 512,
        pose_loss: str = "symmetries",
    ) -> None:
        super().__init__(classes, size)
        self.pose_loss = pose_loss
        self.detector = YOLO(backbone, classes, size, width=width)
        self.crop = crop
        self.views = ViewNetwork(3, classes, 32, hidden)
        self.register_buffer("anchors", spread_rotations(ANCHORS).clone())

    @property
    def backbone(self) -> Backbone:
        """Backbone of the detector."""
        return self.detector.backbone

    def outputs(self, images: Tensor) -> dict[str, Any]:
        """Outputs of the detector, and the images."""
        return self.detector.outputs(images) | {"images": images}

    def forward(self, images: Tensor, objects: ObjectBatch | None = None) -> dict[str, Any]:
        """See `Detector.forward`. In training the detector, which converges sooner, gets a part of the images."""
        if objects is None or not self.training:
            return super().forward(images, objects)
        seen = -(-len(images) // DETECTOR_IMAGES)
        outputs = self.detector.outputs(images[:seen]) | {"images": images}
        return self.losses(outputs, objects)

    def losses(self, outputs: dict[str, Any], objects: ObjectBatch) -> dict[str, Tensor]:
        """Compute the losses of boxes and poses, and "loss", their sum."""
        seen = torch.arange(len(outputs["logits"]), device=objects.device)
        found = self.detector.losses(outputs, objects.index_select(0, seen))
        real = real_objects(objects)
        if self.training:
            rows = in_turn(len(real[0]), VIEWS_PER_IMAGE * len(outputs["images"]), real[0].device)
            real = tuple(one[rows] for one in real)
        boxes, labels, poses, cameras, image = real
        if len(boxes) < 2:  # batch norm needs several views
            zero = found["loss"].new_zeros(())
            return found | dict.fromkeys(("rotation_loss", "score_loss", "centre_loss", "depth_loss"), zero)
        angles = torch.rand(len(boxes), device=boxes.device) * math.tau if self.training else None
        with exact(boxes):
            views = towards(square(jittered(boxes) if self.training else boxes), cameras, image, angles)
            crops = views.crops(outputs["images"], self.crop)
        predicted = self.views(crops, labels)
        with exact(boxes):
            terms = self._pose_losses(predicted, labels, self._view_pose(views.poses(poses), views, labels))
        weights = (ROTATION_WEIGHT, SCORE_WEIGHT, CENTRE_WEIGHT, DEPTH_WEIGHT)
        total = sum((w * loss for w, loss in zip(weights, terms.values())), found["loss"])
        return found | terms | {"loss": total}

    def _pose_losses(
        self, predicted: tuple[Tensor, Tensor, Tensor], labels: Tensor, truth: ViewPose
    ) -> dict[str, Tensor]:
        """Mean losses over the views."""
        scores, corrections, place = predicted
        targets = self._anchor_targets(labels, truth.rotation)
        # An anchor is drawn by its target, so that neighbours of the nearest one learn their corrections too.
        chosen = torch.multinomial(targets, 1)[:, 0] if self.training else scores.argmax(1)
        found = self._refined(chosen, corrections, place)
        distances = self._distances(labels, found.rotation, truth.rotation)
        return {
            "rotation_loss": (distances / self.diameters[labels]).mean(),
            "score_loss": -(targets * scores.log_softmax(1)).sum(1).mean(),
            "centre_loss": (found.centre - truth.centre).abs().mean(),
            "depth_loss": (found.log_depth - truth.log_depth).abs().mean(),
        }

    def _view_pose(self, poses: Tensor, views: Views, labels: Tensor) -> ViewPose:
        """Encode poses (R, 3, 4) in the frames of the views as outputs."""
        rotation, translation = poses[..., :3], poses[..., 3]
        depth = translation[:, 2].clamp(min=EPSILON)
        centre = translation[:, :2] / depth[:, None] / (2 * views.reach[:, None])
        return ViewPose(rotation, centre, (depth / self._zoom(views, labels)).log())

    def _refined(self, chosen: Tensor, corrections: Tensor, place: Tensor) -> ViewPose:
        """Poses with the chosen anchors (R,) after their corrections, which are quaternions with w = 1."""
        own = corrections[torch.arange(len(chosen), device=chosen.device), chosen]
        turn = from_quaternions(torch.cat((torch.ones_like(own[:, :1]), own), 1))
        return ViewPose(turn @ self.anchors[chosen], place[:, :2], place[:, 2])

    def _anchor_targets(self, labels: Tensor, rotations: Tensor) -> Tensor:
        """Probability of each anchor (R, A) by its distance from the truth (R, 3, 3)."""
        distances = rotations.new_empty(len(labels), len(self.anchors))
        for k in labels.unique().tolist():
            of_class = labels == k
            group = self.symmetries[k, :, :3, :3] if self.pose_loss != "ploss" else self.symmetries[k, :1, :3, :3]
            moments = self.moments[k, :3, :3]
            found = anchor_distances(moments, self.anchors, rotations[of_class], group)
            distances[of_class] = found / self.diameters[k]
        return (-(distances / ANCHOR_WIDTH).square()).softmax(1)

    def _distances(self, labels: Tensor, estimate: Tensor, truth: Tensor) -> Tensor:
        """Distances (R,) in metres between the models at two rotations (R, 3, 3), by `pose_loss`."""
        group = self.symmetries[labels]
        one_pose = group[:, :1] if self.pose_loss != "symmetries" else group  # the identity is first
        origin = torch.zeros_like(truth[..., 0])
        found = symmetric_distances(self.moments[labels], (estimate, origin), (truth, origin), one_pose)
        if self.pose_loss != "sloss":
            return found
        nearest = (2 * sloss(orbits(self.points[labels], group), estimate, truth)).clamp(min=EPSILON).sqrt()
        return torch.where(group_sizes(group) > 1, nearest, found)

    @torch.no_grad()
    def detect_poses(
        self,
        outputs: dict[str, Any],
        cameras: Tensor,
        min_score: float = 0.05,
        nms_iou: float = 0.5,
        max_detections: int = 100,
    ) -> list[Detections]:
        """See `PoseDetector.detect_poses`."""
        found = self.detector.detect(outputs, min_score, nms_iou, max_detections)
        image = images_of(found)
        if not len(image):
            for one in found:
                one.poses = one.boxes.new_zeros(0, 3, 4)
            return found
        boxes, labels = torch.cat([one.boxes for one in found]), torch.cat([one.labels for one in found])
        rank = torch.cat([one.scores.argsort(descending=True).argsort() for one in found])
        poses, others = torch.empty(2, len(boxes), 3, 4, device=boxes.device)
        for part, count in ((rank < MERGED_DETECTIONS, MERGED_VIEWS), (rank >= MERGED_DETECTIONS, 1)):
            at = image[part]
            poses[part], others[part] = self._estimates(
                outputs["images"], boxes[part], labels[part], cameras[at], at, count
            )
        for one, part in zip(found, poses.split([len(one) for one in found])):
            one.poses = part
        self.align(found, outputs["images"], cameras, others=others)
        return found

    def _estimates(
        self, images: Tensor, boxes: Tensor, labels: Tensor, cameras: Tensor, image: Tensor, count: int
    ) -> tuple[Tensor, Tensor]:
        """First and second estimates (R, 3, 4) of the poses of objects in boxes (R, 4), merged from `count` views."""
        if not len(boxes):
            return boxes.new_zeros(0, 3, 4), boxes.new_zeros(0, 3, 4)
        squares, cameras, image = (
            one.repeat_interleave(count, 0) for one in (square(boxes.float()), cameras.float(), image)
        )
        angles = torch.arange(count, device=boxes.device).repeat(len(boxes)) * (math.tau / count)
        view_labels = labels.repeat_interleave(count)
        with exact(boxes):
            views = towards(squares, cameras, image, angles)
        scores, corrections, place = self._in_parts(images, views, view_labels)
        with exact(boxes):
            poses = self._poses(self._refined(scores.argmax(1), corrections, place), views, view_labels)
            certainty = scores.softmax(1).amax(1)
            return pose_consensus(
                poses.unflatten(0, (-1, count)), certainty.unflatten(0, (-1, count)), self.symmetries[labels]
            )

    def _in_parts(self, images: Tensor, views: Views, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run the network on R views in passes of a few fixed sizes."""
        rows = F.pad(torch.arange(len(labels), device=labels.device), (0, -len(labels) % MULTIPLE_OF_VIEWS))
        parts = []
        for part in rows.split(VIEWS_AT_ONCE):
            with exact(images):
                crops = views.rows(part).crops(images, self.crop)
            parts.append(self.views(crops, labels[part]))
        scores, corrections, place = (torch.cat(one)[: len(labels)] for one in zip(*parts))
        return scores, corrections, place

    def _poses(self, found: ViewPose, views: Views, labels: Tensor) -> Tensor:
        """[R | t] (R, 3, 4) in the camera's frame."""
        depth = found.log_depth.clamp(-8, 8).exp() * self._zoom(views, labels)
        across = found.centre * (2 * views.reach[:, None]) * depth[:, None]
        translation = torch.cat((across, depth[:, None]), 1)
        return views.back(torch.cat((found.rotation, translation[..., None]), -1))

    def _zoom(self, views: Views, labels: Tensor) -> Tensor:
        """Depth in metres (R,) at which an object's diameter fills its view."""
        return self.diameters[labels] / (2 * views.reach)


def exact(like: Tensor) -> torch.autocast:
    """Context without reduced precision on the device of a tensor: a degree needs more digits than bf16 has."""
    return torch.autocast(like.device.type, enabled=False)


def in_turn(count: int, wanted: int, device: torch.device) -> Tensor:
    """Draw `wanted` of `count` rows, int64; their frequencies differ by at most one. Empty if count is 0."""
    return torch.randperm(count, device=device).repeat(-(-wanted // max(1, count)))[:wanted]


def middle(boxes: Tensor) -> Tensor:
    """Centres (R, 2) of boxes (R, 4)."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def square(boxes: Tensor) -> Tensor:
    """Squares (R, 4) around boxes (R, 4), `CONTEXT` times as large as the longer side."""
    half = (boxes[:, 2:] - boxes[:, :2]).amax(1, keepdim=True).clamp(min=1) * (CONTEXT / 2)
    return torch.cat((middle(boxes) - half, middle(boxes) + half), 1)


def jittered(boxes: Tensor) -> Tensor:
    """Shift boxes (R, 4) and change their sides at random, as errors of a detector do."""
    sides = boxes[:, 2:] - boxes[:, :2]
    noise = (torch.rand(len(boxes), 4, device=boxes.device) * 2 - 1) * JITTER
    centre = middle(boxes) + noise[:, :2] * sides
    half = sides / 2 * (1 + noise[:, 2:])
    return torch.cat((centre - half, centre + half), 1)
