"""PoseCNN: parameter count, targets, losses with known values, and poses from exact fields."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from danlu.detection.detector_table import build_with_backbone
from danlu.detection.pose_crop import PoseCrop
from danlu.detection.pose_detector import PoseDetector
from danlu.detection.posecnn import BACKGROUND, IGNORED, LOSS_POINTS, PoseCNN, interpolated, orbit_points, pixel_targets
from danlu.objects import ObjectBatch
from danlu.pose.pose_losses import POSE_LOSSES, sloss
from danlu.pose.rotations import from_axis_angle, from_quaternions, random_rotations, to_egocentric
from danlu.pose.solids import solids
from danlu.pose.symmetry import residual

SIDE = 32
CAMERA = torch.tensor([[48.0, 0, 16], [0, 48, 16], [0, 0, 1]])


def small() -> PoseCNN:
    torch.manual_seed(0)
    model = build_with_backbone("posecnn-small", None, classes=3, channels=3, size=SIDE)
    assert isinstance(model, PoseCNN)
    model.set_models(solids(), CAMERA)
    return model.eval()


def scene(rotations: Tensor) -> ObjectBatch:
    """One image with a prism and, hidden in part by it, a cube, as squares around their projected origins."""
    translations = torch.tensor([[-0.05, 0.02, 0.5], [0.02, 0.0, 0.6]])
    masks = torch.zeros(1, 2, SIDE, SIDE, dtype=torch.uint8)
    masks[0, 0, 12:24, 5:17] = 1
    masks[0, 1, 10:22, 12:24] = 1
    boxes = torch.tensor([[[5.0, 12, 17, 24], [12, 10, 24, 22]]])
    poses = torch.cat((rotations, translations[..., None]), -1)[None]
    none = torch.zeros(1, 2, dtype=torch.bool)
    return ObjectBatch(boxes, torch.tensor([[0, 1]]), none, masks, poses=poses, cameras=CAMERA[None])


def exact_fields(objects: ObjectBatch) -> tuple[Tensor, Tensor]:
    """Label logits (1, 4, S, S), and directions and log depths (1, 12, S, S), pixel by pixel."""
    assert objects.poses is not None
    logits, numbers = torch.zeros(1, 4, SIDE, SIDE), torch.zeros(1, 4, 3, SIDE, SIDE)
    for y in range(SIDE):
        for x in range(SIDE):
            # The prism is nearer and hides the cube.
            prism, cube = 12 <= y < 24 and 5 <= x < 17, 10 <= y < 22 and 12 <= x < 24
            label = 1 if prism else 2 if cube else 0
            logits[0, label, y, x] = 20
            if label:
                t = objects.poses[0, label - 1, :, 3]
                centre = 48 * t[:2] / t[2] + 16
                numbers[0, label, :2, y, x] = torch.nn.functional.normalize(centre - torch.tensor([x, y]) - 0.5, dim=0)
                numbers[0, label, 2, y, x] = t[2].log()
    return logits, numbers.flatten(1, 2)


def test_parameters_of_the_released_network() -> None:
    with torch.device("meta"):
        model = build_with_backbone("posecnn", None, classes=21, channels=3, size=128)
    trunk = sum(9 * a * b + b for a, b in zip(
        (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512),
        (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512),
    ))  # fmt: skip
    labels = 2 * (512 * 64 + 64) + 64 * 22 + 22
    centres = 2 * (512 * 128 + 128) + 128 * 66 + 66
    rotations = (49 * 512 * 4096 + 4096) + (4096 * 4096 + 4096) + (4096 * 88 + 88)
    assert sum(p.numel() for p in model.parameters()) == trunk + labels + centres + rotations == 134_828_016


def test_the_nearer_object_is_seen_where_masks_overlap() -> None:
    objects = scene(random_rotations(2).float())
    owner, labels = pixel_targets(objects)
    logits, _ = exact_fields(objects)
    assert torch.equal(labels, logits.argmax(1))
    assert torch.equal(owner[labels > 0], labels[labels > 0] - 1)
    objects.ignore[0, 1] = True
    _, labels = pixel_targets(objects)
    assert labels[0, 11, 20] == IGNORED
    assert labels[0, 0, 0] == BACKGROUND


def test_exact_outputs_have_no_loss_and_give_the_exact_poses() -> None:
    model = small()
    model.ALIGNED = False  # the image is noise
    # Unit quaternions have no tanh; their multiples by 0.9 are the same rotations.
    quaternions = torch.nn.functional.normalize(torch.tensor([[1.0, 0.3, -0.5, 0.2], [0.4, -0.3, 0.7, 0.1]]), dim=1)
    with torch.no_grad():
        model.rotations.out.weight.zero_()
        model.rotations.out.bias[4:12] = (0.9 * quaternions).atanh().flatten()
    objects = scene(torch.eye(3).expand(2, 3, 3))
    assert objects.poses is not None
    objects.poses[0, :, :, :3] = to_egocentric(from_quaternions(quaternions), objects.poses[0, :, :, 3])
    outputs = model.outputs(torch.randn(1, 3, SIDE, SIDE))
    outputs["labels"], outputs["centres"] = exact_fields(objects)
    losses = model.losses(outputs, objects)
    assert float(losses["loss"].detach()) == pytest.approx(0, abs=1e-6)
    assert objects.cameras is not None
    (found,) = model.detect_poses(outputs, objects.cameras)
    assert sorted(found.labels.tolist()) == [0, 1]
    assert found.poses is not None
    for label, pose in zip(found.labels.tolist(), found.poses):
        assert (pose - objects.poses[0, label]).abs().max() < 1e-3
    # With twice the focal length the same image shows objects twice as far away.
    (far,) = model.detect_poses(outputs, objects.cameras * torch.tensor([[2.0], [2.0], [1.0]]))
    assert far.poses is not None
    assert torch.allclose(far.poses[:, 2, 3], 2 * found.poses[:, 2, 3])


def test_single_pixels_are_interpolated_as_the_whole_map() -> None:
    maps = torch.randn(2, 6, 5, 4)
    whole = torch.nn.functional.interpolate(maps, size=(20, 16), mode="bilinear", align_corners=False)
    image, y, x = torch.ones(2, 20, 16).nonzero().unbind(1)
    channels = torch.stack((image + 3, y % 6), 1)
    found = interpolated(maps, image, channels, y, x, (20, 16))
    assert torch.allclose(found, whole[image[:, None], channels, y[:, None], x[:, None]], atol=1e-6)


@pytest.mark.parametrize(("error", "loss"), [(0.05, 0.0125), (0.1, 0.05), (1.0, 0.95)])
def test_the_weight_is_inside_the_smooth_l1(error: float, loss: float) -> None:
    # smooth L1 of 10 x error, divided by the weights: 0.5 (10 e)^2 / 10, or (10 e - 0.5) / 10.
    model, objects = small(), scene(random_rotations(2).float())
    owner, labels = pixel_targets(objects)
    _, numbers = exact_fields(objects)
    centre, depth = model._vertex_losses(numbers + error, objects, owner, labels)
    assert float(centre) == pytest.approx(2 / 3 * loss, rel=1e-3)
    assert float(depth) == pytest.approx(1 / 3 * loss, rel=1e-3)


def test_points_of_symmetric_models_are_symmetric() -> None:
    for model in solids():
        points = orbit_points(model, LOSS_POINTS)
        assert points.shape == (LOSS_POINTS, 3)
        assert residual(points, model.symmetries).max() < 1e-9
        turns = random_rotations(1) @ model.symmetries[:, :3, :3]
        assert sloss(points, turns, turns[:1]).max() < 1e-12
        assert sloss(points, random_rotations(1), turns[:1]) > 1e-6


def test_an_image_without_objects_has_a_gradient() -> None:
    model, objects = small(), scene(random_rotations(2).float())
    objects.labels[:], objects.masks, objects.poses = -1, torch.zeros_like(objects.masks), torch.zeros(1, 2, 3, 4)
    losses = model(torch.randn(1, 3, SIDE, SIDE), objects)
    losses["loss"].backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.labels.parameters())
    assert float(losses["rotation_loss"].detach()) == 0


@pytest.mark.parametrize("name", ["posecnn-small", "pose-crop"])
def test_pose_losses_differ_in_turns_that_look_the_same(name: str) -> None:
    """A quarter turn of the cube costs nothing under SLoss and the minimum over its group, and a lot under PLoss.

    Both networks predict the same rotation for every object: PoseCNN before training, pose-crop with equal anchors.
    """
    costs = {}
    for pose_loss in POSE_LOSSES:
        torch.manual_seed(0)
        options = {"classes": 3, "channels": 3, "size": SIDE, "pose_loss": pose_loss}
        model = build_with_backbone(name, None, **options).eval()
        assert isinstance(model, PoseDetector)
        model.set_models(solids(), CAMERA)
        if isinstance(model, PoseCrop):
            model.anchors.copy_(torch.eye(3))
            nn.init.zeros_(model.views.corrections.weight)
        images = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
        for quarter in (0, 1):
            angle = torch.tensor([quarter * torch.pi / 2] * 2)
            rotations = from_axis_angle(torch.tensor([[0.0, 0, 1], [0, 0, 1]]), angle)
            rays = torch.tensor([[-0.05, 0.02, 0.5], [0.02, 0.0, 0.6]])
            objects = scene(to_egocentric(rotations, rays))
            objects.labels[:] = 1
            with torch.no_grad():
                costs[pose_loss, quarter] = float(model(images, objects)["rotation_loss"])
    assert costs["ploss", 1] > 4 * costs["ploss", 0]
    for pose_loss in ("sloss", "symmetries"):
        assert costs[pose_loss, 1] == pytest.approx(costs[pose_loss, 0], abs=1e-3)


def test_losses_in_bf16_are_near_those_in_fp32() -> None:
    """Max-pooling of regions has no bf16 form on CPUs."""
    model, objects = small(), scene(random_rotations(2, torch.Generator().manual_seed(1)).float())
    images = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = model(images, objects)["loss"]
        with torch.autocast("cpu", torch.bfloat16):
            half = model(images, objects)["loss"]
    assert float(half) == pytest.approx(float(plain), rel=0.05)
