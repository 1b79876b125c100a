"""Poses of the objects of an image: at any place and turn, or standing on a table that is seen from above."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from danlu.pose.rotations import from_quaternions
from danlu.rendering.views import Shape

MARGIN = 0.03  # of the image, where no centre of an object is
PRESENT = 0.75  # probability that an object is in an image
MAX_PRESENT = 10  # objects of one image
ELEVATION = (10.0, 88.0)  # degrees above the table, of the camera
ROLL = 25.0  # degrees, standard deviation of the turn of the camera about its axis
FALLEN = 0.15  # probability that an object on the table does not stand but has any rotation
SPREAD = (1.0, 2.4)  # radius of the arrangement on the table, in diameters of a typical object per root of their number
APART = 0.38  # least distance of two objects on the table, relative to the sum of their diameters
LIFT = 0.3  # greatest height above the table of what an object stands on, in its diameters
TRIES = 30  # places tried for an object before it is left out


@dataclass(frozen=True)
class Placed:
    """An object with its pose. number: of its shape. rotation: (3, 3). translation: (3,) in metres."""

    number: int
    rotation: np.ndarray
    translation: np.ndarray


@dataclass(frozen=True)
class CameraSetup:
    """Camera, image size and range of depths, common to all images.

    camera: intrinsics in continuous pixels. size: (height, width). depth: range of the depth of objects in metres.
    table: objects stand on a table, with the z axis of their meshes up.
    """

    camera: np.ndarray
    size: tuple[int, int]
    depth: tuple[float, float]
    table: bool

    def holds(self, place: np.ndarray) -> bool:
        """Return whether a centre (3,) in metres is in the range of depths and well inside the image."""
        if not self.depth[0] <= place[2] <= self.depth[1]:
            return False
        u, v = (self.camera @ place)[:2] / place[2]
        height, width = self.size
        return MARGIN * width <= u <= (1 - MARGIN) * width and MARGIN * height <= v <= (1 - MARGIN) * height


def chosen_objects(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw which of `count` objects are in an image, in random order, at least one."""
    present = rng.permutation(np.flatnonzero(rng.random(count) < PRESENT))[:MAX_PRESENT]
    return present if len(present) else rng.integers(count, size=1)


def arrange(rng: np.random.Generator, shapes: Sequence[Shape], stage: CameraSetup) -> tuple[list[Placed], np.ndarray]:
    """Place shapes, and return also the direction that is up in the camera frame (3,). Some may be left out."""
    return _on_table(rng, shapes, stage) if stage.table else _in_space(rng, shapes, stage)


def _in_space(rng: np.random.Generator, shapes: Sequence[Shape], stage: CameraSetup) -> tuple[list[Placed], np.ndarray]:
    """Any rotation, depth and place in the image."""
    placed, (height, width) = [], stage.size
    for number in range(len(shapes)):
        pixel = np.array([rng.uniform(MARGIN, 1 - MARGIN) * width, rng.uniform(MARGIN, 1 - MARGIN) * height, 1])
        centre = rng.uniform(*stage.depth) * np.linalg.solve(stage.camera, pixel)
        placed.append(Placed(number, _any_rotation(rng), centre))
    return placed, np.array([0.0, -1.0, 0.0])


def _on_table(rng: np.random.Generator, shapes: Sequence[Shape], stage: CameraSetup) -> tuple[list[Placed], np.ndarray]:
    """Objects on a plane around a point that is seen near the centre of the image."""
    view = camera_above(math.radians(rng.uniform(*ELEVATION)), math.radians(rng.normal(0, ROLL)))
    height, width = stage.size
    pixel = np.array([rng.uniform(0.3, 0.7) * width, rng.uniform(0.3, 0.7) * height, 1])
    origin = rng.uniform(*stage.depth) * np.linalg.solve(stage.camera, pixel)
    extents = np.array([shape.extent for shape in shapes])
    radius = np.median(extents) * rng.uniform(*SPREAD) * math.sqrt(len(shapes)) / 2
    placed: list[Placed] = []
    taken: list[tuple[np.ndarray, float]] = []
    for number, shape in enumerate(shapes):
        fallen = rng.random() < FALLEN
        turn = _any_rotation(rng) if fallen else about_z(rng.uniform(0, math.tau))
        standing = -(shape.mesh.points @ turn[2]).min() + rng.choice([0, rng.uniform(0, LIFT) * shape.extent])
        for _ in range(TRIES):
            x, y = rng.uniform(-radius, radius, 2)
            centre = origin + view @ np.array([x, y, standing])
            near = (np.hypot(*(place - (x, y))) < APART * (shape.extent + other) for place, other in taken)
            if stage.holds(centre) and not any(near):
                placed.append(Placed(number, view @ turn, centre))
                taken.append((np.array([x, y]), shape.extent))
                break
    return placed, view[:, 2]


def camera_above(elevation: float, roll: float) -> np.ndarray:
    """Rotation (3, 3) from a world with z up to a camera that looks at its origin from above; angles in radians."""
    forward = np.array([-math.cos(elevation), 0, -math.sin(elevation)])
    right = np.array([0.0, 1.0, 0.0])
    return about_z(roll) @ np.stack((right, np.cross(forward, right), forward))


def about_z(angle: float) -> np.ndarray:
    """Rotation (3, 3) about the z axis."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def _any_rotation(rng: np.random.Generator) -> np.ndarray:
    return from_quaternions(torch.from_numpy(rng.normal(size=4))).numpy()
