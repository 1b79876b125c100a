"""PoseCNN: label every pixel, vote for the projected origin of each object, and read its rotation from a region.

Xiang et al. 2018, in the form of the released network: a VGG-16 trunk; a branch for labels; a branch for the direction
to the projected origin and the logarithm of the depth of each class; and fully connected layers that turn the
features pooled from each voted region into a quaternion per class. See `pose.hough_voting`.

Differences from the release: the network learns rotations from the true regions, shifted at random, not from voted
ones, so the rotation loss is not zero while nothing is found; depth is relative to the focal length of the typical
camera, so that resized images agree; and the fixed bilinear upsampling, which commutes with a 1x1 convolution, comes
after the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.detection.neck import remove_later_stages
from danlu.detection.pose_detector import PoseDetector, images_of, real_objects
from danlu.detection.regions import roi_pool
from danlu.models.backbone import Backbone
from danlu.objects import PADDING, Detections, ObjectBatch
from danlu.pose.cameras import directions, focal_lengths, project
from danlu.pose.hough_voting import hough_voting, regions, vote_map
from danlu.pose.object_model import ObjectModel
from danlu.pose.pose_losses import MARGIN, group_loss, ploss, released_scale, sloss
from danlu.pose.rotation_anchors import spread_rotations
from danlu.pose.rotations import from_quaternions, to_egocentric
from danlu.pose.symmetry import thinned

BACKGROUND = 0  # in the label branch; class k is k + 1
IGNORED = -100
POOLED_SIDE = 7  # cells of a pooled region
VERTEX_WEIGHT = 10.0  # inside the smooth L1, which therefore is linear for differences above 0.1
LOSS_POINTS = 144  # of a model in the rotation loss: orbits of up to 72 symmetries
SURFACE_POINTS = 1000  # of a model, of which those are chosen
JITTER = 0.05  # of the true regions in training: shift and change of side, as fractions of the side
MAX_LOG_DEPTH = 8.0
SEARCHED = 400  # rotations; the head is trained for minutes, and most of its own are far off


class Embedding(nn.Module):
    """Two maps to one of the fine map's size: 1x1 convolutions, the coarse one upsampled, their sum, a 1x1 convolution.

    channels: of the fine and the coarse map. relu: after the first convolutions.
    """

    def __init__(self, channels: Sequence[int], width: int, outputs: int, dropout: float, relu: bool) -> None:
        super().__init__()
        self.fine, self.coarse = (nn.Conv2d(c, width, 1) for c in channels)
        self.relu, self.dropout = relu, nn.Dropout(dropout)
        self.out = nn.Conv2d(width, outputs, 1)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Return the joined map (N, C, H, W), of the size of `fine`."""
        a, b = self.fine(fine), self.coarse(coarse)
        if self.relu:
            a, b = a.relu(), b.relu()
        return self.out(self.dropout(a + upsampled(b, a.shape[-2:])))


