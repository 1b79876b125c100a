"""Targets per pixel: masks of other images, mirrored alone, or with rows and columns exchanged."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import danlu
from danlu.doctor.findings.data.targets_misplaced import targets_misplaced
from danlu.doctor.instruments.dense_targets import ARRANGEMENTS, centred, correlation, features, fits, maps
from danlu.doctor.watch import Doctor
from danlu.doctor.wording import worded

COUNT, SIDE, EPOCHS = 160, 20, 14


def discs(count: int = COUNT) -> tuple[Tensor, Tensor]:
    """Images (N, 3, SIDE, SIDE) with one bright disc each, and masks (N, SIDE, SIDE) of 0 and 1."""
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    middle = torch.randint(4, SIDE - 4, (count, 2))[:, :, None, None]
    radius = torch.randint(2, 5, (count,))[:, None, None]
    masks = ((rows - middle[:, 0]).square() + (columns - middle[:, 1]).square() <= radius.square()).float()
    colour = torch.tensor([0.9, 0.4, -0.3]).view(1, 3, 1, 1)
    return 0.2 * torch.randn(count, 3, SIDE, SIDE) + masks[:, None] * colour, masks


def loss_of(outputs: Tensor, masks: Tensor) -> Tensor:
    if outputs.shape[1] == 2:
        return F.cross_entropy(outputs, masks.long())
    return F.binary_cross_entropy_with_logits(outputs, masks[:, None])


def watched(fault: str, outputs: int = 1) -> Doctor:
    torch.manual_seed(0)
    images, masks = discs()
    if fault == "other images":
        masks = masks[torch.randperm(COUNT)]
    elif fault in ("mirrored", "transposed"):
        masks = ARRANGEMENTS[fault](masks[:, None])[:, 0]
    net = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, outputs, 3, padding=1))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    with danlu.watch(net, optimizer, quiet=True) as doctor:
        for _ in range(EPOCHS):
            for rows in torch.randperm(COUNT).split(16):
                alone = torch.rand(len(rows), 1, 1, 1) < 0.5 * (fault == "mirrored alone")
                seen = torch.where(alone, images[rows].flip(3), images[rows])
                optimizer.zero_grad()
                loss_of(net(seen), masks[rows]).backward()
                optimizer.step()
    return doctor


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize(
    ("fault", "code", "severity"),
    [
        ("other images", "data.labels_shuffled", "warning"),
        ("mirrored alone", "data.targets_misplaced", "warning"),
        ("mirrored", "data.targets_misplaced", "error"),
        ("transposed", "data.targets_misplaced", "error"),
        ("none", "", ""),
    ],
)
def test_targets_that_lie_elsewhere_are_found(fault: str, code: str, severity: str, outputs: int) -> None:
    found = [one for one in watched(fault, outputs).findings if one.severity != "note"]
    follow = {consequence for one in found for consequence in one.consequences}
    causes = [(one.code, one.severity) for one in found if one.code not in follow]
    assert causes == ([(code, severity)] if code else [])


def test_the_arrangement_is_named_in_both_languages() -> None:
    finding = next(iter(targets_misplaced(watched("transposed").ledger)))
    assert "with rows and columns exchanged" in worded(finding, "en").cause
    assert "行列互换" in worded(finding, "zh").cause


def test_a_linear_fit_finds_what_the_pixels_tell() -> None:
    torch.manual_seed(0)
    images, masks = discs(16)
    found = maps(torch.randn(16, 1, SIDE, SIDE), masks[:, None])
    assert found is not None
    seen, wanted = centred(features(images, SIDE, SIDE)), centred(found[1])
    own, rolled = fits(seen, [wanted, wanted.roll(1, 0)])
    assert own > 0.8
    assert abs(rolled) < 0.3


def test_the_mean_image_does_not_count_as_agreement() -> None:
    shared = torch.rand(1, 1, 12, 12).expand(8, 1, 12, 12)
    assert math.isnan(float(correlation(centred(shared), centred(shared))))


@pytest.mark.parametrize(
    ("outputs", "targets"),
    [
        (torch.randn(8, 3), torch.zeros(8, dtype=torch.long)),  # one label per sample
        (torch.randn(2, 3, 16, 16), torch.zeros(2, 16, 16, dtype=torch.long)),  # too few samples
        (torch.randn(8, 3, 4, 4), torch.zeros(8, 4, 4, dtype=torch.long)),  # too small
        (torch.randn(8, 3, 16, 16), torch.randn(8, 2, 16, 16)),  # of other channels
        (None, torch.zeros(8, 16, 16, dtype=torch.long)),
    ],
)
def test_other_targets_are_left_out(outputs: Tensor | None, targets: Tensor) -> None:
    assert maps(outputs, targets) is None


def test_maps_of_classes_leave_ignored_pixels_out() -> None:
    targets = torch.zeros(4, 16, 16, dtype=torch.long)
    targets[:, :8], targets[:, :, 0] = 2, 255
    found = maps(torch.randn(4, 3, 16, 16), targets)
    assert found is not None
    assert found[1][:, 1].sum() == (targets == 2).sum()
    assert found[1].sum() == (targets != 255).sum()
