"""Masks of objects from their poses, for data that have none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from danlu.pose.meshes import Mesh
from danlu.pose.render import rasterise


def visible_masks(
    meshes: Sequence[Mesh], rotations: np.ndarray, translations: np.ndarray, camera: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Draw the pixels of each object that no other of these objects hides: 0 and 1, uint8 (M, H, W).

    Arguments as of `render.render`. What hides an object without a pose is not known.
    """
    nearest, owner = np.zeros(size), np.full(size, -1)
    for i, mesh in enumerate(meshes):
        points = mesh.points @ rotations[i].T + translations[i]
        inverse = rasterise(points, mesh.faces, camera, size, mesh.closed).inverse.reshape(size)
        front = inverse > nearest
        nearest[front], owner[front] = inverse[front], i
    return (owner == np.arange(len(meshes))[:, None, None]).astype(np.uint8)
