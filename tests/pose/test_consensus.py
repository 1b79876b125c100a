"""Merging several estimates of a pose."""

import math

import torch

from danlu.pose.consensus import mean_translation, pose_consensus, rotation_consensus
from danlu.pose.rotations import angles_between, from_axis_angle, random_rotations
from danlu.pose.symmetry import cube, no_symmetry


def noisy(truth: torch.Tensor, count: int, degrees: float) -> torch.Tensor:
    """Turn each rotation (R, 3, 3) about `count` random axes, (R, count, 3, 3)."""
    generator = torch.Generator().manual_seed(0)
    axes = torch.randn(len(truth), count, 3, generator=generator, dtype=torch.float64)
    return (
        from_axis_angle(axes, torch.full(axes.shape[:2], math.radians(degrees), dtype=torch.float64)) @ truth[:, None]
    )


def test_the_mean_is_nearer_than_its_members_and_ignores_outliers() -> None:
    truth = random_rotations(20, torch.Generator().manual_seed(1))
    estimates = noisy(truth, 16, 10)
    estimates[:, :5] = random_rotations(5, torch.Generator().manual_seed(2))
    found = rotation_consensus(estimates, torch.ones(20, 16), no_symmetry()[None, :, :3, :3].expand(20, 1, 3, 3))
    assert angles_between(found, truth).rad2deg().max() < 10
    assert angles_between(found, truth).rad2deg().mean() < 5


def test_estimates_that_differ_by_a_symmetry_agree() -> None:
    truth = random_rotations(6, torch.Generator().manual_seed(3))
    group = cube()[:, :3, :3]
    choice = torch.randint(24, (6, 8), generator=torch.Generator().manual_seed(4))
    estimates = noisy(truth, 8, 4) @ group[choice]
    found = rotation_consensus(estimates, torch.ones(6, 8), group.expand(6, 24, 3, 3))
    assert angles_between(found[:, None], truth[:, None] @ group).amin(1).rad2deg().max() < 3


def test_a_large_weight_decides_between_two_estimates() -> None:
    estimates = random_rotations(2, torch.Generator().manual_seed(5))[None]
    found = rotation_consensus(estimates, torch.tensor([[0.1, 0.9]]), no_symmetry()[None, :, :3, :3])
    assert angles_between(found, estimates[:, 1]) < 1e-6


def test_depths_are_averaged_geometrically_along_the_mean_ray() -> None:
    found = mean_translation(torch.tensor([[[0.1, 0.0, 1.0], [1.2, 0.0, 4.0]]]))
    torch.testing.assert_close(found, torch.tensor([[0.2 * 2, 0.0, 2.0]]))  # rays .1 and .3, depths 1 and 4


def test_one_estimate_is_returned_as_it_is() -> None:
    poses = torch.cat((random_rotations(4), torch.rand(4, 3, 1, dtype=torch.float64) + 1), -1)[:, None]
    first, second = pose_consensus(poses, torch.ones(4, 1), no_symmetry().expand(4, 1, 4, 4))
    torch.testing.assert_close(first, poses[:, 0])
    assert second[..., :3].isnan().all(), "no other opinion"
    none = pose_consensus(poses[:0], torch.ones(0, 1), no_symmetry().expand(0, 1, 4, 4))
    assert [one.shape for one in none] == [(0, 3, 4), (0, 3, 4)]


def test_estimates_that_disagree_with_the_consensus_give_a_second_pose() -> None:
    truth = random_rotations(6, torch.Generator().manual_seed(6))
    flipped = truth @ from_axis_angle(torch.tensor([0.0, 0.0, 1.0], dtype=truth.dtype), torch.tensor(math.pi)).to(truth)
    rotations = torch.cat((noisy(truth, 5, 5), noisy(flipped, 3, 5)), 1)
    poses = torch.cat((rotations, torch.ones(6, 8, 3, 1, dtype=truth.dtype)), -1)
    first, second = pose_consensus(poses, torch.ones(6, 8), no_symmetry().expand(6, 1, 4, 4).to(truth))
    assert angles_between(first[..., :3], truth).rad2deg().max() < 6
    assert angles_between(second[..., :3], flipped).rad2deg().max() < 6