class RotationHead(nn.Module):
    """Pooled regions (R, C, 7, 7) to quaternions of each class (R, K, 4) by three dense layers, the last with tanh.

    normalise: layer normalisation before each ReLU.
    """

    def __init__(self, channels: int, hidden: int, classes: int, dropout: float, normalise: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs in (channels * POOLED_SIDE**2, hidden):
            layers.append(nn.Linear(inputs, hidden))
            layers += [nn.LayerNorm(hidden)] if normalise else []
            layers += [nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers)
        self.out = nn.Linear(hidden, 4 * classes)
        nn.init.normal_(self.out.weight, std=0.01)
        with torch.no_grad():  # near 0 the direction of a quaternion would change with every step
            self.out.bias.copy_(torch.tensor([1.0, 0, 0, 0]).repeat(classes))

    def forward(self, pooled: Tensor) -> Tensor:
        """Return quaternions (R, K, 4), not normalised, of pooled regions (R, C, 7, 7)."""
        return self.out(self.layers(pooled)).tanh().unflatten(1, (-1, 4))


class PoseCNN(PoseDetector):
    """The released network; `PoseCNNSmall` is the same for a small trunk.

    width: channels of the label branch; the branch for directions and depth has twice as many. hidden: units of the
    dense layers. STRIDES: of the two maps of the backbone that are used. ALLOCENTRIC: the head's rotations are relative
    to the viewing ray, which a pooled region shows; those of the camera frame also depend on where the region is.
    ALIGNED: poses are aligned with the image (`pose.alignment`), after a search for the rotation.
    pose_loss: of rotations, one of `pose.losses.POSE_LOSSES`; the paper's is sloss.
    """

    STRIDES = (8, 16)
    DROPOUT = 0.5
    NORMALISE = ALLOCENTRIC = ALIGNED = False

    symmetric: Tensor
    loss_points: Tensor

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        size: int,
        *,
        width: int = 64,
        hidden: int = 4096,
        pose_loss: str = "sloss",
    ) -> None:
        super().__init__(classes, size)
        self.pose_loss = pose_loss
        strides = backbone.feature_strides
        self.stages = [max(i for i, s in enumerate(strides) if s <= wanted) for wanted in self.STRIDES]
        remove_later_stages(backbone, self.stages[-1])
        self.backbone = backbone
        self.strides = [strides[i] for i in self.stages]
        channels = [backbone.feature_channels[i] for i in self.stages]
        outputs = classes + 1  # the release has numbers for the background too, which no loss uses
        self.labels = Embedding(channels, width, outputs, self.DROPOUT, relu=True)
        self.centres = Embedding(channels, 2 * width, 3 * outputs, self.DROPOUT, relu=False)
        pooled = channels[-1]
        same = channels[0] == pooled
        self.lateral = nn.Identity() if same else nn.Conv2d(channels[0], pooled, 1)
        self.rotations = RotationHead(pooled, hidden, outputs, self.DROPOUT, self.NORMALISE)
        self.register_buffer("symmetric", torch.zeros(classes, dtype=torch.bool))
        self.register_buffer("loss_points", torch.zeros(classes, LOSS_POINTS, 3))

    def set_models(self, models: Sequence[ObjectModel], camera: Tensor) -> None:
        """See `PoseDetector.set_models`; also stores points for the rotation loss, scaled as in the release."""
        super().set_models(models, camera)
        for k, model in enumerate(models):
            self.symmetric[k] = model.symmetric
            points = orbit_points(model, LOSS_POINTS)
            self.loss_points[k] = points * released_scale(model.points, model.symmetric)

    def outputs(self, images: Tensor) -> dict[str, Any]:
        """images; labels (N, K + 1, h, w) and centres (N, 3K + 3, h, w) before upsampling; the two maps."""
        maps = self.backbone.features(images)
        fine, coarse = (maps[i] for i in self.stages)
        numbers = {"labels": self.labels(fine, coarse), "centres": self.centres(fine, coarse)}
        return {"images": images, "maps": (fine, coarse)} | numbers

    def losses(self, outputs: dict[str, Any], objects: ObjectBatch) -> dict[str, Tensor]:
        """Losses of labels, directions, depth and rotations, all with weight 1."""
        owner, labels = pixel_targets(objects)
        size = labels.shape[-2:]
        pixel = F.cross_entropy(upsampled(outputs["labels"].float(), size), labels, ignore_index=IGNORED)
        centre, depth = self._vertex_losses(outputs["centres"].float(), objects, owner, labels)
        rotation = self._rotation_loss(outputs["maps"], objects)
        terms = {"pixel": pixel, "centre_loss": centre, "depth_loss": depth, "rotation_loss": rotation}
        return {"loss": pixel + centre + depth + rotation} | terms

    def _vertex_losses(
        self, numbers: Tensor, objects: ObjectBatch, owner: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Smooth L1 of directions and of log depth, which together are divided by the sum of their weights.

        numbers: (N, 3K + 3, h, w) before upsampling; only the pixels and channels in the loss are interpolated.
        """
        assert objects.poses is not None
        assert objects.cameras is not None
        image, y, x = (labels > BACKGROUND).nonzero().unbind(1)
        if not len(image):
            return numbers.sum() * 0, numbers.sum() * 0
        number = owner[image, y, x]
        translation = objects.poses[..., 3][image, number]
        centres = project(objects.poses[..., 3], objects.cameras)[image, number]
        pixels = torch.stack((x, y), 1) + 0.5
        wanted = F.normalize(centres - pixels, dim=1)
        logs = (translation[:, 2] / self._focal_ratio(objects.cameras)[image]).log()
        channels = 3 * labels[image, y, x, None] + torch.arange(3, device=labels.device)
        found = interpolated(numbers, image, channels, y, x, labels.shape[-2:])
        difference = VERTEX_WEIGHT * (found - torch.cat((wanted, logs[:, None]), 1))
        losses = F.smooth_l1_loss(difference, torch.zeros_like(difference), reduction="none").sum(0)
        losses = losses / (VERTEX_WEIGHT * difference.numel())
        return losses[:2].sum(), losses[2]

    def _rotation_loss(self, maps: tuple[Tensor, Tensor], objects: ObjectBatch) -> Tensor:
        """Loss `pose_loss` of symmetric and PLoss of other objects, mean over the objects."""
        real = real_objects(objects)
        seen = (real[0][:, 2:] > real[0][:, :2]).all(-1)
        boxes, labels, poses, cameras, image = (one[seen] for one in real)
        if not len(image):
            return maps[0].sum() * 0
        centres = project(poses[:, None, :, 3], cameras)[:, 0]
        reach = torch.maximum(centres - boxes[:, :2], boxes[:, 2:] - centres).clamp(min=1)
        areas = regions(torch.cat((centres - reach, centres + reach), 1))
        found = self._rotations(maps, jittered(areas) if self.training else areas, labels, image, poses[..., 3])
        points, symmetric, real = self.loss_points[labels], self.symmetric[labels], poses[..., :3]
        losses = ploss(points, found, real, MARGIN)
        if self.pose_loss != "ploss" and symmetric.any():
            points, one, other = (each[symmetric] for each in (points, found, real))
            if self.pose_loss == "sloss":
                least = sloss(points, one, other, MARGIN)
            else:
                least = group_loss(points, one, other, self._scaled_symmetries()[labels[symmetric]], MARGIN)
            losses = losses.masked_scatter(symmetric, least)
        return losses.sum() / len(image)

    def _scaled_symmetries(self) -> Tensor:
        """Symmetries (K, G, 4, 4) of symmetric models in the unit of `loss_points`."""
        factors = [released_scale(corners, True) for corners in self.corners]
        found = self.symmetries.clone()
        found[..., :3, 3] *= found.new_tensor(factors)[:, None, None]
        return found

    def _rotations(
        self, maps: tuple[Tensor, Tensor], areas: Tensor, labels: Tensor, image: Tensor, rays: Tensor
    ) -> Tensor:
        """Rotation matrices (R, 3, 3) in the camera frame, of the classes of R regions.

        rays: vectors (R, 3) towards the objects.
        """
        fine, coarse = (
            roi_pool(one, areas, image, size=POOLED_SIDE, stride=stride)
            for one, stride in zip((self.lateral(maps[0]), maps[1]), self.strides)
        )
        rows = torch.arange(len(labels), device=labels.device)
        quaternions = self.rotations(fine + coarse)[rows, labels + 1].float()
        rotations = from_quaternions(quaternions)
        return to_egocentric(rotations, rays) if self.ALLOCENTRIC else rotations

    def _focal_ratio(self, cameras: Tensor) -> Tensor:
        """Focal lengths of cameras (N, 3, 3) relative to that of the typical camera, (N,)."""
        return focal_lengths(cameras) / focal_lengths(self.camera)

    def _fields(self, outputs: dict[str, Any], cameras: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Probability and label of each pixel (N, H, W), the three numbers of its class (N, 3, H, W), and its depth."""
        size = outputs["images"].shape[-2:]
        chances, labels = upsampled(outputs["labels"].float(), size).softmax(1).max(1)
        numbers = upsampled(outputs["centres"].float(), size).unflatten(1, (-1, 3))
        numbers = numbers.gather(1, labels[:, None, None].expand(-1, 1, 3, -1, -1))[:, 0]
        logs = numbers[:, 2].clamp(-MAX_LOG_DEPTH, MAX_LOG_DEPTH)
        return chances, labels, numbers, logs.exp() * self._focal_ratio(cameras)[:, None, None]

    @torch.no_grad()
    def vote_maps(self, outputs: dict[str, Any], cameras: Tensor) -> Tensor | None:
        """See `PoseDetector.vote_maps`."""
        cameras = cameras.float()
        _, labels, numbers, depths = self._fields(outputs, cameras)
        rows = zip(labels - 1, numbers[:, :2], depths, focal_lengths(cameras).tolist())
        return torch.stack([vote_map(one, ways, far, self.diameters, focal) for one, ways, far, focal in rows])

    @torch.no_grad()
    def detect_poses(
        self,
        outputs: dict[str, Any],
        cameras: Tensor,
        min_score: float = 0.05,
        nms_iou: float = 0.5,
        max_detections: int = 100,
    ) -> list[Detections]:
        """See `PoseDetector.detect_poses`; at most one object per class and image, so nms_iou has no effect.

        The score is the mean probability of the class over its pixels times the fraction of them that vote.
        """
        cameras = cameras.float()
        chances, labels, numbers, depths = self._fields(outputs, cameras)
        found = []
        for i in range(len(labels)):
            focal = float(focal_lengths(cameras[i]))
            voted = hough_voting(labels[i] - 1, numbers[i, :2], depths[i], self.diameters, focal)
            sums, counts = (
                labels[i].flatten().bincount(w, len(self.diameters) + 1) for w in (chances[i].flatten(), None)
            )
            scores = voted.votes * (sums / counts.clamp(min=1))[voted.labels + 1]
            order = scores.argsort(descending=True)[:max_detections]
            order = order[scores[order] >= min_score]
            rays = directions(voted.centres[order], cameras[i]) * voted.depths[order, None]
            one = Detections(voted.boxes[order], scores[order], voted.labels[order])
            one.poses = torch.cat((torch.zeros(len(order), 3, 3).to(rays), rays[..., None]), -1)
            found.append(one)
        image = images_of(found)
        if len(image):
            boxes, classes = torch.cat([d.boxes for d in found]), torch.cat([d.labels for d in found])
            rays = torch.cat([d.poses[..., 3] for d in found if d.poses is not None])
            rotations = self._rotations(outputs["maps"], regions(boxes), classes, image, rays)
            for one, part in zip(found, rotations.split([len(d) for d in found])):
                assert one.poses is not None
                one.poses[..., :3] = part
        if self.ALIGNED:
            self.align(found, outputs["images"], cameras, rotations=spread_rotations(SEARCHED))
        return found


class PoseCNNSmall(PoseCNN):
    """PoseCNN on a small trunk, for small images and training without a GPU."""

    DROPOUT = 0.0
    NORMALISE = ALLOCENTRIC = ALIGNED = True


def upsampled(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Interpolate maps (N, C, h, w) bilinearly to a size (H, W)."""
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


def interpolated(maps: Tensor, image: Tensor, channels: Tensor, y: Tensor, x: Tensor, size: Sequence[int]) -> Tensor:
    """Return `upsampled(maps, size)[image, channels, y, x]`, (P, c), without the other values.

    channels: int64 (P, c). image, y, x: int64 (P,).
    """
    _, c, h, w = maps.shape
    first = (image[:, None] * c + channels) * h
    rows, down = _neighbours(y, size[0], h)
    columns, across = _neighbours(x, size[1], w)
    flat, total = maps.reshape(-1), 0
    for i in range(2):
        for j in range(2):
            index = (first + rows[i][:, None]) * w + columns[j][:, None]
            values = flat.index_select(0, index.flatten()).view_as(index)
            total = total + values * (down[i] * across[j])[:, None]
    return torch.as_tensor(total)


def _neighbours(place: Tensor, size: int, cells: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The two cells between whose centres a pixel is, on one axis, and their weights."""
    at = ((place + 0.5) * (cells / size) - 0.5).clamp(min=0)
    low = at.floor().long()
    return (low, (low + 1).clamp(max=cells - 1)), (1 - (at - low), at - low)


def pixel_targets(objects: ObjectBatch) -> tuple[Tensor, Tensor]:
    """Return the object that each pixel shows, int64 (N, H, W), and the label of the pixel (N, H, W).

    Labels are class + 1, `BACKGROUND`, or `IGNORED` where the object is ignored. Where masks overlap the nearest
    object is seen.
    """
    assert objects.masks is not None
    assert objects.poses is not None
    nearness = 1 / objects.poses[..., 2, 3].clamp(min=1e-3)
    nearness = nearness.masked_fill(objects.labels == PADDING, 0)
    seen, owner = (objects.masks * nearness[..., None, None]).max(1)
    wanted = (objects.labels + 1).masked_fill(~objects.valid, IGNORED)
    labels = wanted.gather(1, owner.flatten(1)).view_as(owner)
    return owner, labels.masked_fill(seen == 0, BACKGROUND)


def orbit_points(model: ObjectModel, count: int) -> Tensor:
    """Choose points on the surface of a model (count, 3) whose set does not change under its symmetries.

    With points drawn one by one, the SLoss of an equivalent pose would not be zero.
    """
    group = thinned(model.symmetries, count)
    points = model.mesh.surface(SURFACE_POINTS)
    points = points[(points - points.mean(0)).norm(dim=1).argsort()]
    n = max(1, count // len(group))
    points = points[(torch.arange(n) * 2 + 1) * len(points) // (2 * n)]  # near the middle and far from it
    orbits = points @ group[:, :3, :3].transpose(-1, -2) + group[:, None, :3, 3]
    return orbits.flatten(0, 1)[torch.arange(count) % (n * len(group))]


def jittered(areas: Tensor) -> Tensor:
    """Shift regions (R, 4) and change their sides at random by `JITTER`, as errors of the votes do."""
    sides = areas[:, 2:] - areas[:, :2]
    noise = (torch.rand(len(areas), 4, device=areas.device) * 2 - 1) * JITTER * sides.repeat(1, 2)
    return areas + noise
