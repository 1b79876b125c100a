"""Transposable 2:4 masks: the best of all masks of a tile by magnitude, and training with them."""

from __future__ import annotations

import itertools

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import nn

import danlu
from danlu.config import ModelConfig
from danlu.learning.sparse import is_sparse, largest_two, sparsify
from danlu.learning.transposable import best_tiles, tile_masks
from danlu.refuse import Refusal

BOTH = ModelConfig(sparse="2:4", sparse_both=True)
TILE = [[9.0, 1, 7, 4], [1, 2, 3, 0], [8, 3, 5, 4], [1, 2, 6, 2]]


def brute_force(tile: torch.Tensor) -> float:
    """Largest sum of magnitudes over all ways to choose two of four columns in every row, each column twice."""
    best = 0.0
    for pairs in itertools.product(itertools.combinations(range(4), 2), repeat=4):
        if all(sum(column in pair for pair in pairs) == 2 for column in range(4)):
            best = max(best, sum(float(tile[row, column].abs()) for row, pair in enumerate(pairs) for column in pair))
    return best


def test_there_are_ninety_masks_of_a_tile():
    masks = tile_masks()
    assert masks.shape == (90, 4, 4)
    assert (masks.sum(1) == 2).all()
    assert (masks.sum(2) == 2).all()
    assert len({tuple(one.flatten().tolist()) for one in masks}) == 90


def test_the_mask_of_each_tile_is_the_best_of_all():
    torch.manual_seed(0)
    weight = torch.randn(8, 12)
    kept = weight.abs() * best_tiles(weight)
    for row, column in itertools.product(range(0, 8, 4), range(0, 12, 4)):
        tile = weight[row : row + 4, column : column + 4]
        assert kept[row : row + 4, column : column + 4].sum().item() == pytest.approx(brute_force(tile), rel=1e-6)


def test_magnitude_counts_and_not_the_sign():
    tile = torch.tensor(TILE)
    signs = torch.tensor([-1.0, 1, -1, 1])
    assert torch.equal(best_tiles(tile), best_tiles(tile * signs))
    assert torch.equal(best_tiles(tile), best_tiles(-tile))
    assert bool(best_tiles(-tile)[0, 0]), "the largest magnitude stays where it is negative"


def test_it_keeps_more_than_the_greedy_masks_of_torch():
    from torch.sparse._semi_structured_conversions import _sparse_semi_structured_tile

    tile = torch.tensor(TILE)
    assert torch.equal(tile * best_tiles(tile), _sparse_semi_structured_tile(tile.clone())), "the worked case"
    torch.manual_seed(1)
    weight = torch.randn(56, 64)  # 224 tiles
    greedy = _sparse_semi_structured_tile(weight.abs())
    full = (greedy != 0).unfold(0, 4, 4).unfold(1, 4, 4).sum((2, 3)) == 8  # the others end with seven weights
    kept, greedy = (
        one.unfold(0, 4, 4).unfold(1, 4, 4).sum((2, 3)) for one in (weight.abs() * best_tiles(weight), greedy)
    )
    assert (kept[full] >= greedy[full] - 1e-4).all()
    assert kept.sum() > greedy.sum()


def test_energy_kept_of_gaussian_weights():
    torch.manual_seed(0)
    weight = torch.randn(512, 512)
    total = weight.square().sum()
    for mask, wanted in ((largest_two(weight), 0.8662), (best_tiles(weight), 0.8222)):
        assert mask.float().mean().item() == 0.5
        assert ((weight * mask).square().sum() / total).item() == pytest.approx(wanted, abs=0.004)


def test_kernels_and_their_transpose_are_sparse():
    torch.manual_seed(0)
    weight = torch.randn(8, 12, 3, 3)
    kept = weight * best_tiles(weight)
    assert is_sparse(kept)
    assert is_sparse(kept.transpose(0, 1))
    assert not is_sparse((weight * largest_two(weight)).transpose(0, 1))


def test_layers_that_do_not_divide_stay_dense_and_gradients_are_those_of_the_dense_layer():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 10))
    assert sparsify(model, ModelConfig(sparse="2:4", sparse_both=True, sparse_refine=2e-4)) == ["2"]
    weight = model[0].weight.detach().clone().requires_grad_()
    rows = torch.randn(5, 8)
    (model[0](rows) ** 2).sum().backward()
    ((rows @ weight.T + model[0].bias.detach()) ** 2).sum().backward()
    held = model[0].parametrizations.weight.original
    assert is_sparse(model[0].weight)
    assert is_sparse(model[0].weight.T)
    assert torch.allclose(held.grad, weight.grad, atol=1e-5), "straight through: all weights get their gradient"


def test_it_is_refused_without_sparse():
    with pytest.raises(Refusal, match=r"--model\.sparse_both must be omitted without --sparse"):
        sparsify(nn.Linear(8, 8), ModelConfig(sparse_both=True))


@pytest.mark.parametrize("refine", [0.0, 2e-4])
def test_a_network_learns_with_both_directions_pruned(tmp_path, refine):
    settings = {"model": "mlp", "epochs": 8, "sparse": "2:4", "model.sparse_both": True, "model.sparse_refine": refine}
    plain = {"device": "cpu", "augment": "none", "precision": "fp32", "channels_last": False, "doctor.budget": 0.0}
    run = danlu.train("digits", out=str(tmp_path / "run"), console=Console(quiet=True), **settings, **plain)
    assert run.metrics.test.accuracy > 0.9
    weight = load_file(run.folder / "weights/best.safetensors")["hidden.0.weight"]
    assert is_sparse(weight)
    assert is_sparse(weight.T)
