"""Loss over a line or a plane through the weights, and the path of an optimizer projected onto it.

Random directions are scaled per filter to the norm of the weights, so that landscapes of different networks can be
compared (Li, Xu, Taylor, Studer and Goldstein, 2018). A path is almost orthogonal to random directions; to show it, use
its principal components (same paper) or the top eigenvectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from danlu.doctor.curvature.lanczos import random_vector
from danlu.doctor.curvature.objective import Objective
from danlu.message import message
from danlu.refuse import refusal

Snapshot = Tensor | Mapping[str, Tensor]  # flat (P,), or parameter name -> tensor as in a state dict
LandscapeDirections = Literal["random", "eigenvectors", "path"]


@dataclass(frozen=True)
class Landscape:
    """Losses over a line or a plane; the current weights are at 0.

    Attributes:
        x, y: coordinates (n,) along the two directions; y is empty for a line.
        losses: (n,) for a line or (n, n) for a plane, rows along y; not finite where the loss is not.
        path: coordinates (k, 1 or 2) of the snapshots.
        kept: fraction of the squared distance of the path from the weights that the projection keeps.
        directions: parameter name -> its part of each direction.
    """

    x: np.ndarray
    y: np.ndarray
    losses: np.ndarray
    path: np.ndarray
    kept: float
    directions: list[dict[str, Tensor]]


def landscape(
    objective: Objective,
    directions: Sequence[Tensor],
    *,
    span: float | tuple[float, float] = 1.0,
    points: int = 21,
    path: Sequence[Snapshot] = (),
) -> Landscape:
    """Evaluate the loss around the current weights along one or two flat directions (P,), not necessarily orthogonal.

    Args:
        span: from -span to span, or (from, to), in units of the directions; widened to contain the path.
        points: number of points per axis.
        path: snapshots to project.

    Raises:
        Refusal: not one or two directions, or a snapshot of another model.
    """
    if len(directions) not in (1, 2):
        raise refusal(
            "directions", message("doctor.wanted.two_flat_vectors", "one or two flat vectors"), len(directions)
        )
    here = objective.weights()
    moved = [flat_weights(objective, snapshot) - here for snapshot in path]
    places, kept = project(moved, directions)
    low, high = span if isinstance(span, tuple) else (-span, span)
    axes = [_axis(low, high, points, places[:, i]) for i in range(len(directions))]
    losses = np.array([[_loss(objective, here, directions, (x, *y)) for x in axes[0]] for y in _second(axes)])
    two = len(directions) == 2
    return Landscape(
        axes[0],
        axes[1] if two else np.empty(0),
        losses if two else losses[0],
        places,
        kept,
        [objective.named(direction) for direction in directions],
    )


def random_directions(objective: Objective, count: int = 2, *, seed: int = 0) -> list[Tensor]:
    """Return random normal directions (P,), each filter (row of the first axis) scaled to the norm of its weights.

    Biases and scales of normalisation layers get zero.
    """
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(count):
        parts = []
        for weight in objective.parameters.values():
            part = random_vector(weight.detach(), generator)
            if weight.ndim < 2:
                parts.append(torch.zeros_like(part))
                continue
            rows, wanted = part.flatten(1), weight.detach().flatten(1).norm(dim=1, keepdim=True)
            parts.append(rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12) * wanted)
        found.append(objective.flat(parts))
    return found


def path_directions(objective: Objective, path: Sequence[Snapshot]) -> list[Tensor]:
    """Return the first two principal directions (P,) of the snapshots relative to the current weights."""
    if len(path) < 2:
        raise refusal(
            "path",
            message("doctor.wanted.least_two_snapshots_weights", "at least two snapshots of the weights"),
            len(path),
        )
    here = objective.weights()
    moved = torch.stack([flat_weights(objective, snapshot) - here for snapshot in path])
    return list(torch.linalg.svd(moved, full_matrices=False).Vh[:2])


def project(moved: Sequence[Tensor], directions: Sequence[Tensor]) -> tuple[np.ndarray, float]:
    """Project displacements (P,) onto d directions by least squares.

    Returns:
        Coordinates (k, d), and the fraction of the squared norm that the projection keeps.
    """
    if not moved:
        return np.empty((0, len(directions))), 1.0
    rows, basis = torch.stack(list(moved)).double(), torch.stack(list(directions), 1).double()
    places = torch.linalg.lstsq(basis, rows.T).solution
    total = rows.square().sum()
    kept = ((basis @ places).square().sum() / total).item() if total > 0 else 1.0
    return places.T.cpu().numpy(), kept


def flat_weights(objective: Objective, snapshot: Snapshot) -> Tensor:
    """Convert a snapshot to a flat vector (P,)."""
    if isinstance(snapshot, Tensor):
        if snapshot.shape != (objective.size,):
            raise refusal(
                "a snapshot of the path",
                message("doctor.wanted.vector_weights", "a vector of {size} weights", size=objective.size),
                tuple(snapshot.shape),
            )
        return snapshot.to(objective.device, objective.dtype)
    missing = [name for name in objective.parameters if name not in snapshot]
    if missing:
        raise refusal(
            "a snapshot of the path",
            message("doctor.wanted.state_dict_model", "a state dict of this model"),
            message("doctor.got.one_without", "one without {missing}", missing=missing[0]),
        )
    return objective.flat(snapshot[name] for name in objective.parameters)


def _axis(low: float, high: float, points: int, places: np.ndarray) -> np.ndarray:
    """Grid from low to high, extended by 10 % beyond the path."""
    if len(places):
        beyond = 0.1 * float(np.ptp(np.append(places, 0.0)))
        low, high = min(low, float(places.min()) - beyond), max(high, float(places.max()) + beyond)
    return np.linspace(low, high, points)


def _second(axes: list[np.ndarray]) -> list[tuple[Any, ...]]:
    return [(y,) for y in axes[1]] if len(axes) == 2 else [()]


def _loss(objective: Objective, here: Tensor, directions: Sequence[Tensor], place: Sequence[float]) -> float:
    return objective.value(here + sum(float(a) * d for a, d in zip(place, directions)))  # type: ignore[arg-type]
