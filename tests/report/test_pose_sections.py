"""Sections of poses: symmetry plots, votes over the image, and values of another form."""

from __future__ import annotations

from typing import Any

import torch

from danlu.data.canvas import Placement
from danlu.report.markup import Figures
from danlu.report.pose_sections import pose_examples_section, poses_section
from danlu.tasks import attention_maps

PIXEL = "data:image/png;base64,iVBORw0KGgo="


def summary(**symmetric: bool) -> dict[str, Any]:
    rows = [
        {"name": name, "symmetric": value, "rotation": [2.0, 3.0], "rotation_given": [88.0, 181.0]}
        for name, value in symmetric.items()
    ]
    return {"metrics": {}, "evaluation": {"per_object": [], "pose_errors": rows}}


def test_symmetry_plot_has_both_errors_of_symmetric_objects_only() -> None:
    figures = Figures()
    page = poses_section(summary(cube=True, prism=False), figures)
    assert "Rotation error with and without symmetries" in page
    drawn = str(figures.get("pose-symmetry"))
    assert "cube: to the given pose" in drawn or "cube: to the given pose" in page
    assert "prism: to the given pose" not in drawn + page
    assert "with and without symmetries" not in poses_section(summary(prism=False), Figures())


def test_votes_lie_over_the_image() -> None:
    votes = torch.zeros(1, 8, 8)
    votes[0, 2, 3] = 0.5
    map_ = attention_maps.shown(attention_maps.compressed(votes), Placement((48, 64), (64, 64), (1.0, 1.0)))[0]
    example = {"name": "a.png", "image": PIXEL, "size": [48, 64], "objects": []}
    page = pose_examples_section([example | {"votes": map_}])
    assert page.count("<svg") == 2
    assert "votes of the pixels for centres" in page
    assert 'width="64" height="64"' in page
    for bad in (
        {},
        {"map": 3, "area": [0, 0, 1, 1]},
        {"map": map_["map"], "area": [0, "x", 1, 1]},
        {"map": map_["map"]},
    ):
        assert pose_examples_section([example | {"votes": bad}]).count("<svg") == 1
