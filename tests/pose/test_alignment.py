"""Poses aligned with images: even points, the fit of the light, scores, and errors before and after."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from danlu.data.sources.named.scenes import camera_of, draw
from danlu.detection.pose_detector import PoseDetector
from danlu.objects import Detections, ObjectBatch
from danlu.pose.alignment import QUICK, THOROUGH, ObjectCrops, aligned, best_aligned, moved, turned_to_match
from danlu.pose.evaluation import TrueObjects, pose_errors, pose_metrics
from danlu.pose.meshes import Mesh
from danlu.pose.render import Light, render
from danlu.pose.rotation_anchors import spread_rotations
from danlu.pose.rotations import from_axis_angle, random_rotations
from danlu.pose.self_occlusion import DIRECTIONS, unhidden, view_directions
from danlu.pose.shading import Surfaces, fitted_light, match_scores, nearby_background, seen_points
from danlu.pose.solids import cube, solids

SIDE = 128
CAMERA = torch.from_numpy(camera_of(SIDE)).float()
POINTS = 1024


def surfaces_of(labels: Tensor) -> Surfaces:
    models = torch.stack([torch.stack(model.mesh.spread_surface(POINTS)).float() for model in solids()])
    return Surfaces.of(models, torch.stack([unhidden(*model[:2]) for model in models]), labels)


def normalised(colours: Tensor) -> Tensor:
    return (colours.float() - 0.5) / 0.25


class Scenes:
    """Objects of drawn images."""

    def __init__(self, count: int) -> None:
        images, annotations, _ = draw(count, SIDE, seed=5)
        self.images = normalised(images / 255)
        self.rigid = [one.rigid for one in annotations if one.rigid is not None]
        self.labels = torch.cat([one.labels for one in annotations])
        self.image = torch.cat([torch.full((len(one),), i) for i, one in enumerate(annotations)])
        self.poses = torch.cat([torch.cat((one.rotations, one.translations[..., None]), -1) for one in self.rigid])

    def crops(self, poses: Tensor) -> ObjectCrops:
        cameras = CAMERA.expand(len(poses), 3, 3)
        return ObjectCrops.around(self.images, self.image, cameras, surfaces_of(self.labels), poses)

    def metrics(self, poses: Tensor) -> dict[str, float]:
        found, truth = [], []
        for i, rigid in enumerate(self.rigid):
            of = self.image == i
            labels = self.labels[of]
            found.append((labels, torch.ones(len(labels)), poses[of]))
            truth.append(TrueObjects(labels, self.poses[of], rigid.visible, rigid.camera, SIDE))
        return pose_metrics(pose_errors(found, truth, solids()))

    def shifted(self, degrees: float, pixels: float, depth: float) -> Tensor:
        """Poses with errors of these means: of the angle, of the place in the image, and of the depth as a fraction."""
        numbers = torch.randn(len(self.poses), 6, generator=torch.Generator().manual_seed(1))
        # Means of the length of a normal vector of 3, 2 and 1 dimensions: 1.6, 1.25 and 0.8 standard deviations.
        turn = numbers[:, :3] * math.radians(degrees) / 1.6
        rotation = from_axis_angle(turn, turn.norm(dim=-1)) @ self.poses[..., :3]
        z = self.poses[:, 2, 3] * (numbers[:, 5] * depth / 0.8).exp()
        ray = self.poses[:, :2, 3] / self.poses[:, 2:, 3] + numbers[:, 3:5] * pixels / 1.25 / CAMERA[0, 0]
        translation = torch.cat((ray * z[:, None], z[:, None]), 1)
        return torch.cat((rotation, translation[..., None]), -1)


def lit_cube(light: Light) -> tuple[ObjectCrops, Tensor]:
    """A cube of 7 cm before a dark background."""
    rotation = random_rotations(1, torch.Generator().manual_seed(3))
    translation = torch.tensor([[0.02, 0.01, 0.5]], dtype=torch.float64)
    drawn = render([cube().mesh], rotation.numpy(), translation.numpy(), camera_of(SIDE), (SIDE, SIDE), light)
    pose = torch.cat((rotation, translation[..., None]), -1).float()
    image = normalised(torch.from_numpy(drawn.colours))[None]
    surfaces = surfaces_of(torch.tensor([1]))
    return ObjectCrops.around(image, torch.zeros(1, dtype=torch.long), CAMERA[None], surfaces, pose), pose


@pytest.mark.parametrize("model", solids(), ids=lambda model: model.name)
def test_normals_point_outwards_whatever_the_order_of_corners(model: object) -> None:
    mesh = model.mesh  # type: ignore[attr-defined]
    points, normals, colours = mesh.spread_surface(2000)
    assert torch.allclose(normals.norm(dim=1), torch.ones(2000, dtype=torch.float64))
    # Divergence theorem: the mean of x . n over the surface is three times the volume divided by its area.
    assert float((points * normals).sum(1).mean()) > 0
    clockwise = Mesh(mesh.points, mesh.faces[:, ::-1], mesh.colours)
    assert torch.allclose(clockwise.spread_surface(2000)[1], normals)
    assert ((colours >= 0) & (colours <= 1)).all()


def test_points_are_spread_more_evenly_than_random_ones() -> None:
    mesh = cube().mesh
    # The mean of x^2 over the surface of a cube of half side h is (2 h^2 + 4 h^2 / 3) / 6 = 5 h^2 / 9.
    exact = 5 * 0.035**2 / 9
    even = float(mesh.spread_surface(POINTS)[0][:, 0].square().mean())
    random = [float(mesh.surface(POINTS, seed)[:, 0].square().mean()) for seed in range(20)]
    assert abs(even / exact - 1) < 0.01
    assert float(np.std(random)) / exact > 0.02


def test_a_convex_body_hides_no_point_that_faces_the_camera() -> None:
    for model in solids()[1:]:
        points, normals, _ = model.mesh.spread_surface(POINTS)
        assert unhidden(points, normals).all(), model.name


def test_points_behind_another_part_of_a_body_are_hidden() -> None:
    mesh = solids()[0].mesh
    points, normals, _ = mesh.spread_surface(POINTS)
    found = unhidden(points, normals)
    right = total = 0
    for number in range(0, DIRECTIONS, 9):
        direction = view_directions()[number].double()
        facing = normals @ direction > 0.1
        truth = ~_crossed(points, direction, torch.from_numpy(mesh.points[mesh.faces]))
        right += int((found[number] == truth)[facing].sum())
        total += int(facing.sum())
    assert right > 0.98 * total
    assert found.double().mean() < 0.98


def _crossed(points: Tensor, direction: Tensor, triangles: Tensor) -> Tensor:
    """Whether the ray from each point meets a triangle of (F, 3, 3), bool (P,) (Möller and Trumbore 1997)."""
    corner, along, across = triangles[:, 0], triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    normal = torch.linalg.cross(direction.expand_as(across), across)
    scale = (along * normal).sum(1)
    place = points[:, None] - corner
    u = (place * normal).sum(-1) / scale
    turned = torch.linalg.cross(place, along.expand_as(place))
    v, distance = (turned @ direction) / scale, (turned * across).sum(-1) / scale
    return ((u >= 0) & (v >= 0) & (u + v <= 1) & (distance > 1e-4)).any(1)


def test_a_known_light_is_found() -> None:
    light = Light((0.0, -0.6, -0.8), 0.45)
    crops, pose = lit_cube(light)
    seen, surfaces = crops.views.poses(pose), crops.surfaces
    ambient, direction, shift = fitted_light(crops.pixels, crops.views.reach, surfaces, seen, 1e-6)[0].split((1, 3, 3))
    normals = surfaces.normals[0] @ seen[0, :, :3].T
    visible = ((surfaces.points[0] @ seen[0, :, :3].T + seen[0, :, 3]) * normals).sum(1) < 0
    # The image is (colour x shade - 0.5) / 0.25, with Lambert's shade.
    cosines = normals @ (crops.views.turns[0] @ torch.tensor(light.towards))
    shade = light.ambient + (1 - light.ambient) * cosines.clamp(min=0)
    wanted = (surfaces.colours[0] * shade[:, None] - 0.5) / 0.25
    found = surfaces.colours[0] * (ambient + normals @ direction)[:, None] + shift
    assert (found - wanted)[visible].abs().mean() < 0.05
    assert wanted[visible].std() > 0.3


def test_the_true_pose_has_the_highest_score() -> None:
    crops, pose = lit_cube(Light((0.5, -0.5, -0.7), 0.4))
    seen = crops.views.poses(pose)
    for axis in range(6):
        steps = torch.linspace(-0.12, 0.12, 13)
        changes = torch.zeros(13, 6)
        changes[:, axis] = steps
        tried = moved(seen, crops.extent, changes)
        reach = crops.views.reach
        light = fitted_light(crops.pixels, reach, crops.surfaces, seen)
        places, _ = seen_points(crops.surfaces, reach, seen[:, None])
        background = nearby_background(crops.pixels, places[:, 0])
        scores = match_scores(crops.pixels, background, light, reach, crops.surfaces, tried)[0]
        assert abs(int(scores.argmax()) - 6) <= 1, axis
        assert scores[6] > 1.02 * max(scores[0], scores[12]), axis


def test_alignment_finds_what_a_short_training_leaves() -> None:
    scenes = Scenes(25)
    start = scenes.shifted(10, 1.6, 0.05)
    quick, thorough = (aligned(scenes.crops(start), start, effort) for effort in (QUICK, THOROUGH))
    before, quick, after = (scenes.metrics(one) for one in (start, quick, thorough))
    assert before["add_s_01d"] < 0.35
    assert quick["add_s_01d"] > 0.65
    assert after["add_s_01d"] > 0.8
    for name in ("rotation", "centre", "depth"):
        assert quick[name] < 0.6 * before[name], name
        assert after[name] < 0.45 * before[name], name


def test_alignment_is_repeatable_and_draws_no_random_number() -> None:
    scenes = Scenes(3)
    start = scenes.shifted(10, 1.6, 0.05)
    state = torch.get_rng_state()
    one, other = (aligned(scenes.crops(start), start) for _ in range(2))
    assert torch.equal(one, other)
    assert torch.equal(state, torch.get_rng_state())


def test_the_rotation_is_found_without_an_estimate() -> None:
    scenes = Scenes(8)
    start = scenes.shifted(0, 1.5, 0.03)
    start[..., :3] = random_rotations(len(start), torch.Generator().manual_seed(2)).float()
    crops = scenes.crops(start)
    better, second = turned_to_match(crops, start, spread_rotations(200))
    assert scenes.metrics(better)["rotation"] < 0.6 * scenes.metrics(start)["rotation"]
    one = scenes.metrics(aligned(crops, better))["add_s_01d"]
    assert one > scenes.metrics(start)["add_s_01d"] + 0.3
    assert scenes.metrics(best_aligned(crops, better, second))["add_s_01d"] >= one
    assert turned_to_match(crops, start, spread_rotations(20), QUICK)[1].isnan().all()


def test_a_model_without_faces_keeps_its_pose() -> None:
    scenes = Scenes(2)
    start = scenes.shifted(10, 1.6, 0.05)
    crops = scenes.crops(start)
    crops.surfaces.normals[0] = 0
    better = aligned(crops, start)
    assert torch.equal(better[0], start[0])
    assert not torch.equal(better[1], start[1])
    assert better.isfinite().all()
    points = Mesh(np.random.default_rng(0).normal(size=(50, 3)), np.zeros((0, 3), np.int64))
    assert not points.spread_surface(10)[1].any()


def test_a_model_without_colours_keeps_its_pose() -> None:
    mesh = solids()[0].mesh
    assert mesh.spread_surface(10)[1].any()
    assert not replace(mesh, colours=None).spread_surface(10)[1].any()


def test_alignment_is_used_where_it_improves_poses_of_training_images() -> None:
    scenes = Scenes(30)
    model = PoseDetector(3, SIDE)
    model.set_models(solids(), CAMERA)
    objects = ObjectBatch(
        boxes=torch.zeros(len(scenes.labels), 1, 4),
        labels=scenes.labels[:, None],
        ignore=torch.zeros(len(scenes.labels), 1, dtype=torch.bool),
        poses=scenes.poses[:, None],
        cameras=CAMERA.expand(len(scenes.labels), 3, 3),
    )
    images = scenes.images[scenes.image]
    model.judge_alignment(images, objects)
    assert model.aligns.tolist() == [True] * 3
    model.judge_alignment(images.flip(3), objects)  # the objects are elsewhere in these images
    assert not model.aligns.any()
    model.judge_alignment(images.mean(1, keepdim=True), objects)
    assert not model.aligns.any()


def aligning_model() -> PoseDetector:
    model = PoseDetector(3, SIDE)
    model.set_models(solids(), CAMERA)
    model.aligns.fill_(True)
    return model


def test_detections_with_a_low_score_keep_their_pose() -> None:
    scenes, model = Scenes(2), aligning_model()
    start = scenes.shifted(10, 1.6, 0.05)
    found = []
    for i in range(2):
        own, labels = start[scenes.image == i], scenes.labels[scenes.image == i]
        scores = torch.cat((torch.full((len(own),), 0.9), torch.full((len(own),), 0.2)))
        one = Detections(torch.zeros(2 * len(own), 4), scores, labels.repeat(2))
        one.poses = own.repeat(2, 1, 1)
        found.append(one)
    found[0].poses[0, 0, 0] = math.nan  # of a network that diverges
    before = [one.poses.clone() for one in found]
    model.align(found, scenes.images, CAMERA.expand(2, 3, 3))
    for one, old in zip(found, before):
        same = torch.tensor([torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(one.poses, old)])
        assert same[one.scores < 0.5].all()
        assert not same[(one.scores > 0.5) & old.isfinite().flatten(1).all(1)].any()
    model.align(
        [Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long))], scenes.images, CAMERA
    )


def test_unsure_detections_keep_their_pose_in_the_validations_of_a_training() -> None:
    scenes, model = Scenes(2), aligning_model()
    start = scenes.shifted(10, 1.6, 0.05)
    model.effort = QUICK
    for score, moves in ((QUICK.min_score / 2, False), (2 * QUICK.min_score, True)):
        found = []
        for i in range(2):
            own = start[scenes.image == i]
            one = Detections(torch.zeros(len(own), 4), torch.full((len(own),), score), scenes.labels[scenes.image == i])
            one.poses = own.clone()
            found.append(one)
        model.align(found, scenes.images, CAMERA.expand(2, 3, 3))
        moved = torch.cat([one.poses for one in found]) != torch.cat([start[scenes.image == i] for i in range(2)])
        assert moved.any() == moves


def test_the_better_of_two_estimates_is_kept() -> None:
    scenes = Scenes(6)
    near, far = scenes.shifted(5, 1, 0.03), scenes.shifted(90, 1, 0.03)
    others = near.clone()
    others[::2] = math.nan
    crops = scenes.crops(far)
    alone, kept = aligned(crops, far), best_aligned(crops, far, others)
    assert torch.equal(kept[::2], alone[::2]), "one estimate only"
    assert torch.equal(best_aligned(crops, far, others, QUICK), aligned(crops, far, QUICK)), "only where time is spent"
    replaced = (kept != alone).flatten(1).any(1)
    assert scenes.metrics(kept)["add_s_01d"] > scenes.metrics(alone)["add_s_01d"] + 0.15
    assert replaced[1::2].float().mean() > 0.5
