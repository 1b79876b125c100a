"""One pose from several estimates of it, some of which may be wrong.

Estimates of a symmetric object may differ by a symmetry and mean the same. R objects, V estimates, G symmetries.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from danlu.pose.rotations import angles_between, nearest_rotations

MAX_ANGLE = math.radians(30)  # max angle between estimates that are averaged; larger ones count the same
MAX_VALUES = 1 << 25  # of the rotations compared at once


def pose_consensus(poses: Tensor, weights: Tensor, symmetries: Tensor) -> tuple[Tensor, Tensor]:
    """Merge estimates [R | t] (R, V, 3, 4) with positive weights (R, V) into a first and a second pose, (R, 3, 4) each.

    The second is merged from the estimates whose rotations disagree with the first; NaN where none does.
    symmetries: of each object, (R, G, 4, 4).
    """
    group = symmetries[:, :, :3, :3]
    translation = mean_translation(poses[..., 3])[..., None]
    first = rotation_consensus(poses[..., :3], weights, group)
    second = rotation_consensus(poses[..., :3], weights * disagreeing(poses[..., :3], first, group), group)
    return torch.cat((first, translation), -1), torch.cat((second, translation), -1)


def mean_translation(translations: Tensor) -> Tensor:
    """Mean of positions in front of a camera (R, V, 3): of their viewing rays and, geometrically, of their depths."""
    depth = translations[..., 2:]
    mean_depth = depth.clamp(min=torch.finfo(depth.dtype).tiny).log().mean(1).exp()
    return (translations / depth).mean(1) * mean_depth


def rotation_consensus(rotations: Tensor, weights: Tensor, symmetries: Tensor) -> Tensor:
    """Weighted mean (R, 3, 3) of the rotations (R, V, 3, 3) near the one that most others agree with.

    The latter has the smallest weighted sum of angles to the others, each at most `MAX_ANGLE`. Before they are
    averaged, the others are replaced by the equivalent under the symmetries (R, G, 3, 3) that is nearest to it.
    NaN where all weights are 0.
    """
    merged = [_merged(rotations[p], weights[p], symmetries[p]) for p in _parts(rotations, symmetries)]
    return torch.cat(merged) if merged else rotations[:, 0]


def disagreeing(rotations: Tensor, consensus: Tensor, symmetries: Tensor) -> Tensor:
    """Rotations (R, V, 3, 3) at `MAX_ANGLE` or more from all equivalents of the consensus (R, 3, 3), bool (R, V)."""
    equivalents = consensus[:, None] @ symmetries
    return angles_between(rotations[:, :, None], equivalents[:, None]).amin(-1) >= MAX_ANGLE


def _parts(rotations: Tensor, symmetries: Tensor) -> list[Tensor]:
    """Numbers of objects whose rotations are compared in one operation."""
    per_object = rotations.shape[1] ** 2 * symmetries.shape[1] * 9
    return list(torch.arange(len(rotations), device=rotations.device).split(max(1, MAX_VALUES // per_object)))


def _merged(rotations: Tensor, weights: Tensor, symmetries: Tensor) -> Tensor:
    row = torch.arange(len(rotations), device=rotations.device)
    equivalents = rotations[:, :, None] @ symmetries[:, None]  # (R, V, G, 3, 3)
    angles, nearest = angles_between(rotations[:, :, None, None], equivalents[:, None]).min(-1)  # (R, V, V)
    far = (angles.clamp(max=MAX_ANGLE) * weights[:, None]).sum(-1)
    centre = far.masked_fill(weights <= 0, math.inf).argmin(1)
    estimates = torch.arange(rotations.shape[1], device=rotations.device)
    alike = equivalents[row[:, None], estimates, nearest[row, centre]]  # (R, V, 3, 3)
    weights = weights * (angles[row, centre] < MAX_ANGLE)
    merged = nearest_rotations((alike * weights[..., None, None]).sum(1))
    return merged.masked_fill((weights.sum(1) <= 0)[:, None, None], math.nan)
