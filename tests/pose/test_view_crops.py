"""Views of boxes: what a camera turned towards them sees."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from danlu.data.sources.named.scenes import camera_of
from danlu.pose.cameras import project
from danlu.pose.render import Light, render
from danlu.pose.rotations import random_rotations, to_egocentric
from danlu.pose.solids import l_prism
from danlu.pose.view_crops import towards

SIDE = 128
CAMERA = torch.from_numpy(camera_of(SIDE)).float()
EVERYWHERE = Light(ambient=1.0)  # shading depends on where an object is; its colours do not


def seen(translation: Tensor, rotation: Tensor, angle: float = 0.0) -> Tensor:
    """View of the L-prism at a pose, whose rotation is relative to the viewing ray, float32 (3, 48, 48)."""
    rotation = to_egocentric(rotation, translation)
    poses = rotation.numpy()[None], translation.numpy()[None]
    image = render([l_prism().mesh], *poses, camera_of(SIDE), (SIDE, SIDE), EVERYWHERE)
    centre = project(translation[None].float(), CAMERA)
    squares = torch.cat((centre - 32, centre + 32), 1)
    views = towards(squares, CAMERA[None], torch.zeros(1, dtype=torch.long), torch.tensor([angle]))
    return views.crops(torch.from_numpy(image.colours)[None], 48)[0]


def test_an_object_looks_the_same_wherever_it_is() -> None:
    rotation = random_rotations(1, torch.Generator().manual_seed(2))[0]
    middle = torch.tensor([0.0, 0.0, 0.5], dtype=torch.float64)
    aside = torch.tensor([0.11, -0.1, 0.5], dtype=torch.float64)
    aside *= 0.5 / aside[2] * (1 / (aside / aside[2]).norm())  # the same distance from the camera
    one, other = seen(middle, rotation), seen(aside, rotation)
    assert one.std() > 0.15
    assert (one - other).abs().mean() < 0.1 * one.std()


def test_a_quarter_turn_of_the_view_turns_the_crop() -> None:
    rotation = random_rotations(1, torch.Generator().manual_seed(2))[0]
    middle = torch.tensor([0.05, 0.02, 0.5], dtype=torch.float64)
    straight, turned = seen(middle, rotation), seen(middle, rotation, math.pi / 2)
    assert (turned - straight.rot90(-1, (1, 2))).abs().mean() < 0.02


@pytest.mark.parametrize("angle", [0.0, 0.7])
def test_points_lie_in_the_crop_where_their_pose_says(angle: float) -> None:
    square = torch.tensor([[70.0, 20.0, 120.0, 70.0]])
    views = towards(square, CAMERA[None], torch.zeros(1, dtype=torch.long), torch.tensor([angle]))
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    image = torch.from_numpy(np.stack((x, y))[None]).float()  # each pixel holds its place
    crop = views.crops(image, 50)[0]
    for u, v in ((10, 10), (40, 25), (25, 44)):
        place = crop[:, v, u]
        ray = torch.linalg.solve(CAMERA, torch.cat((place, torch.ones(1))))
        point = (views.turns[0] @ ray)[:2] / (views.turns[0] @ ray)[2] / views.reach
        expected = (torch.tensor([u, v]) + 0.5) / 25 - 1
        assert torch.allclose(point, expected, atol=1e-3)
    poses = torch.randn(1, 3, 4)
    assert torch.allclose(views.back(views.poses(poses)), poses, atol=1e-5)
