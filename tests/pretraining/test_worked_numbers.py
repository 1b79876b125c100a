"""Masks, patches, losses and parameter counts against worked numbers of the papers and of independent formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from danlu.models.network_table import build_backbone
from danlu.pretraining.masked import MAEDecoder
from danlu.pretraining.masking import block_masks, random_masks, units_masked
from danlu.pretraining.patches import is_constant, normalise_patches, sincos_positions, to_images, to_patches
from danlu.pretraining.probes import knn_accuracy, linear_accuracy
from danlu.pretraining.two_view_losses import (
    byol_loss,
    contrastive_chance,
    cosine_loss,
    effective_rank,
    nt_xent,
    spread,
)


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def test_nt_xent_of_two_images():
    first, second = torch.tensor([[1.0, 0], [0, 1]]), torch.tensor([[1.0, 1], [-1, 1]])
    assert nt_xent(first, second, 0.5).mean().item() == pytest.approx(0.535969352, abs=1e-6)
    # Independently: softmax over the other three embeddings.
    z = F.normalize(torch.cat([first, second]), dim=1)
    s = (z @ z.T / 0.5).exp()
    expected = [-math.log(s[i, (i + 2) % 4] / (s[i].sum() - s[i, i])) for i in range(4)]
    assert nt_xent(first, second, 0.5).mean().item() == pytest.approx(np.mean(expected), abs=1e-6)


def test_equal_embeddings_are_at_chance():
    same = torch.ones(6, 4)
    assert nt_xent(same, same, 0.2).mean().item() == pytest.approx(contrastive_chance(6), abs=1e-5)
    assert contrastive_chance(6) == pytest.approx(math.log(11))


def test_byol_and_simsiam_of_one_pair():
    a, b = torch.tensor([[1.0, 2]]), torch.tensor([[2.0, 1]])
    assert byol_loss(a, b).item() == pytest.approx(0.4, abs=1e-6)
    assert cosine_loss(a, b).item() == pytest.approx(-0.8, abs=1e-6)


def test_normalised_patch_and_its_zero_predictor():
    found, mean, std = normalise_patches(torch.tensor([0.0, 1, 2, 3]))
    assert found.tolist() == pytest.approx([-1.161894660, -0.387298220, 0.387298220, 1.161894660], abs=1e-5)
    assert (found * std + mean).tolist() == pytest.approx([0, 1, 2, 3], abs=1e-5)
    for values, loss in ((768, 0.998698), (48, 0.979167), (16, 0.9375)):
        patches = normalise_patches(torch.randn(64, values))[0]
        assert patches.square().mean().item() == pytest.approx(loss, abs=1e-4)
    assert is_constant(torch.tensor([[1.0, 1, 1], [0, 1, 2]])).tolist() == [True, False]


def test_patches_are_cut_row_by_row_with_channels_last():
    images = torch.arange(2 * 3 * 4 * 4.0).view(2, 3, 4, 4)
    patches = to_patches(images, 2)
    assert patches.shape == (2, 4, 12)
    assert patches[0, 1, :3].tolist() == images[0, :, 0, 2].tolist()
    assert torch.equal(to_images(patches, 2, 3), images)


def test_positions_are_sines_of_the_column_then_the_row():
    found = sincos_positions(8, 3)
    assert found[0].tolist() == pytest.approx([0, 0, 1, 1, 0, 0, 1, 1])
    column = [0.841470985, 0.009999833, 0.540302306, 0.999950000]
    assert found[1].tolist() == pytest.approx([*column, 0, 0, 1, 1], abs=1e-6)
    assert found[3].tolist() == pytest.approx([0, 0, 1, 1, *column], abs=1e-6)


def test_parameters_of_mae_are_those_published():
    with torch.device("meta"):
        vit = build_backbone("vit-base", channels=3, size=224)
        decoder = MAEDecoder(768, 512, 8, 16, 14, 768)
    assert _count(vit) - vit.position.numel() == 85_647_360
    assert _count(decoder) == 26_008_320
    assert _count(MAEDecoder(192, 96, 2, 3, 8, 48)) == 247_152


def test_block_masks_hide_at_most_the_wanted_patches():
    rng = np.random.default_rng(0)
    counts = block_masks(400, 14, 75, rng).sum((1, 2)).float()
    assert counts.max() <= 75
    assert 73.5 < counts.mean() < 75
    assert 0.6 < (counts == 75).float().mean() < 0.76
    small = block_masks(400, 8, 26, rng, min_block=4).sum((1, 2)).float()
    assert 25.8 < small.mean() <= 26


def test_random_masks_have_an_exact_number():
    assert (random_masks(50, 16, 10).sum(1) == 10).all()
    assert [units_masked(0.6, n) for n in (36, 49, 16)] == [22, 30, 10]


def test_spread_and_rank_tell_a_collapse():
    torch.manual_seed(0)
    noise = torch.randn(500, 32)
    assert spread(noise) == pytest.approx(1, abs=0.02)
    assert spread(torch.ones(500, 32) + 1e-4 * noise) < 0.01
    assert effective_rank(noise) > 28
    assert effective_rank(noise[:, :1] * torch.ones(1, 32)) == pytest.approx(1, abs=1e-3)


def test_probes_separate_two_clouds_and_not_noise():
    torch.manual_seed(0)
    labels = torch.arange(200) % 2
    clouds = torch.randn(200, 8) + 4 * labels[:, None]
    assert min(knn_accuracy(clouds, labels), linear_accuracy(clouds, labels)) > 0.95
    assert linear_accuracy(torch.randn(200, 8), labels) < 0.65
