"""Loss around the weights, and projected paths."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from curvature_problems import NOTHING, Point, itself, small_net
from torch import nn
from torch.nn import functional as F

import danlu
from danlu.doctor.curvature.landscape import landscape, path_directions, random_directions
from danlu.doctor.curvature.objective import Objective
from danlu.refuse import Refusal


def test_quadratic_bowl_is_drawn_exactly() -> None:
    objective = Objective(Point([1.0, -2.0, 0.5], lambda w: (w**2).sum()), itself, NOTHING)
    axes = torch.eye(3, dtype=torch.float64)
    drawn = landscape(objective, [axes[0], axes[2]], span=2.0, points=5)
    x, y = np.meshgrid(drawn.x, drawn.y)
    assert drawn.x.tolist() == [-2, -1, 0, 1, 2]
    assert drawn.losses == pytest.approx((1 + x) ** 2 + 4 + (0.5 + y) ** 2)
    line = landscape(objective, [axes[1]], span=(0.0, 4.0), points=5)
    assert line.losses == pytest.approx(1.25 + (line.x - 2) ** 2)
    assert line.y.size == 0


def test_projected_path_is_inside_the_plot() -> None:
    net, x, y = small_net()
    objective = Objective(net, F.cross_entropy, (x, y))
    optimizer, path = torch.optim.SGD(net.parameters(), 0.1), []
    for _ in range(12):
        path.append({name: value.clone() for name, value in net.state_dict().items()})
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    drawn = landscape(objective, path_directions(objective, path), span=0.01, points=7, path=path)
    assert drawn.kept > 0.95  # a descent of twelve steps is nearly plane
    assert drawn.path.shape == (12, 2)
    assert drawn.x.min() < drawn.path[:, 0].min()
    assert drawn.x.max() > drawn.path[:, 0].max()
    assert np.linalg.norm(drawn.path[-1]) < np.linalg.norm(drawn.path[0])  # it ends at the weights
    loss = F.cross_entropy(net(x), y).item()
    found = danlu.curvature(net, F.cross_entropy, (x, y), landscape="path", path=path)
    assert found.landscape is not None
    assert found.landscape.kept == pytest.approx(drawn.kept)
    assert F.cross_entropy(net(x), y).item() == loss


def test_random_directions_have_the_filters_lengths() -> None:
    net, x, y = small_net()
    objective = Objective(net, F.cross_entropy, (x, y))
    first, second = random_directions(objective, seed=5)
    named = objective.named(first)
    assert torch.allclose(named["0.weight"].flatten(1).norm(dim=1), net[0].weight.flatten(1).norm(dim=1))
    assert torch.allclose(named["4.weight"].norm(dim=1), net[4].weight.norm(dim=1))
    assert named["0.bias"].abs().max() == 0
    assert not torch.allclose(first, second)
    assert torch.equal(first, random_directions(objective, seed=5)[0])


def test_eigenvectors_show_the_curvature() -> None:
    """Along the top eigenvector the loss is loss + curvature/2 step^2, the gradient being zero."""
    point = Point([0.0, 0.0, 0.0], lambda w: 3 * w[0] ** 2 + w[1] ** 2 - w[2] ** 2 + 1)
    drawn = danlu.curvature(point, itself, NOTHING, landscape="eigenvectors").landscape
    assert drawn is not None
    x, y = np.meshgrid(drawn.x, drawn.y)
    assert drawn.losses == pytest.approx(1 + 3 * x**2 + y**2)


def test_foreign_snapshots_are_refused() -> None:
    net, x, y = small_net()
    for foreign in (torch.zeros(3), nn.Linear(2, 2).state_dict()):
        with pytest.raises(Refusal, match="a snapshot of the path"):
            danlu.curvature(net, F.cross_entropy, (x, y), landscape="path", path=[foreign, foreign])
