"""Pinhole cameras: projection of points, and poses after cropping, resizing and rotating an image."""

from __future__ import annotations

import torch
from torch import Tensor

from danlu.pose.rotations import from_axis_angle

MIN_DEPTH = 1e-6  # metres; points nearer to the camera's plane have no projection


def transform(points: Tensor, rotations: Tensor, translations: Tensor) -> Tensor:
    """Map points of a model, (P, 3) or (..., P, 3), by poses (..., 3, 3) and (..., 3) to the camera, (..., P, 3)."""
    return points @ rotations.transpose(-1, -2) + translations[..., None, :]


def project(points: Tensor, cameras: Tensor) -> Tensor:
    """Project points in the camera frame (..., P, 3) by intrinsics (..., 3, 3) to pixels (..., P, 2).

    Points at or behind the camera's plane are projected as if just before it, far outside any image.
    """
    on_image = points @ cameras.transpose(-1, -2)
    return on_image[..., :2] / on_image[..., 2:].clamp(min=MIN_DEPTH)


def project_model(points: Tensor, rotations: Tensor, translations: Tensor, cameras: Tensor) -> Tensor:
    """Project points of a model, (P, 3) or (..., P, 3), at poses (...) to pixels (..., P, 2)."""
    return project(transform(points, rotations, translations), cameras)


def directions(pixels: Tensor, cameras: Tensor) -> Tensor:
    """Return the points at depth 1 (..., 3) that are seen at pixels (..., 2)."""
    ones = torch.ones_like(pixels[..., :1])
    return torch.linalg.solve(cameras, torch.cat((pixels, ones), -1)[..., None])[..., 0]


def focal_lengths(cameras: Tensor) -> Tensor:
    """Return the focal length in pixels of intrinsics (..., 3, 3), the geometric mean of both axes, (...)."""
    return (cameras[..., 0, 0] * cameras[..., 1, 1]).sqrt()


def resized_camera(camera: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """Return the intrinsics (..., 3, 3) after pixels moved to scale * pixel + offset; scale, offset: (..., 2).

    Cropping and resizing change the intrinsics only: the object stays where it was before the camera.
    """
    zero, one = torch.zeros_like(scale[..., 0]), torch.ones_like(scale[..., 0])
    rows = (scale[..., 0], zero, offset[..., 0], zero, scale[..., 1], offset[..., 1], zero, zero, one)
    return torch.stack(rows, -1).unflatten(-1, (3, 3)) @ camera


def roll(angles: Tensor) -> Tensor:
    """Return rotations (..., 3, 3) about the optical axis by angles (...), from x to y (clockwise in the image).

    Turning an image about its principal point with equal focal lengths is the pose roll @ (R, t).
    """
    axis = torch.zeros(*angles.shape, 3, dtype=angles.dtype, device=angles.device)
    axis[..., 2] = 1
    return from_axis_angle(axis, angles)
