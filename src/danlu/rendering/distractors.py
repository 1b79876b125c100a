"""Distractors: objects that are none of the set, which hide those of the set and are hidden by them.

A network that has seen the objects of a set alone takes anything of their colours for them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from danlu.pose.meshes import Mesh
from danlu.pose.rotations import from_quaternions
from danlu.pose.solids import cube, cylinder, l_prism
from danlu.rendering.views import Shape

MAX_DISTRACTORS = 12
SIZES = (0.3, 1.5)  # of the typical object's diameter
MAX_PARTS = 4  # solids of which a distractor consists
COPIED = 0.5  # probability of the colours of an object of the set, so that shape must tell them apart
RINGS, SECTORS = 8, 12  # of a sphere


def distractors(rng: np.random.Generator, shapes: Sequence[Shape], typical: float) -> list[Shape]:
    """Draw distractors. shapes: the objects of the set. typical: diameter of an object in metres."""
    return [_distractor(rng, shapes, typical) for _ in range(rng.integers(0, MAX_DISTRACTORS + 1))]


def _distractor(rng: np.random.Generator, shapes: Sequence[Shape], typical: float) -> Shape:
    parts = [_solid(rng) for _ in range(rng.integers(1, MAX_PARTS + 1))]
    first = np.cumsum([0, *(len(one.points) for one in parts[:-1])])
    points = np.concatenate([one.points for one in parts])
    faces = np.concatenate([one.faces + start for one, start in zip(parts, first)])
    extent = float(typical * rng.uniform(*SIZES))
    points *= extent / np.linalg.norm(np.ptp(points, axis=0))
    model = shapes[int(rng.integers(len(shapes)))].mesh
    copied = rng.random() < COPIED and model.colours is not None
    colours = np.tile(model.colours.mean(0), (len(points), 1)) if copied and model.colours is not None else None
    # A shape of closed parts is closed: back sides of its faces are inside a part and never visible.
    return Shape(Mesh(points, faces, colours, all(one.closed for one in parts)), extent)


def _solid(rng: np.random.Generator) -> Mesh:
    """One solid with random proportions, place and rotation."""
    mesh = (_sphere, *(lambda made=made: made().mesh for made in (cube, cylinder, l_prism)))[rng.integers(4)]()
    points = mesh.points / np.ptp(mesh.points, axis=0).max() * rng.uniform(0.3, 1.5, 3)
    if rng.random() < 0.5:
        points = points @ from_quaternions(torch.from_numpy(rng.normal(size=4))).numpy().T
    return Mesh(points + rng.normal(0, 0.4, 3), mesh.faces, None, mesh.closed)


def _sphere() -> Mesh:
    """A sphere of diameter 1, its poles on the z axis."""
    angles = np.linspace(0, math.pi, RINGS + 1)[:, None], np.arange(SECTORS) * math.tau / SECTORS
    x, y = np.sin(angles[0]) * np.cos(angles[1]), np.sin(angles[0]) * np.sin(angles[1])
    points = np.stack((x, y, np.cos(angles[0]) * np.ones(SECTORS)), -1).reshape(-1, 3) / 2
    i = (np.arange(RINGS)[:, None] * SECTORS + np.arange(SECTORS)).ravel()
    right = i - i % SECTORS + (i + 1) % SECTORS
    faces = np.concatenate((np.stack((i, i + SECTORS, right), 1), np.stack((right, i + SECTORS, right + SECTORS), 1)))
    return Mesh(points, faces, None, closed=True)
