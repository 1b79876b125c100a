"""Suppression: worked cases, torchvision and plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision import ops

from danlu.detection import nms as module
from danlu.detection.nms import batched_nms, grouped_nms, nms, soft_nms

T = torch.tensor


def random_boxes(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    first, size = torch.rand(*shape, 2, generator=generator) * 60, torch.rand(*shape, 2, generator=generator) * 40
    return torch.cat([first, first + size + 1], -1)


@pytest.mark.parametrize(
    ("boxes", "scores", "threshold", "expected"),
    [
        ([[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 11], [20, 20, 30, 30]], [0.9, 0.8, 0.7, 0.6], 0.5, [0, 1, 3]),
        ([[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 11], [20, 20, 30, 30]], [0.9, 0.8, 0.7, 0.6], 0.49, [0, 3]),
        ([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], [0.9, 0.8, 0.7], 0.3, [0, 2]),  # the dropped drops none
        ([[0, 0, 1, 1], [5, 5, 6, 6], [9, 9, 10, 10]], [0.1, 0.9, 0.5], 0.5, [1, 2, 0]),
    ],
)
def test_worked_cases(boxes, scores, threshold: float, expected: list[int]):
    boxes, scores = T(boxes, dtype=torch.float32), T(scores)
    assert nms(boxes, scores, threshold).tolist() == expected
    assert grouped_nms(boxes, scores, torch.zeros(len(boxes)).long(), threshold).tolist() == expected


@pytest.mark.parametrize("many", [0, 1000])
@pytest.mark.parametrize(
    ("boxes", "scores", "groups", "expected"),
    [
        ([[0, 0, 10, 10], [0, 0, 10, 10], [1, 1, 11, 11]], [0.9, 0.8, 0.7], [0, 1, 0], [0, 1]),
        ([[90, 90, 100, 100], [-11, -11, -1, -1]], [0.9, 0.8], [0, 1], [0, 1]),  # torchvision: [0]
        (
            [[0.1, 0.08, 0.52, 0.92], [0.08, 0.2, 0.56, 0.95], [0.15, 0.3, 0.62, 0.91], [0.55, 0.2, 0.9, 0.88]],
            [0.9, 0.8, 0.7, 0.9],
            [0, 0, 0, 1],
            [0, 3],
        ),
    ],
)
def test_worked_groups(boxes, scores, groups, expected: list[int], many: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MIN_BOXES_BY_GROUP", many)
    assert grouped_nms(T(boxes, dtype=torch.float32), T(scores), T(groups), 0.5).tolist() == expected


@pytest.mark.parametrize("count", [0, 1, 300, 1500])
def test_groups_as_torchvision(count: int):
    boxes, scores = random_boxes(count), torch.rand(count, generator=torch.Generator().manual_seed(1))
    groups = torch.randint(5, (count,), generator=torch.Generator().manual_seed(2))
    assert grouped_nms(boxes, scores, groups, 0.4).tolist() == ops.batched_nms(boxes, scores, groups, 0.4).tolist()


def test_a_thousand_groups_cost_no_accuracy():
    """An overlap that differs from the threshold in the fifth place, moved far out."""
    pair = T([[0.0, 0, 10, 10], [0, 0, 10, 5.001], [0, 0, 1000, 1000]])
    keep = grouped_nms(pair, T([0.9, 0.8, 0.1]), T([99_999, 99_999, 0]), 0.5)
    assert keep.tolist() == [0, 2]
    pair[1, 3] = 4.999
    assert grouped_nms(pair, T([0.9, 0.8, 0.1]), T([99_999, 99_999, 0]), 0.5).tolist() == [0, 1, 2]


@pytest.mark.parametrize("labelled", [False, True])
def test_a_batch_is_its_images(labelled: bool):
    boxes, scores = random_boxes(4, 60) - 20, torch.rand(4, 60, generator=torch.Generator().manual_seed(3))
    scores[2] = 0
    labels = torch.randint(3, (4, 60), generator=torch.Generator().manual_seed(4)) if labelled else None
    chosen, taken = batched_nms(boxes, scores, labels, iou_threshold=0.4, max_detections=12, min_score=0.3)
    assert chosen.shape == taken.shape == (4, 12)
    for i in range(4):
        above = (scores[i] > 0.3).nonzero()[:, 0]
        groups = labels[i][above] if labels is not None else torch.zeros_like(above)
        keep = [
            k
            for g in range(3)
            for k in above[groups == g][
                ops.nms(boxes[i][above[groups == g]], scores[i][above[groups == g]], 0.4)
            ].tolist()
        ]
        keep.sort(key=lambda k: -scores[i, k])
        assert chosen[i][taken[i]].tolist() == keep[:12]
    assert not taken[2].any()


def test_an_empty_batch():
    chosen, taken = batched_nms(
        torch.zeros(2, 0, 4),
        torch.zeros(2, 0),
        torch.zeros(2, 0).long(),
        iou_threshold=0.5,
        max_detections=3,
        min_score=0,
    )
    assert chosen.shape == (2, 3)
    assert not taken.any()


def soft_in_words(boxes, scores, labels, threshold, sigma) -> list[float]:
    scores, left = scores.tolist(), list(range(len(scores)))
    while left:
        best = max(left, key=lambda k: scores[k])
        left.remove(best)
        for k in left:
            if labels[k] == labels[best]:
                overlap = ops.box_iou(boxes[best][None], boxes[k][None]).item()
                if sigma is not None:
                    scores[k] *= math.exp(-(overlap**2) / sigma)
                elif overlap > threshold:
                    scores[k] *= 1 - overlap
    return scores


@pytest.mark.parametrize("sigma", [None, 0.5])
def test_soft_as_in_words(sigma: float | None):
    boxes, scores = random_boxes(3, 14), torch.rand(3, 14, generator=torch.Generator().manual_seed(1))
    labels = torch.randint(2, (3, 14), generator=torch.Generator().manual_seed(2))
    soft = soft_nms(boxes, scores, labels, threshold=0.3, sigma=sigma)
    expected = [soft_in_words(boxes[i], scores[i], labels[i], 0.3, sigma) for i in range(3)]
    torch.testing.assert_close(soft, T(expected))
    assert (soft < scores).any()
    of_one = soft_nms(boxes[0], scores[0], None, threshold=0.3, sigma=sigma)
    torch.testing.assert_close(of_one, T(soft_in_words(boxes[0], scores[0], [0] * 14, 0.3, sigma)))
    assert soft_nms(boxes[:, :0], scores[:, :0], None, threshold=0.3, sigma=sigma).shape == (3, 0)
