"""Anchors cover all rotations, and their distances are those of a model's points under the best symmetry."""

from __future__ import annotations

import math

import torch

from danlu.pose.pose_losses import moments
from danlu.pose.rotation_anchors import anchor_distances, spread_rotations
from danlu.pose.rotations import angles_between, random_rotations
from danlu.pose.solids import solids


def test_every_rotation_is_near_an_anchor() -> None:
    anchors = spread_rotations(200)
    others = random_rotations(2000, torch.Generator().manual_seed(3)).float()
    nearest = angles_between(others[:, None], anchors).amin(1)
    assert math.degrees(float(nearest.max())) < 40
    apart = angles_between(anchors[:, None], anchors) + torch.eye(200) * 9
    assert math.degrees(float(apart.min())) > 25
    assert torch.equal(anchors, spread_rotations(200))


def test_distances_are_those_of_the_points() -> None:
    anchors = spread_rotations(12).double()
    truth = random_rotations(3, torch.Generator().manual_seed(0))
    for model in solids():
        points, group = model.points, model.symmetries[:, :3, :3]
        turned = points @ anchors.transpose(-1, -2)
        same = points @ (truth[:, None] @ group).transpose(-1, -2)
        apart = (turned[None, :, None] - same[:, None]).square().sum(-1).mean(-1).sqrt().amin(2)
        found = anchor_distances(moments(points)[:3, :3], anchors, truth, group)
        # The products assume that a symmetry leaves the second moments unchanged, which holds for a set of points as
        # far as the points themselves are symmetric.
        assert torch.allclose(found, apart, atol=1e-4)
