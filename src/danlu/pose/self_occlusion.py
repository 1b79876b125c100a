"""Points of a surface that other parts of the same surface hide, by the direction from which it is looked at.

A convex body hides only points that are turned away, which the normals tell. In an L-shaped one the short arm hides
part of the long one.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

DIRECTIONS = 128  # directions, about 18 degrees apart
REACH = 0.045  # diameters; a point hides those behind it up to this distance across the line of sight
MIN_HEIGHT = 0.02  # diameters; points lower above the tangent plane of another belong to the same face


@cache
def view_directions(count: int = DIRECTIONS) -> Tensor:
    """Spread unit vectors over the sphere along a golden spiral, float32 (count, 3)."""
    place = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    polar, around = (1 - 2 * place).acos(), math.pi * (1 + math.sqrt(5)) * count * place
    return torch.stack((polar.sin() * around.cos(), polar.sin() * around.sin(), polar.cos()), 1).float()


def unhidden(points: Tensor, normals: Tensor) -> Tensor:
    """Find the points that nothing hides from each of the `view_directions`, bool (V, P).

    A point hides another if it is above the other's tangent plane and on its line of sight. points: spread evenly
    over a surface, (P, 3). normals: unit normals that point outwards, (P, 3).
    """
    points, normals, directions = points.float(), normals.float(), view_directions().to(points.device)
    extent = 2 * points.norm(dim=-1).amax().clamp(min=1e-6)
    height = (points * normals).sum(1)
    behind, front = (normals @ points.T - height[:, None] > MIN_HEIGHT * extent).nonzero(as_tuple=True)
    between = points[front] - points[behind]
    hidden = torch.zeros(len(directions), len(points), dtype=torch.bool, device=points.device)
    for row, direction in zip(hidden, directions):
        along = between @ direction
        across = between.square().sum(1) - along.square()
        row[behind[(along > 0) & (across < (REACH * extent) ** 2)]] = True
    return ~hidden
