"""The task pose: matching, metrics, the network pose-crop, and a short training."""

from __future__ import annotations

import pytest
import torch

from danlu.pose.evaluation import TrueObjects, matched, pose_errors, pose_metrics
from danlu.pose.rotations import random_rotations
from danlu.pose.solids import solids

CAMERA = torch.tensor([[200.0, 0, 64], [0, 200, 64], [0, 0, 1]])


def poses(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    places = torch.rand(count, 3, generator=generator) * 0.1 + torch.tensor([0, 0, 0.5])
    return torch.cat((random_rotations(count, generator).float(), places[..., None]), -1)


def test_exact_and_symmetric_poses_are_perfect() -> None:
    real = poses(3, 0)
    truth = TrueObjects(torch.arange(3), real, torch.ones(3), CAMERA, 128)
    guess = real.clone()
    guess[1, :, :3] = real[1, :, :3] @ solids()[1].symmetries[5, :3, :3].float()
    guess[2, :, :3] = real[2, :, :3] @ solids()[2].symmetries[9, :3, :3].float()
    found = pose_errors([(torch.arange(3), torch.ones(3), guess)], [truth], solids())
    values = pose_metrics(found)
    for name in ("add_s_01d", "found", "within_5cm_5deg", "projection_5px", "mssd", "mspd"):
        # Turned by a symmetry, points are at the places of other points: only the prism's project where they belong.
        assert values[name] == pytest.approx(1 / 3 if name == "projection_5px" else 1), name
    assert values["rotation"] < 0.01
    assert values["auc_add_s"] > 0.97


def test_missed_objects_count_as_wrong_and_hidden_ones_do_not_count() -> None:
    real = poses(3, 1)
    truth = TrueObjects(torch.tensor([0, 0, 1]), real, torch.tensor([1.0, 0.05, 1.0]), CAMERA, 128)
    found = pose_errors([(torch.tensor([0]), torch.ones(1), real[:1])], [truth], solids())
    assert len(found.labels) == 2
    values = pose_metrics(found)
    assert values["add_s_01d"] == 0.5
    assert values["found"] == 0.5
    assert values["rotation"] < 0.1


def test_detections_are_assigned_by_score_then_to_the_nearest_object() -> None:
    real = poses(2, 2)
    truth = TrueObjects(torch.tensor([0, 0]), real, torch.ones(2), CAMERA, 128)
    guess = torch.cat((real.flip(0), real[:1] + 0.3))
    assert matched(torch.zeros(3, dtype=torch.int64), torch.tensor([0.9, 0.8, 0.7]), guess, truth).tolist() == [1, 0]
