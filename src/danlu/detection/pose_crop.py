"""pose-crop: a detector, then a small network that reads the pose of each object from a square crop around its box.

The head predicts the rotation relative to the viewing ray (allocentric) as six numbers (Zhou et al. 2019), the
projected centre relative to the crop, and the logarithm of the depth relative to the zoom of the crop, as CosyPose and
GDR-Net do. These do not change when an object moves or another camera is used. The rotation loss is the smallest
distance over the symmetries of the model, so that poses that look the same cost the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from danlu.detection.pose_detector import PoseDetector, images_of, real_objects
from danlu.detection.regions import roi_align
from danlu.detection.yolo import YOLO
from danlu.models.backbone import Backbone
from danlu.models.parts import conv
from danlu.objects import Detections, ObjectBatch
from danlu.pose.cameras import directions, focal_lengths, project
from danlu.pose.losses import EPSILON, sloss, symmetric_distances
from danlu.pose.rotations import from_six, to_egocentric
from danlu.pose.symmetry import group_sizes, orbits

CONTEXT = 1.3  # side of a crop relative to the longer side of its box
JITTER = 0.12  # of boxes in training: shift and change of side, as fractions; detected boxes are not exact
DETECTOR_IMAGES = 4  # of every so many training images the detector sees one: half of the time is the crops'
OUTPUTS = 9  # rotation 6, centre 2, depth 1
ROTATION_WEIGHT, CENTRE_WEIGHT, DEPTH_WEIGHT = 4.0, 4.0, 2.0
START = (1.0, 0, 0, 0, 1, 0, 0, 0, 0)  # outputs before training: no rotation, the middle of the crop


class CropNetwork(nn.Module):
    """Crops (R, C, S, S) to numbers of each class (R, K, 9)."""

    def __init__(self, channels: int, classes: int, width: int, hidden: int) -> None:
        super().__init__()
        w = width
        self.features = nn.Sequential(
            conv(channels, w, 5, stride=2, norm="group"),
            conv(w, 2 * w, 3, stride=2, norm="group"),
            conv(2 * w, 3 * w, 3, stride=2, norm="group"),
            conv(3 * w, 4 * w, 3, norm="group"),
            nn.AdaptiveAvgPool2d(6),
            nn.Flatten(),
            nn.Linear(144 * w, hidden),
            nn.LayerNorm(hidden),  # without it all units of the layer died within an epoch at the usual learning rate
            nn.SiLU(),
        )
        self.out = nn.Linear(hidden, classes * OUTPUTS)
        nn.init.normal_(self.out.weight, std=0.01)
        with torch.no_grad():
            self.out.bias.copy_(torch.tensor(START).repeat(classes))

    def forward(self, crops: Tensor) -> Tensor:
        return self.out(self.features(crops)).unflatten(1, (-1, OUTPUTS))


class PoseCrop(PoseDetector):
    """A YOLO on the backbone, and `CropNetwork` on crops of the image.

    width: channels of the detector's pyramid. crop: side of the crops in pixels. hidden: units of the dense layer.
    pose_loss: of rotations, one of `pose.losses.POSE_LOSSES`.
    """

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        size: int,
        *,
        width: int = 48,
        crop: int = 48,
        hidden: int = 256,
        pose_loss: str = "symmetries",
    ) -> None:
        super().__init__(classes, size)
        self.pose_loss = pose_loss
        self.detector = YOLO(backbone, classes, size, width=width)
        self.crop = crop
        self.crops = CropNetwork(3, classes, 32, hidden)

    @property
    def backbone(self) -> Backbone:
        """Backbone of the detector."""
        return self.detector.backbone

    def outputs(self, images: Tensor) -> dict[str, Any]:
        """Outputs of the detector, and the images."""
        return self.detector.outputs(images) | {"images": images}

    def forward(self, images: Tensor, objects: ObjectBatch | None = None) -> dict[str, Any]:
        """As `Detector.forward`; in training the detector, which learns sooner, sees a part of the images only."""
        if objects is None or not self.training:
            return super().forward(images, objects)
        seen = -(-len(images) // DETECTOR_IMAGES)
        outputs = self.detector.outputs(images[:seen]) | {"images": images}
        return self.losses(outputs, objects)

    def losses(self, outputs: dict[str, Any], objects: ObjectBatch) -> dict[str, Tensor]:
        seen = torch.arange(len(outputs["logits"]), device=objects.device)
        found = self.detector.losses(outputs, objects.index_select(0, seen))
        boxes, labels, poses, cameras, image = real_objects(objects)
        zero = found["loss"].new_zeros(())
        if len(boxes) < 2:  # batch norm needs several crops
            return found | {"rotation_loss": zero, "centre_loss": zero, "depth_loss": zero}
        squares = square(jittered(boxes) if self.training else boxes)
        numbers = self._numbers(outputs["images"], squares, labels, image)
        rotation, translation = poses[..., :3], poses[..., 3]
        six, offsets, logs = numbers[:, :6], numbers[:, 6:8], numbers[:, 8]
        origin = torch.zeros_like(translation)
        turned = to_egocentric(from_six(six), translation), origin
        distances = self._distances(labels, turned, (rotation, origin))
        rotation_loss = (distances / self.diameters[labels]).mean()
        side = squares[:, 2] - squares[:, 0]
        centre = project(translation[:, None], cameras)[:, 0]
        wanted = (centre - middle(squares)) / side[:, None]
        centre_loss = (offsets - wanted).abs().mean()
        zoom = self._zoom(cameras, squares, labels)
        depth_loss = (logs - (translation[:, 2] / zoom).log()).abs().mean()
        total = ROTATION_WEIGHT * rotation_loss + CENTRE_WEIGHT * centre_loss + DEPTH_WEIGHT * depth_loss
        terms = {"rotation_loss": rotation_loss, "centre_loss": centre_loss, "depth_loss": depth_loss}
        return found | terms | {"loss": found["loss"] + total}

    def _distances(self, labels: Tensor, estimate: tuple[Tensor, Tensor], truth: tuple[Tensor, Tensor]) -> Tensor:
        """Distances (R,) in metres between the models at two poses, by `pose_loss`."""
        group = self.symmetries[labels]
        one_pose = group[:, :1] if self.pose_loss != "symmetries" else group  # the identity is first
        found = symmetric_distances(self.moments[labels], estimate, truth, one_pose)
        if self.pose_loss != "sloss":
            return found
        nearest = (2 * sloss(orbits(self.points[labels], group), estimate[0], truth[0])).clamp(min=EPSILON).sqrt()
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
        squares, labels = square(torch.cat([one.boxes for one in found])), torch.cat([one.labels for one in found])
        numbers = self._numbers(outputs["images"], squares, labels, image)
        poses = self._poses(numbers, squares, labels, cameras[image].float())
        for one, part in zip(found, poses.split([len(one) for one in found])):
            one.poses = part
        return found

    def _numbers(self, images: Tensor, squares: Tensor, labels: Tensor, image: Tensor) -> Tensor:
        """Outputs of the crop network for the class of each of R squares, float32 (R, 9)."""
        crops = roi_align(images, squares.to(images.dtype), image, size=self.crop, stride=1, samples=1)
        return self.crops(crops)[torch.arange(len(labels), device=labels.device), labels].float()

    def _poses(self, numbers: Tensor, squares: Tensor, labels: Tensor, cameras: Tensor) -> Tensor:
        """[R | t] (R, 3, 4) from outputs."""
        centres = middle(squares) + numbers[:, 6:8] * (squares[:, 2] - squares[:, 0])[:, None]
        depth = numbers[:, 8].clamp(-8, 8).exp() * self._zoom(cameras, squares, labels)
        translation = directions(centres, cameras) * depth[:, None]
        rotation = to_egocentric(from_six(numbers[:, :6]), translation)
        return torch.cat((rotation, translation[..., None]), -1)

    def _zoom(self, cameras: Tensor, squares: Tensor, labels: Tensor) -> Tensor:
        """Depth in metres (R,) at which an object's diameter fills its square."""
        return focal_lengths(cameras) * self.diameters[labels] / (squares[:, 2] - squares[:, 0])


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
