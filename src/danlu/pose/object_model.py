"""The 3D model of an object class: mesh, diameter, symmetries, and points to measure errors with."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from danlu.pose.meshes import Mesh
from danlu.pose.symmetry import no_symmetry

MAX_POINTS = 1000  # of a model for errors; farthest-point sampling was not worth its cost


@dataclass(frozen=True)
class ObjectModel:
    """One object class.

    mesh: in metres. diameter: largest distance between two points, in metres; 0: computed from the mesh. symmetries:
    group, float64 (G, 4, 4), identity first. continuous: whether some symmetry is continuous.
    """

    name: str
    mesh: Mesh
    diameter: float = 0.0
    symmetries: Tensor = field(default_factory=no_symmetry)
    continuous: bool = False

    @property
    def symmetric(self) -> bool:
        """Return whether a turn other than the identity leaves it unchanged."""
        return len(self.symmetries) > 1

    @cached_property
    def extent(self) -> float:
        """Diameter in metres."""
        return self.diameter or self.mesh.diameter

    @cached_property
    def points(self) -> Tensor:
        """Points for errors, float64 (P, 3): those of the mesh, at most `MAX_POINTS` of them, evenly chosen."""
        points = torch.from_numpy(self.mesh.points)
        return points if len(points) <= MAX_POINTS else points[:: -(-len(points) // MAX_POINTS)]

    @cached_property
    def box(self) -> tuple[Tensor, Tensor]:
        """Lower and upper corner of the box along the model's axes, float64 (3,) each."""
        points = torch.from_numpy(self.mesh.points)
        return points.amin(0), points.amax(0)
