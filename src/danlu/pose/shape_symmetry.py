"""Turns about principal and coordinate axes after which the shape of a mesh is the same, found by trying them."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from danlu.pose.errors import nearest_distances
from danlu.pose.meshes import Mesh
from danlu.pose.rotations import from_axis_angle
from danlu.pose.symmetry import closure, cyclic, motion, no_symmetry

SURFACE_POINTS = 1200  # of a mesh; their spacing limits the differences that can be told
FEW_POINTS, FEW_FACTOR = 150, 1.4  # of them that reject most turns, if they are so much further away than the limit
ORDERS = (6, 4, 3, 2)  # turns by 1/order that are tried
ANY_ANGLE = 37.0  # degrees; a shape that this turn leaves unchanged is one of revolution
MAX_FINITE = 60  # rotations of an icosahedron, the largest of the groups that are not about one axis
STEPS = 36  # rotations that sample a continuous symmetry
SAME_AXIS = 0.985  # cosine; a principal axis nearer to a coordinate axis is taken as that one
MAX_EXCESS, MAX_MISFIT = (
    1.15,
    0.002,
)  # residual: relative to that of another sample, and in diameters
MAX_COLOUR_DIFFERENCE = 0.1  # mean difference of colours in [0, 1]; above it the texture distinguishes both poses


@dataclass(frozen=True)
class ShapeSymmetry:
    """Turns that leave a shape unchanged. group: float64 (G, 4, 4), identity first. continuous: some turn by any angle.

    axes: of each generator, unit vector and order, 0 for any angle.
    """

    group: Tensor
    continuous: bool
    axes: tuple[tuple[tuple[float, float, float], int], ...]


def shape_symmetry(mesh: Mesh, max_misfit: float | None = None) -> ShapeSymmetry:
    """Find the turns about the centre of the surface of a mesh that leave its shape, and its colours, unchanged.

    max_misfit: mean distance from the mesh in diameters up to which a turned one is the same; by default the shapes
    must agree as well as two samples of the same surface do.
    """
    points, other = mesh.surface(SURFACE_POINTS), mesh.surface(SURFACE_POINTS, seed=1)
    centre = points.mean(0)
    points, other = points - centre, other - centre
    floor = float(nearest_distances(other, points).mean())
    extent = 2 * float(points.norm(dim=1).max())
    limit = floor * MAX_EXCESS + MAX_MISFIT * extent if max_misfit is None else floor + max_misfit * extent
    found: list[tuple[tuple[float, float, float], int]] = []
    for axis in _axes(points):
        for order in (0, *ORDERS):
            angle = math.radians(ANY_ANGLE) if order == 0 else 2 * math.pi / order
            turn = from_axis_angle(axis, torch.tensor(angle, dtype=torch.float64))
            moved = other @ turn.T
            if float(nearest_distances(moved[:FEW_POINTS], points).mean()) > FEW_FACTOR * limit:
                continue
            if float(nearest_distances(moved, points).mean()) <= limit and _same_colours(mesh, centre, turn):
                x, y, z = axis.tolist()
                found.append(((x, y, z), order))
                break
    return _group(found, centre)


def _axes(points: Tensor) -> Tensor:
    """Coordinate axes, and principal axes of points (P, 3) that differ from them; unit vectors (A, 3)."""
    principal = torch.linalg.eigh(points.T @ points).eigenvectors.T
    kept = [axis for axis in principal if float(axis.abs().max()) < SAME_AXIS]
    return torch.stack((*torch.eye(3, dtype=points.dtype), *kept))


def _same_colours(mesh: Mesh, centre: Tensor, turn: Tensor) -> bool:
    """Return whether vertices have the colour of the nearest one after the turn; True without colours."""
    if mesh.colours is None:
        return True
    step = -(-len(mesh.points) // SURFACE_POINTS)
    points = torch.from_numpy(mesh.points[::step]) - centre
    colours = torch.from_numpy(mesh.colours[::step])
    nearest = torch.cdist(points @ turn.T, points).argmin(1)
    return float((colours[nearest] - colours).abs().mean()) <= MAX_COLOUR_DIFFERENCE


def _group(found: list[tuple[tuple[float, float, float], int]], centre: Tensor) -> ShapeSymmetry:
    """The group that turns about axes through `centre` generate; of two continuous axes the first only."""
    turns, generators = no_symmetry(), no_symmetry()
    continuous = [axis for axis, order in found if not order][:1]
    for axis, order in found:
        if order and not continuous:
            more = torch.cat((generators, cyclic(axis, order)[1:2]))
            with suppress(ValueError):  # an axis that is nearly, but not exactly, one of the same group
                larger = closure(more)
                if len(larger) <= MAX_FINITE:
                    turns, generators = larger, more
    if continuous:
        aligned = [axis for axis, order in found if order and abs(_cosine(axis, continuous[0])) < 1e-6]
        flips = cyclic(aligned[0], 2) if aligned else no_symmetry()
        turns = (cyclic(continuous[0], STEPS)[:, None] @ flips[None]).flatten(0, 1)
    rotations = turns[:, :3, :3]
    return ShapeSymmetry(motion(rotations, centre - rotations @ centre), bool(continuous), tuple(found))


def _cosine(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    return sum(a * b for a, b in zip(one, other))
