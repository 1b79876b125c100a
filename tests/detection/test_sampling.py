"""Sampling against its own counts, hard negatives against the rule in words."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from danlu.detection.matching import BACKGROUND, IGNORED
from danlu.detection.sampling import hard_negatives, sample

T = torch.tensor


def matches(positives: list[int], ignored: list[int], anchors: int) -> torch.Tensor:
    matched = torch.full((len(positives), anchors), BACKGROUND)
    for row, p, i in zip(matched, positives, ignored, strict=True):
        order = torch.randperm(anchors, generator=torch.Generator().manual_seed(p))
        row[order[:p]], row[order[p : p + i]] = 3, IGNORED
    return matched


def test_counts_of_a_sample():
    matched = matches([0, 5, 90, 200, 198], [0, 10, 20, 0, 0], 200)
    chosen, taken = sample(matched, count=64, positive_fraction=0.5)
    picked = matched.gather(1, chosen)
    assert ((picked >= 0) & taken).sum(1).tolist() == [0, 5, 32, 32, 32]
    assert ((picked == BACKGROUND) & taken).sum(1).tolist() == [64, 59, 32, 0, 2]
    assert not ((picked == IGNORED) & taken).any()
    for row, real in zip(chosen, taken, strict=True):
        assert len(set(row[real].tolist())) == int(real.sum())
    assert torch.equal(
        ((picked >= 0) & taken).int().argsort(dim=1, descending=True, stable=True), torch.arange(64).expand(5, -1)
    )


def test_a_sample_is_random_and_repeatable():
    matched = matches([20], [0], 100)
    draw = lambda seed: sample(matched, count=10, positive_fraction=0.5, generator=torch.Generator().manual_seed(seed))  # noqa: E731
    assert torch.equal(draw(1)[0], draw(1)[0])
    often = torch.zeros(100)
    for seed in range(600):
        often[draw(seed)[0][0]] += 1
    positive = matched[0] >= 0
    assert often[positive].mean().item() == pytest.approx(150)
    assert often[positive].min() > 100  # five deviations
    assert often[~positive].mean().item() == pytest.approx(37.5)
    assert often[~positive].min() > 8


def test_fewer_anchors_than_asked_for():
    chosen, taken = sample(T([[0, BACKGROUND, IGNORED]]), count=8, positive_fraction=0.25)
    assert chosen.shape == (1, 3)
    assert set(chosen[taken].tolist()) == {0, 1}
    assert sample(torch.zeros(2, 0).long(), count=8, positive_fraction=0.25)[0].shape == (2, 0)


def test_worked_hard_negatives():
    """The cross-entropy of a class against background, as SSD takes it."""
    logits = T([[0.0, 2], [3, 0], [1, 0], [0, 0], [0, 1], [2, 0], [0, 0.5], [0, 3]])
    matched = torch.full((1, 8), BACKGROUND)
    losses = F.cross_entropy(logits, torch.zeros(8).long(), reduction="none")[None]
    assert not hard_negatives(losses, matched, ratio=3, min_count=0).any()
    assert hard_negatives(losses, matched, ratio=3, min_count=2)[0].nonzero()[:, 0].tolist() == [0, 7]
    matched[0, 0] = 0
    assert hard_negatives(losses, matched, ratio=3, min_count=0)[0].nonzero()[:, 0].tolist() == [4, 6, 7]


@pytest.mark.parametrize("seed", range(5))
def test_hard_negatives_in_words(seed: int):
    torch.manual_seed(seed)
    matched = matches([0, 2, 30, 50], [5, 0, 9, 0], 50)
    losses = torch.rand(4, 50).round(decimals=1)  # ties
    kept = hard_negatives(losses, matched, ratio=3, min_count=0)
    for row, loss, match in zip(kept, losses, matched, strict=True):
        background = match == BACKGROUND
        count = min(3 * int((match >= 0).sum()), int(background.sum()))
        assert int(row.sum()) == count
        assert not (row & ~background).any()
        assert torch.equal(loss[row].sort().values, loss[background].sort().values[len(loss[background]) - count :])
