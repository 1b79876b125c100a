"""Rotations, cameras, symmetries, errors and losses against worked numbers (scipy, BOP's formulas, YCB's toolbox)."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from danlu.pose import errors, pose_losses, rotations, symmetry
from danlu.pose.cameras import project_model, resized_camera, roll
from danlu.pose.rotations import from_axis_angle

CUBE = torch.tensor(list(itertools.product((-0.05, 0.05), repeat=3)), dtype=torch.float64)
K = torch.tensor([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]], dtype=torch.float64)
T = torch.tensor([0.0, 0, 1], dtype=torch.float64)
Z = torch.tensor([0.0, 0, 1], dtype=torch.float64)
EYE = torch.eye(3, dtype=torch.float64)


def turn(degrees: float) -> torch.Tensor:
    return from_axis_angle(Z, torch.tensor(math.radians(degrees), dtype=torch.float64))


@pytest.mark.parametrize(
    ("degrees", "add", "add_s", "ploss", "sloss"),
    [
        (30, 0.036602540, 0.036602540, 0.000669873, 0.000669873),
        (45, 0.054119610, 0.054119610, 0.001464466, 0.001464466),
        (90, 0.1, 0, 0.005, 0),
        (180, 0.141421356, 0, 0.01, 0),
    ],
)
def test_cube_turned(degrees: float, add: float, add_s: float, ploss: float, sloss: float) -> None:
    estimate, truth = (turn(degrees), T), (EYE, T)
    assert float(errors.add(CUBE, estimate, truth)) == pytest.approx(add, abs=1e-9)
    assert float(errors.add_s(CUBE, estimate, truth)) == pytest.approx(add_s, abs=1e-9)
    assert float(pose_losses.ploss(CUBE, turn(degrees), EYE)) == pytest.approx(ploss, abs=1e-9)
    assert float(pose_losses.sloss(CUBE, turn(degrees), EYE)) == pytest.approx(sloss, abs=1e-9)
    rms = pose_losses.rms_distances(pose_losses.moments(CUBE), _map(turn(degrees), T), _map(EYE, T))
    assert float(rms**2 / 2) == pytest.approx(ploss, abs=1e-9)


def _map(rotation: torch.Tensor, translation: torch.Tensor) -> torch.Tensor:
    return torch.cat((rotation, translation[:, None]), 1)


def test_margin_and_moved_cube() -> None:
    assert float(pose_losses.ploss(CUBE, turn(180), EYE, margin=0.01)) == pytest.approx(0.005, abs=1e-9)
    estimate = (turn(90), torch.tensor([0.01, 0, 1.02], dtype=torch.float64))
    assert float(errors.add(CUBE, estimate, (EYE, T))) == pytest.approx(0.102234465, abs=1e-9)
    assert float(errors.add_s(CUBE, estimate, (EYE, T))) == pytest.approx(0.022360680, abs=1e-9)


def test_released_scale_turns_the_margin_into_a_centimetre() -> None:
    """Distances below 1 cm cost nothing (2.5 mm for symmetric objects) for objects of up to 20 cm."""
    assert pose_losses.released_scale(CUBE * 2, False) == pytest.approx(10)
    assert pose_losses.released_scale(CUBE, False) == pytest.approx(20)
    assert pose_losses.released_scale(CUBE * 2, True) == pytest.approx(40)
    assert math.sqrt(pose_losses.MARGIN) / pose_losses.released_scale(CUBE * 2, False) == pytest.approx(0.01)
    assert math.sqrt(pose_losses.MARGIN) / pose_losses.released_scale(CUBE * 2, True) == pytest.approx(0.0025)


def test_mssd_and_mspd() -> None:
    group = symmetry.cyclic((0, 0, 1), 4)
    estimate, truth = (turn(100), T), (EYE, T)
    assert float(errors.mssd(CUBE, estimate, truth, group)) == pytest.approx(0.012325683, abs=1e-9)
    # The value without symmetry of the note is the largest distance of a corner, 2 r sin 50 degrees.
    assert float(errors.mssd(CUBE, estimate, truth, symmetry.no_symmetry())) == pytest.approx(0.108335044, abs=1e-9)
    assert float(errors.mspd(CUBE, estimate, truth, group, K)) == pytest.approx(6.487201760, abs=1e-8)


@pytest.mark.parametrize(
    ("values", "toolbox", "integral"),
    [
        ([0.01, 0.02, 0.05, 0.2], 67.5, 55.0),
        ([0.005, 0.015, 0.03, 0.03, 0.08, math.inf], 70.0, 56.666667),
        ([0.01], 100, 90),
        ([0.1, 0.1], 50, 0),
        ([0.2, math.inf], 0, 0),
    ],
)
def test_areas(values: list[float], toolbox: float, integral: float) -> None:
    given = torch.tensor(values, dtype=torch.float64)
    assert errors.auc_integral(given) == pytest.approx(integral, abs=1e-6)
    assert errors.auc_ycb_toolbox(given) == pytest.approx(toolbox, abs=1e-6)


def test_quaternions_against_scipy() -> None:
    from scipy.spatial.transform import Rotation

    one = Rotation.from_euler("xyz", (10, 20, 30), degrees=True)
    other = Rotation.from_euler("xyz", (-5, 40, 100), degrees=True)
    expected = [0.951548525, 0.038134576, 0.189307857, 0.239298338], [
        0.592019483, -0.288100365, 0.188237810, 0.728750738,
    ]  # fmt: skip
    matrices = torch.from_numpy(np.stack([one.as_matrix(), other.as_matrix()]))
    found = rotations.to_quaternions(matrices)
    assert found.numpy() == pytest.approx(np.array(expected), abs=1e-8)
    assert rotations.from_quaternions(-found).numpy() == pytest.approx(matrices.numpy(), abs=1e-12)
    angle = float(rotations.angles_between(matrices[0], matrices[1]))
    assert math.degrees(angle) == pytest.approx(80.652412569, abs=1e-7)
    assert float(rotations.angles_between(matrices[0], matrices[0])) == 0
    random = Rotation.random(200, random_state=0)
    back = rotations.to_quaternions(torch.from_numpy(random.as_matrix())).numpy()
    theirs = random.as_quat()[:, [3, 0, 1, 2]]
    assert np.abs((back * theirs).sum(1)) == pytest.approx(np.ones(200), abs=1e-9)


def test_six_numbers() -> None:
    found = rotations.from_six(torch.tensor([1.0, 2, 3, 0, 1, 1], dtype=torch.float64)).T
    columns = [
        [0.267261242, 0.534522484, 0.801783726],
        [-0.771516750, 0.617213400, -0.154303350],
        [-0.577350269, -0.577350269, 0.577350269],
    ]
    assert found.numpy() == pytest.approx(np.array(columns), abs=1e-8)


def test_allocentric() -> None:
    t = torch.tensor([0.1, -0.05, 0.8], dtype=torch.float64)
    ray = rotations.rays_to_axis(t)
    assert math.degrees(float(rotations.angles_between(ray, EYE))) == pytest.approx(7.955800083, abs=1e-7)
    assert (ray @ Z).numpy() == pytest.approx((t / t.norm()).numpy(), abs=1e-12)
    assert rotations.to_egocentric(rotations.to_allocentric(turn(40), t), t).numpy() == pytest.approx(
        turn(40).numpy(), abs=1e-12
    )


def test_nearest_rotation_repairs_rounded_matrices() -> None:
    bent = turn(30) * 1.01 + 0.003
    fixed = rotations.nearest_rotations(bent)
    assert float(torch.linalg.det(fixed)) == pytest.approx(1, abs=1e-12)
    assert (fixed @ fixed.T).numpy() == pytest.approx(np.eye(3), abs=1e-12)


def test_projection_and_resizing() -> None:
    t = torch.tensor([0.1, -0.05, 0.8], dtype=torch.float64)
    origin = torch.zeros(1, 3, dtype=torch.float64)
    assert project_model(origin, EYE, t, K)[0].tolist() == pytest.approx([382.5, 208.75])
    scale, offset = torch.tensor([0.5, 0.25], dtype=torch.float64), torch.tensor([3.0, -7.0], dtype=torch.float64)
    small = project_model(CUBE, turn(20), t, resized_camera(K, scale, offset))
    assert small.numpy() == pytest.approx((project_model(CUBE, turn(20), t, K) * scale + offset).numpy())


def test_turning_an_image_is_a_roll_of_the_pose() -> None:
    angle = torch.tensor(0.3, dtype=torch.float64)
    t = torch.tensor([0.1, -0.05, 0.8], dtype=torch.float64)
    pixels = project_model(CUBE, turn(20), t, K) - K[:2, 2]
    c, s = math.cos(0.3), math.sin(0.3)
    moved = pixels @ torch.tensor([[c, s], [-s, c]], dtype=torch.float64) + K[:2, 2]
    found = project_model(CUBE, roll(angle) @ turn(20), roll(angle) @ t, K)
    assert found.numpy() == pytest.approx(moved.numpy())


def test_groups_leave_the_cube_unchanged() -> None:
    group = symmetry.cube()
    assert len(group) == 24
    assert torch.equal(group[0], torch.eye(4, dtype=torch.float64))
    assert float(symmetry.residual(CUBE, group).max()) < 1e-9
    assert float(symmetry.residual(CUBE, symmetry.cyclic((0, 0, 1), 8)).max()) > 0.01
    assert (
        len(symmetry.closure(torch.stack((symmetry.cyclic((0, 0, 1), 4)[1], symmetry.cyclic((1, 0, 0), 4)[1])))) == 24
    )


def test_bop_symmetries() -> None:
    flip = [-1, 0, 0, 10, 0, -1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    group = symmetry.from_bop([flip], [], 0.01, 0.001)
    assert len(group) == 2
    assert float(group[1, 0, 3]) == pytest.approx(0.01)
    turns = symmetry.from_bop([], [{"axis": [0, 0, 1], "offset": [5, 0, 0]}], 0.1, 0.001)
    assert len(turns) == 63
    centre = torch.tensor([0.005, 0, 0, 1], dtype=torch.float64)
    assert (turns @ centre).numpy() == pytest.approx(centre.expand(63, 4).numpy(), abs=1e-9)


def test_losses_of_equal_quaternions_and_of_symmetric_poses_agree() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = rotations.random_rotations(5, generator), rotations.random_rotations(5, generator)
    group = symmetry.cube()
    moments = pose_losses.moments(CUBE).expand(5, 4, 4)
    poses = (one, T.expand(5, 3)), (other, T.expand(5, 3))
    smallest = pose_losses.symmetric_distances(moments, *poses, group.expand(5, 24, 4, 4))
    each = torch.stack([pose_losses.ploss(CUBE, one, other @ g[:3, :3]) for g in group])
    assert (smallest**2 / 2).numpy() == pytest.approx(each.amin(0).numpy(), abs=1e-9)
    turned = pose_losses.symmetric_distances(
        moments, (one @ group[7, :3, :3], T.expand(5, 3)), poses[1], group.expand(5, 24, 4, 4)
    )
    assert turned.numpy() == pytest.approx(smallest.numpy(), abs=1e-9)


def test_add_s_searches_from_the_truth() -> None:
    """Ground-truth points search among the estimated ones; the other direction gives another number."""
    points = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 0.1, 0]], dtype=torch.float64)
    estimate, truth = (turn(25), T), (EYE, T)
    found, real = points @ turn(25).T, points
    expected = torch.cdist(real, found).amin(1).mean()
    assert float(errors.add_s(points, estimate, truth)) == pytest.approx(float(expected), abs=1e-12)
    assert float(torch.cdist(found, real).amin(1).mean()) != pytest.approx(float(expected), abs=1e-4)


def test_vsd() -> None:
    flat = torch.full((4, 4), 1.0)
    assert float(errors.vsd(flat, flat, flat, 0.01)) == 0
    assert float(errors.vsd(flat + 0.02, flat, flat, 0.01)) == 1
    half = flat.clone()
    half[:, 2:] = 0
    assert float(errors.vsd(half, flat, flat, 0.01)) == 0.5


@pytest.mark.parametrize(("degrees", "group_loss"), [(30, 0.000669873), (90, 0), (180, 0), (120, 0.000669873)])
def test_minimum_over_the_group_forgets_turns_that_look_the_same(degrees: float, group_loss: float) -> None:
    """Closed form: 4 r^2 sin^2(a/2) / 2 for the angle a to the nearest quarter turn, r = .05 sqrt 2."""
    found = pose_losses.group_loss(CUBE[None], turn(degrees)[None], EYE[None], symmetry.cube()[None])
    assert float(found) == pytest.approx(group_loss, abs=1e-9)
    one = pose_losses.group_loss(CUBE[None], turn(degrees)[None], EYE[None], symmetry.no_symmetry()[None])
    assert float(one) == pytest.approx(float(pose_losses.ploss(CUBE, turn(degrees), EYE)), abs=1e-12)


def test_orbits_are_closed_under_the_group() -> None:
    """SLoss over them is zero for every equivalent pose, which it is not over the points that they come from."""
    identity = torch.eye(4, dtype=torch.float64).expand(48, 4, 4)
    groups = torch.stack((torch.cat((symmetry.cube(), identity)), symmetry.cylinder(36)))
    assert symmetry.group_sizes(groups).tolist() == [24, 72]
    points = torch.randn(2, 50, 3, dtype=torch.float64)
    closed = symmetry.orbits(points, groups)
    assert closed.shape == (2, 144, 3)
    turned = groups[:, 7, :3, :3]
    assert float(pose_losses.sloss(closed, turned, EYE).max()) < 1e-20
    assert float(pose_losses.sloss(points, turned, EYE).min()) > 0.01
