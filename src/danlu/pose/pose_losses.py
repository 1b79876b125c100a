"""Losses of poses: PLoss and SLoss of PoseCNN, and the minimum over the symmetry group.

PoseCNN (Xiang et al. 2018), equations 4 and 5. Its released code rescales the points before the margin is applied,
which the paper does not say: a margin of 0.01 square metres would forgive errors below 10 cm, that is, everything.
"""

from __future__ import annotations

import torch
from torch import Tensor

POSE_LOSSES = ("ploss", "sloss", "symmetries")  # of rotations; they differ in the loss of symmetric poses
MARGIN = 0.01  # of squared distances of rescaled points
MIN_EXTENT_FACTOR = 10.0  # lower limit of the factor that rescales points
SYMMETRIC_FACTOR = 4.0  # additional factor of symmetric objects
EPSILON = 1e-12


def released_scale(points: Tensor, symmetric: bool) -> float:
    """Return the factor by which the released code of PoseCNN multiplies points (P, 3) in metres: max(2/extent, 10).

    extent: largest side of the box along the axes. For symmetric objects it is four times that.
    """
    extent = float((points.amax(0) - points.amin(0)).max())
    return max(2 / max(extent, EPSILON), MIN_EXTENT_FACTOR) * (SYMMETRIC_FACTOR if symmetric else 1.0)


def ploss(points: Tensor, estimate: Tensor, truth: Tensor, margin: float = 0.0) -> Tensor:
    """Return PLoss (...) of rotations (..., 3, 3): mean over the points (..., P, 3) of max(0, d^2 - margin) / 2."""
    squares = (points @ (estimate - truth).transpose(-1, -2)).square().sum(-1)
    return (squares - margin).clamp(min=0).mean(-1) / 2


def sloss(points: Tensor, estimate: Tensor, truth: Tensor, margin: float = 0.0) -> Tensor:
    """Return SLoss (...): as PLoss, with the distance of each estimated point to the nearest true point."""
    found, real = points @ estimate.transpose(-1, -2), points @ truth.transpose(-1, -2)
    squares = (found[..., :, None, :] - real[..., None, :, :]).square().sum(-1).amin(-1)
    return (squares - margin).clamp(min=0).mean(-1) / 2


def group_loss(points: Tensor, estimate: Tensor, truth: Tensor, symmetries: Tensor, margin: float = 0.0) -> Tensor:
    """Return the smallest PLoss (n,) to the true rotation after each of the symmetries (n, G, 4, 4).

    points: (n, P, 3), in the unit of the translations of the symmetries. Unlike SLoss it pairs each point with itself.
    """
    moved = points[:, None] @ symmetries[..., :3, :3].transpose(-1, -2) + symmetries[..., None, :3, 3]
    found, real = points @ estimate.transpose(-1, -2), moved @ truth[:, None].transpose(-1, -2)
    squares = (found[:, None] - real).square().sum(-1)
    return (squares - margin).clamp(min=0).mean(-1).amin(-1) / 2


def moments(points: Tensor) -> Tensor:
    """Return the mean of x x^T over homogeneous points x = (point, 1), (4, 4): all that a squared distance needs.

    The mean of |M x|^2 over the points is the trace of M moments M^T for any linear map M (3, 4).
    """
    extended = torch.cat((points, torch.ones_like(points[:, :1])), 1)
    return extended.T @ extended / len(extended)


def rms_distances(moments: Tensor, estimate: Tensor, truth: Tensor) -> Tensor:
    """Return the root of the mean squared distance (...) of points at two poses, maps (..., 3, 4), in metres."""
    change = estimate - truth
    return ((change @ moments) * change).sum((-1, -2)).clamp(min=EPSILON).sqrt()


def symmetric_distances(
    moments: Tensor, estimate: tuple[Tensor, Tensor], truth: tuple[Tensor, Tensor], symmetries: Tensor
) -> Tensor:
    """Return the smallest over the symmetries of `rms_distances`, (n,).

    moments: (n, 4, 4). symmetries: of each object, (n, G, 4, 4), repeated where an object has fewer than G.
    The minimum over the group is exact for discrete symmetries and needs no pairs of points, unlike SLoss.
    """
    found = torch.cat((estimate[0], estimate[1][..., None]), -1)
    real = torch.cat((truth[0], truth[1][..., None]), -1)[:, None] @ symmetries
    return rms_distances(moments[:, None], found[:, None], real).amin(-1)
