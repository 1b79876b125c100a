"""Rotations as matrices, unit quaternions (w, x, y, z) and six numbers.

The order of a quaternion is always (w, x, y, z), as in PoseCNN and Eigen's constructor; scipy's default is
(x, y, z, w), and a quaternion in the wrong order is a valid but different rotation.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SMALL = 1e-12  # lengths below are zero


def from_quaternions(quaternions: Tensor) -> Tensor:
    """Convert quaternions (..., 4), order (w, x, y, z), to matrices (..., 3, 3). They are normalised first."""
    w, x, y, z = F.normalize(quaternions, dim=-1, eps=SMALL).unbind(-1)
    rows = (
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    )  # fmt: skip
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def to_quaternions(rotations: Tensor) -> Tensor:
    """Convert rotation matrices (..., 3, 3) to unit quaternions (..., 4), order (w, x, y, z), with w >= 0."""
    m = rotations
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    squares = torch.stack((1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz), -1)
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 1, 0] + m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 2, 1] + m[..., 1, 2]
    # Four candidates, each exact where its own component is large: the largest one is chosen.
    rows = torch.stack(
        (
            torch.stack((squares[..., 0], wx, wy, wz), -1),
            torch.stack((wx, squares[..., 1], xy, xz), -1),
            torch.stack((wy, xy, squares[..., 2], yz), -1),
            torch.stack((wz, xz, yz, squares[..., 3]), -1),
        ),
        -2,
    )
    best = squares.argmax(-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    found = F.normalize(rows.gather(-2, best).squeeze(-2), dim=-1, eps=SMALL)
    return torch.where(found[..., :1] < 0, -found, found)


def from_six(numbers: Tensor) -> Tensor:
    """Convert six numbers (..., 6), two columns a1 and a2, to matrices (..., 3, 3) by Gram-Schmidt (Zhou et al. 2019).

    "On the Continuity of Rotation Representations in Neural Networks", equation 15: b1 = a1/|a1|,
    b2 = a2 without its part along b1, normalised, b3 = b1 x b2; the columns of the matrix are b1, b2, b3.
    """
    first, second = numbers[..., :3], numbers[..., 3:]
    b1 = F.normalize(first, dim=-1, eps=SMALL)
    b2 = F.normalize(second - (b1 * second).sum(-1, keepdim=True) * b1, dim=-1, eps=SMALL)
    return torch.stack((b1, b2, torch.linalg.cross(b1, b2)), -1)


def from_axis_angle(axis: Tensor, angle: Tensor) -> Tensor:
    """Return the rotations by `angle` (...) about the axes (..., 3), which need not have unit length."""
    axis = F.normalize(axis, dim=-1, eps=SMALL)
    half = angle[..., None] / 2
    return from_quaternions(torch.cat((half.cos(), axis * half.sin()), -1))


def nearest_rotations(matrices: Tensor) -> Tensor:
    """Return the rotation matrices closest to (..., 3, 3) in the Frobenius norm, by SVD."""
    u, _, v = torch.linalg.svd(matrices)
    sign = torch.ones(*matrices.shape[:-2], 3, dtype=matrices.dtype, device=matrices.device)
    sign[..., 2] = torch.linalg.det(u @ v).sign()
    return (u * sign[..., None, :]) @ v


def angles_between(one: Tensor, other: Tensor) -> Tensor:
    """Return the angle in radians (...) of the rotation from one to the other, matrices (..., 3, 3).

    2 asin(|A - B| / sqrt 8) is exact for small angles too, where acos of the trace loses half of the digits and of a
    trace above 3 is NaN.
    """
    distance = (one - other).flatten(-2).norm(dim=-1)
    return 2 * (distance / 8**0.5).clamp(max=1).asin()


def rays_to_axis(translations: Tensor) -> Tensor:
    """Return the rotations (..., 3, 3) that turn the optical axis (0, 0, 1) to the direction of (..., 3)."""
    direction = F.normalize(translations, dim=-1, eps=SMALL)
    axis = torch.zeros_like(direction)
    axis[..., 2] = 1
    normal = torch.linalg.cross(axis, direction)
    cosine = 1 + direction[..., 2:]
    # Half-way quaternion: exact without the angle, and continuous where the direction is the axis itself.
    return from_quaternions(torch.cat((cosine, normal), -1))


def to_egocentric(rotations: Tensor, translations: Tensor) -> Tensor:
    """Convert rotations relative to the viewing ray (allocentric) to rotations in the camera frame (..., 3, 3).

    An object that moves sideways without turning looks different in a crop of it, but its allocentric rotation, which
    describes its appearance, follows (Kundu et al. 2018, 3D-RCNN, section 4.2).
    """
    return rays_to_axis(translations) @ rotations


def to_allocentric(rotations: Tensor, translations: Tensor) -> Tensor:
    """Convert rotations in the camera frame to rotations relative to the viewing ray (..., 3, 3)."""
    return rays_to_axis(translations).transpose(-1, -2) @ rotations


def random_rotations(count: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw uniformly distributed rotations, float64 (count, 3, 3)."""
    return from_quaternions(torch.randn(count, 4, generator=generator, dtype=torch.float64))
