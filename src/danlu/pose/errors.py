"""Errors of estimated poses: ADD, ADD-S, MSSD, MSPD, VSD, 2D projection and 5 cm 5 degrees, and areas under curves.

Poses are rotations (..., 3, 3) and translations (..., 3) in metres; batches of estimates and truths have the same
leading dimensions. points: of the model, (P, 3).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from danlu.pose.cameras import project_model, transform
from danlu.pose.rotations import angles_between

MAX_PAIRS = 1 << 24  # pairs of points compared in one operation
AUC_LIMIT = 0.1  # metres, of the YCB-Video evaluation
Pose = tuple[Tensor, Tensor]  # rotations (..., 3, 3), translations (..., 3)


def nearest_distances(points: Tensor, others: Tensor) -> Tensor:
    """Return the distance of each point (P, 3) to the nearest of `others` (Q, 3), (P,)."""
    parts = points.split(max(1, MAX_PAIRS // max(len(others), 1)))
    exact = "donot_use_mm_for_euclid_dist"
    return torch.cat([torch.cdist(part, others, compute_mode=exact).amin(-1) for part in parts])


def add(points: Tensor, estimate: Pose, truth: Pose) -> Tensor:
    """Return ADD (...): mean distance between the points at both poses (Hinterstoisser et al. 2012)."""
    return (transform(points, *estimate) - transform(points, *truth)).norm(dim=-1).mean(-1)


def add_s(points: Tensor, estimate: Pose, truth: Pose) -> Tensor:
    """Return ADD-S, also called ADI (...): mean distance of each true point to the nearest estimated point.

    The direction matters: as in the YCB-Video toolbox and BOP's, the true points search among the estimated ones.
    """
    found, real = transform(points, *estimate), transform(points, *truth)
    rows = [
        nearest_distances(b, a).mean()
        for a, b in zip(found.reshape(-1, *found.shape[-2:]), real.reshape(-1, *real.shape[-2:]))
    ]
    return torch.stack(rows).reshape(found.shape[:-2]) if rows else found.new_zeros(found.shape[:-2])


def symmetric_poses(pose: Pose, symmetries: Tensor) -> Pose:
    """Return the poses (..., G) that look like `pose`: (R S, R s + t) for each symmetry S, s of (G, 4, 4)."""
    rotation, translation = pose
    turns, shifts = symmetries[:, :3, :3].to(rotation), symmetries[:, :3, 3].to(rotation)
    moved = (rotation[..., None, :, :] @ shifts[..., None])[..., 0]
    return rotation[..., None, :, :] @ turns, moved + translation[..., None, :]


def mssd(points: Tensor, estimate: Pose, truth: Pose, symmetries: Tensor) -> Tensor:
    """Return MSSD (...): smallest over the symmetries of the largest distance of a point (Hodan et al. 2020, BOP)."""
    found = transform(points, *estimate)[..., None, :, :]
    real = transform(points, *symmetric_poses(truth, symmetries))
    return (found - real).norm(dim=-1).amax(-1).amin(-1)


def mspd(points: Tensor, estimate: Pose, truth: Pose, symmetries: Tensor, cameras: Tensor) -> Tensor:
    """Return MSPD (...) in pixels: smallest over the symmetries of the largest distance of a projected point.

    cameras: intrinsics (..., 3, 3).
    """
    found = project_model(points, *estimate, cameras)[..., None, :, :]
    real = project_model(points, *symmetric_poses(truth, symmetries), cameras[..., None, :, :])
    return (found - real).norm(dim=-1).amax(-1).amin(-1)


def projection_error(points: Tensor, estimate: Pose, truth: Pose, cameras: Tensor) -> Tensor:
    """Return the mean distance in pixels (...) between the points projected at both poses."""
    both = (project_model(points, *pose, cameras) for pose in (estimate, truth))
    return (next(both) - next(both)).norm(dim=-1).mean(-1)


def rotation_errors(estimate: Tensor, truth: Tensor, symmetries: Tensor) -> Tensor:
    """Return the angle (...) in radians between rotations (..., 3, 3), the smallest over the symmetries (G, 4, 4)."""
    turns = symmetries[:, :3, :3].to(truth)
    return angles_between(estimate[..., None, :, :], truth[..., None, :, :] @ turns).amin(-1)


def within_5cm_5deg(rotation: Tensor, translation: Tensor) -> Tensor:
    """Return whether rotation errors (...) in radians and translation errors in metres are at most 5 degrees, 5 cm."""
    return (rotation <= math.radians(5)) & (translation <= 0.05)


def vsd(estimated: Tensor, real: Tensor, measured: Tensor, tau: float, delta: float = 0.015) -> Tensor:
    """Return the visible surface discrepancy (Hodan et al. 2018) of depth images (H, W) in metres, 0 for no surface.

    estimated, real: depth of the model rendered at both poses. measured: depth of the scene. tau: misalignment
    tolerance. delta: a surface at most this far behind the measured one is visible.
    Returns the fraction of pixels visible in either image that are not visible in both within tau; 1 if none is.
    """
    open_depth = torch.where(measured > 0, measured, measured.new_tensor(math.inf))
    seen_real = (real > 0) & (real - open_depth <= delta)
    # Of the estimate also what the true object, not something before it, hides.
    seen_estimate = (estimated > 0) & ((estimated - open_depth <= delta) | seen_real)
    both, either = seen_real & seen_estimate, seen_real | seen_estimate
    wrong = either.sum() - both.sum() + ((estimated - real).abs()[both] >= tau).sum()
    return wrong / either.sum() if bool(either.any()) else torch.ones(())


def auc_integral(errors: Tensor, limit: float = AUC_LIMIT) -> float:
    """Return the true area under the accuracy-threshold curve up to `limit`, in percent; inf counts as missed."""
    return 100 * float((1 - errors / limit).clamp(min=0).mean()) if len(errors) else 0.0


def auc_ycb_toolbox(errors: Tensor, limit: float = AUC_LIMIT) -> float:
    """Return the area as the YCB-Video toolbox computes it, in percent.

    It takes the accuracy at the right end of each step of the curve, so it is too high for few samples: one sample with
    an error of 1 cm gives 100, where the integral is 90. Both agree for many samples.
    """
    if not len(errors):
        return 0.0
    errors = errors.double().sort().values
    accuracy = torch.arange(1, len(errors) + 1, dtype=torch.float64) / len(errors)
    kept = errors <= limit
    if not kept.any():
        return 0.0
    x = torch.cat((torch.zeros(1, dtype=torch.float64), errors[kept], torch.tensor([limit], dtype=torch.float64)))
    y = torch.cat((torch.zeros(1, dtype=torch.float64), accuracy[kept], accuracy[kept][-1:]))
    y = y.cummax(0).values
    steps = (x[1:] != x[:-1]).nonzero()[:, 0] + 1
    return 100 / limit * float(((x[steps] - x[steps - 1]) * y[steps]).sum())
