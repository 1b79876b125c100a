"""Symmetries of objects: rigid motions S of the model, after which it is the same set of points.

A pose (R, t) and (R S, R s + t) are then the same image. A group is a tensor (G, 4, 4) whose first element is the
identity. Continuous symmetries are replaced by steps.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from torch import Tensor

from danlu.pose.errors import nearest_distances
from danlu.pose.rotations import from_axis_angle, nearest_rotations

SAME = 1e-4  # largest difference between entries of two equal motions
MAX_ELEMENTS = 4096  # of a group; more come from motions that generate no finite group


def motion(rotation: Tensor, translation: Tensor | None = None) -> Tensor:
    """Return the matrix (..., 4, 4) of a rotation (..., 3, 3) and a translation (..., 3), by default zero."""
    found = torch.zeros(*rotation.shape[:-2], 4, 4, dtype=rotation.dtype, device=rotation.device)
    found[..., :3, :3], found[..., 3, 3] = rotation, 1
    if translation is not None:
        found[..., :3, 3] = translation
    return found


def no_symmetry() -> Tensor:
    """Return the group of an asymmetric object, float64 (1, 4, 4)."""
    return torch.eye(4, dtype=torch.float64)[None]


def cyclic(axis: tuple[float, float, float], order: int, offset: tuple[float, float, float] = (0, 0, 0)) -> Tensor:
    """Return the group of turns by 1/order of a full turn about an axis through `offset`, float64 (order, 4, 4)."""
    angles = torch.arange(order, dtype=torch.float64) * (2 * math.pi / order)
    turns = from_axis_angle(torch.tensor(axis, dtype=torch.float64).expand(order, 3), angles)
    centre = torch.tensor(offset, dtype=torch.float64)
    return motion(turns, centre - turns @ centre)


def cube() -> Tensor:
    """Return the 24 rotations of a cube with sides along the axes, float64 (24, 4, 4); the identity is first."""
    found = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = torch.zeros(3, 3, dtype=torch.float64)
            matrix[range(3), order] = torch.tensor(signs, dtype=torch.float64)
            if torch.linalg.det(matrix) > 0:
                found.append(matrix)
    return motion(torch.stack(found))


def cylinder(steps: int) -> Tensor:
    """Return turns about z in steps, and each after a half turn about x: float64 (2 * steps, 4, 4)."""
    return product(cyclic((0, 0, 1), steps), cyclic((1, 0, 0), 2))


def product(one: Tensor, other: Tensor) -> Tensor:
    """Return all products of elements of two groups (A, 4, 4) and (B, 4, 4), each once."""
    return distinct((one[:, None] @ other[None]).flatten(0, 1))


def distinct(motions: Tensor) -> Tensor:
    """Drop repeated motions (G, 4, 4); the first of each is kept, in order."""
    seen: dict[tuple[int, ...], int] = {}
    for i, row in enumerate((motions.flatten(1) / SAME).round().long().tolist()):
        seen.setdefault(tuple(row), i)
    return motions[list(seen.values())]


def closure(motions: Tensor) -> Tensor:
    """Return the group that motions (G, 4, 4) generate, identity first.

    Raises ValueError if they generate more than `MAX_ELEMENTS`, as motions that are no symmetries do.
    """
    group = distinct(torch.cat((torch.eye(4, dtype=motions.dtype)[None], motions)))
    while True:
        larger = distinct(torch.cat((group, (group[:, None] @ motions[None]).flatten(0, 1))))
        if len(larger) > MAX_ELEMENTS:
            raise ValueError(f"motions that generate no group of at most {MAX_ELEMENTS} elements")
        if len(larger) == len(group):
            return group
        group = larger


def from_bop(discrete: list[list[float]], continuous: list[dict], step: float, unit: float) -> Tensor:
    """Return the group of an entry of BOP's models_info.json, float64 (G, 4, 4).

    discrete: 16 numbers of a 4 x 4 matrix each. continuous: dictionaries with an axis and an offset. step: largest
    angle between two turns of a continuous symmetry, in radians (BOP: 0.01, 315 steps of a half turn). unit: metres per
    unit of the translations.
    Raises ValueError for entries of another form.
    """
    motions = no_symmetry()
    for numbers in discrete:
        matrix = torch.tensor(numbers, dtype=torch.float64).reshape(4, 4)
        turn = nearest_rotations(matrix[:3, :3])
        if (turn - matrix[:3, :3]).abs().max() > 0.05:
            raise ValueError("a discrete symmetry that is not a rotation")
        motions = torch.cat((motions, motion(turn, matrix[:3, 3] * unit)[None]))
    group = motions
    for one in continuous:
        axis, offset = ([float(v) for v in one[key]] for key in ("axis", "offset"))
        if len(axis) != 3 or len(offset) != 3 or not any(axis):
            raise ValueError("a continuous symmetry without an axis and an offset of three numbers")
        (a, b, c), (x, y, z) = axis, offset
        turns = cyclic((a, b, c), math.ceil(2 * math.pi / step), (x * unit, y * unit, z * unit))
        group = (turns[:, None] @ group[None]).flatten(0, 1)
    return distinct(group)


def residual(points: Tensor, motions: Tensor) -> Tensor:
    """Return how far a mesh is from itself after each motion (G,): mean distance of a moved point to the nearest one.

    points: surface points of the model (P, 3), dense enough for the answer; in their unit.
    """
    moved = points @ motions[:, :3, :3].transpose(-1, -2) + motions[:, None, :3, 3]
    return torch.stack([nearest_distances(one, points).mean() for one in moved])


def group_sizes(groups: Tensor) -> Tensor:
    """Return the number of elements of groups (n, G, 4, 4) that the identity fills up, int64 (n,)."""
    identity = torch.eye(4, dtype=groups.dtype, device=groups.device)
    return 1 + ((groups - identity).abs().amax((-1, -2)) > SAME).sum(-1)


def orbits(points: Tensor, groups: Tensor, count: int = 144) -> Tensor:
    """Return points (n, count, 3) whose set does not change under groups (n, G, 4, 4): orbits of some of the points.

    points: of the models (n, P, 3). groups: see `group_sizes`, with elements other than the identity before the filling
    ones. SLoss over other points is not zero for a pose that looks the same.
    """
    sizes = group_sizes(groups)[:, None]
    whole = sizes * (count // sizes).clamp(min=1)
    place = torch.arange(count, device=points.device) % whole
    element, number = place % sizes, (place // sizes) % points.shape[1]
    chosen = points.gather(1, number[..., None].expand(-1, -1, 3))
    motions = groups[torch.arange(len(groups), device=groups.device)[:, None], element]
    return (motions[..., :3, :3] @ chosen[..., None])[..., 0] + motions[..., :3, 3]


def thinned(motions: Tensor, count: int) -> Tensor:
    """Keep at most `count` motions (G, 4, 4), evenly spaced, with the identity first."""
    if len(motions) <= count:
        return motions
    return motions[torch.from_numpy(np.linspace(0, len(motions), count, endpoint=False).astype(np.int64))]
