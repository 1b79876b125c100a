"""Meshes of simple solids, in metres: an asymmetric L-shaped prism, a cube and a cylinder."""

from __future__ import annotations

import numpy as np

from danlu.pose.meshes import Mesh
from danlu.pose.object_model import ObjectModel
from danlu.pose.symmetry import cube as cube_group
from danlu.pose.symmetry import cylinder as cylinder_group

CYLINDER_SIDES = 32
CYLINDER_STEPS = 36  # rotations that sample its continuous symmetry, in the loss and the errors
GREY, BLUE = (0.72, 0.7, 0.66), (0.25, 0.5, 0.85)


def prism(outline: np.ndarray, height: float, colour: tuple[float, float, float] | None) -> Mesh:
    """Return a prism over a polygon that is star-shaped about its first corner, counter-clockwise, (K, 2).

    colour: of all faces; None: each direction has a colour of its own, so that every view is different.
    """
    k = len(outline)
    low, high = (np.column_stack((outline, np.full(k, z))) for z in (-height / 2, height / 2))
    triangles = []
    for i in range(1, k - 1):
        triangles += [high[[0, i, i + 1]], low[[0, i + 1, i]]]
    for i in range(k):
        j = (i + 1) % k
        triangles += [np.stack((low[i], low[j], high[j])), np.stack((low[i], high[j], high[i]))]
    corners = np.stack(triangles)  # (F, 3, 3): corners are not shared, so that a face has one colour
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    shades = 0.5 + 0.42 * normals if colour is None else np.broadcast_to(colour, normals.shape)
    points = corners.reshape(-1, 3)
    return Mesh(points, np.arange(len(points)).reshape(-1, 3), np.repeat(shades, 3, 0).astype(np.float32), closed=True)


def l_prism() -> ObjectModel:
    """Return an L-shaped prism of 10 x 7 x 4 cm without symmetry, its faces coloured by direction."""
    outline = np.array([(0.03, 0.03), (0.03, 0.07), (0, 0.07), (0, 0), (0.1, 0), (0.1, 0.03)]) - (0.04, 0.03)
    return ObjectModel("L-prism", prism(outline, 0.04, None))


def cube() -> ObjectModel:
    """Return a cube of 7 cm with 24 symmetries."""
    half = 0.035
    outline = half * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    return ObjectModel("cube", prism(outline, 2 * half, GREY), symmetries=cube_group())


def cylinder() -> ObjectModel:
    """Return a cylinder of 6 x 10 cm: any turn about its axis, and a half turn, leave it unchanged."""
    angles = 2 * np.pi * np.arange(CYLINDER_SIDES) / CYLINDER_SIDES
    outline = 0.03 * np.column_stack((np.cos(angles), np.sin(angles)))
    return ObjectModel(
        "cylinder", prism(outline, 0.1, BLUE), symmetries=cylinder_group(CYLINDER_STEPS), continuous=True
    )


def solids() -> tuple[ObjectModel, ...]:
    """Return the three solids in the order of their names."""
    return l_prism(), cube(), cylinder()
