"""Losses written by hand, read from their graph, and the findings about them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from danlu.doctor.findings.data.label_range import label_range
from danlu.doctor.findings.loop.wrong_sign import wrong_sign
from danlu.doctor.ledger import Ledger
from danlu.doctor.loss.by_hand import (
    binary_labels,
    cosine_sign,
    is_overlap,
    margin_labels,
    overlap_sign,
    picks_of_all_labels,
)
from danlu.doctor.loss.graph import last_activation
from danlu.doctor.watch import watch

MASK = (torch.arange(4 * 36).reshape(4, 1, 6, 6) % 3 == 0).float()
LABELS = torch.tensor([0.0, 1.0] * 8)
VECTORS = torch.randn(16, 4, generator=torch.Generator().manual_seed(1))


def maps() -> Tensor:
    return nn.Conv2d(1, 1, 3)(torch.randn(4, 1, 8, 8))


def dice(p: Tensor) -> Tensor:
    return 1 - (2 * (p * MASK).sum() + 1) / (p.sum() + MASK.sum() + 1)


def dice_of_samples(p: Tensor) -> Tensor:
    axes = (1, 2, 3)
    return 1 - ((2 * (p * MASK).sum(axes) + 1) / ((p**2).sum(axes) + MASK.sum(axes) + 1)).mean()


def iou(p: Tensor) -> Tensor:
    both = (p.flatten() * MASK.flatten()).sum()
    return 1 - both / (p.sum() + MASK.sum() - both)


OVERLAPS: dict[str, tuple[Callable[[Tensor], Tensor], bool]] = {
    "Dice of scores": (dice, True),
    "Dice of scores by sample": (dice_of_samples, True),
    "IoU of scores": (iou, True),
    "Dice of probabilities": (lambda s: dice(s.sigmoid()), False),
    "masked mean": (lambda s: (s.square() * MASK).sum() / MASK.sum(), False),
    "squared error": (lambda s: (s - MASK).square().mean(), False),
    "made to sum to 1": (lambda s: ((s / s.sum()) * MASK).sum(), False),
}


@pytest.mark.parametrize("name", OVERLAPS)
def test_overlaps_of_scores_are_told_from_other_losses(name: str) -> None:
    loss, found = OVERLAPS[name]
    outputs = maps()
    assert is_overlap(loss(outputs).grad_fn, outputs.grad_fn) is found


MARGINS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], bool]] = {
    "hinge": (lambda s, y: (1 - y * s).clamp(min=0).mean(), True),
    "squared hinge": (lambda s, y: F.relu(1 - y * s).square().mean(), True),
    "maximum": (lambda s, y: torch.maximum(torch.zeros_like(s), 1 - s * y).mean(), True),
    "logistic": (lambda s, y: (1 + (-y * s).exp()).log().mean(), True),
    "softplus": (lambda s, y: F.softplus(-y * s).mean(), True),
    "cross entropy of scores": (lambda s, y: (F.relu(s) - s * y + (-s.abs()).exp().log1p()).mean(), False),
    "cross entropy": (lambda s, y: -(y * s.sigmoid().log() + (1 - y) * (1 - s.sigmoid()).log()).mean(), False),
    "masked exponential": (lambda s, y: (s * y).exp().sum().log(), False),
    "probability picked by a label": (lambda s, y: -(s * y + 1e-6).log().mean(), False),
    "labels outside": (lambda s, y: (F.relu(1 - s) * y).mean(), False),
}


@pytest.mark.parametrize("name", MARGINS)
def test_labels_inside_a_margin_are_found(name: str) -> None:
    loss, found = MARGINS[name]
    scores = nn.Linear(3, 1)(torch.randn(16, 3)).squeeze(1)
    labels = margin_labels(loss(scores, LABELS).grad_fn, scores.grad_fn)
    assert (labels is not None) is found
    assert labels is None or labels.unique().numel() == 2


SIGNS: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "one minus Dice": (lambda s: dice(s.sigmoid()), -1),
    "one minus Dice of samples": (lambda s: dice_of_samples(s.sigmoid()), -1),
    "Dice": (lambda s: 1 - dice(s.sigmoid()), 1),
    "Dice of samples": (lambda s: 2 * (1 - dice_of_samples(s.sigmoid())), 1),
    "IoU": (lambda s: 1 - iou(s.sigmoid()), 1),
    "negative IoU": (lambda s: iou(s.sigmoid()) - 1, -1),
    "focal Tversky": (lambda s: dice(s.sigmoid()) ** 0.75, -1),
    "masked mean": (lambda s: (s.square() * MASK).sum() / MASK.sum(), 0),
    "made to sum to 1": (lambda s: ((s / s.sum()) * MASK).sum(), 0),
    "squared error": (lambda s: (s - MASK).square().mean(), 0),
}


@pytest.mark.parametrize("name", SIGNS)
def test_sign_of_an_overlap_in_the_loss(name: str) -> None:
    loss, sign = SIGNS[name]
    outputs = maps()
    assert overlap_sign(loss(outputs).grad_fn, outputs.grad_fn) == sign


@pytest.mark.parametrize("right", [True, False])
def test_an_overlap_is_not_minimised(right: bool) -> None:
    torch.manual_seed(0)
    model, x = nn.Conv2d(1, 1, 3), torch.randn(4, 1, 8, 8)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    with watch(model, optimizer) as doctor:
        for _ in range(20):
            optimizer.zero_grad()
            loss = dice_of_samples(model(x).sigmoid())
            (loss if right else 1 - loss).backward()
            optimizer.step()
    assert ("loop.wrong_sign" in [one.code for one in doctor.findings]) is not right


COSINES: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "mean": (lambda z: F.cosine_similarity(z, VECTORS).mean(), 1),
    "one minus": (lambda z: 1 - F.cosine_similarity(z, VECTORS).mean(), -1),
    "negative sum": (lambda z: -F.cosine_similarity(z, VECTORS).sum(), -1),
    "negative factor": (lambda z: (F.cosine_similarity(z, VECTORS) * -0.5).mean(), -1),
    "by hand": (lambda z: (F.normalize(z, dim=1) * F.normalize(VECTORS, dim=1)).sum(1).mean(), 1),
    "norm and a constant": (lambda z: (z / (z.norm(dim=1, keepdim=True) + 1e-8) * VECTORS).sum(1).mean(), 1),
    "clamped norm": (lambda z: -(VECTORS * (z / z.norm(dim=1, keepdim=True).clamp(min=1e-8))).sum(1).mean(), -1),
    "squared distance": (lambda z: (z - VECTORS).square().mean(), 0),
}


@pytest.mark.parametrize("name", COSINES)
def test_sign_of_a_cosine_in_the_loss(name: str) -> None:
    loss, sign = COSINES[name]
    outputs = nn.Linear(3, 4)(torch.randn(16, 3))
    assert cosine_sign(loss(outputs).grad_fn, outputs.grad_fn) == sign


def trained(loss_fn: Callable[[Tensor, Tensor], Tensor], labels: Tensor, *last: nn.Module) -> list[str]:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(3, 1), *last), torch.randn(len(labels), 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with watch(model, optimizer) as doctor:
        for _ in range(12):
            optimizer.zero_grad()
            loss_fn(model(x).squeeze(1), labels).backward()
            optimizer.step()
    return [one.code for one in doctor.findings if one.severity != "note"]


def test_a_hinge_loss_by_hand_needs_signed_labels() -> None:
    hinge = MARGINS["hinge"][0]
    assert trained(hinge, LABELS)[:1] == ["data.label_range"]
    assert "data.label_range" not in trained(hinge, 2 * LABELS - 1)


def by_hand(losses: list[float]) -> Ledger:
    ledger = Ledger()
    ledger.add("loss.seen_by", "backward", "", 1)
    for step, loss in enumerate(losses, 1):
        ledger.add("loss.step", loss, "", step)
        ledger.add("loss.scale", 1.0, "", step)
    return ledger


UNBOUNDED: dict[str, tuple[list[float], bool]] = {
    "accelerates": ([500 - 1.2 * step**2.2 for step in range(100)], True),
    "density": ([3 - 8 * (1 - 0.95**step) for step in range(100)], False),
    "cosine": ([-(1 - 0.9**step) for step in range(100)], False),
    "likelihood of large counts": ([1 - 5900 * (1 - 0.96**step) for step in range(100)], False),
    "falls to 0": ([5 * 0.9**step for step in range(100)], False),
}


@pytest.mark.parametrize("name", UNBOUNDED)
def test_a_loss_without_a_lower_limit_is_found(name: str) -> None:
    losses, found = UNBOUNDED[name]
    assert bool(list(wrong_sign(by_hand(losses)))) is found


METRICS: dict[str, tuple[str, list[float], bool]] = {
    "reward falls": ("mean_reward", [0.33, 0.25, 0.15, 0.09, 0.05, 0.03, 0.02], True),
    "reward rises": ("mean_reward", [0.33, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], False),
    "overfitting": ("val_accuracy", [0.7, 0.8, 0.81, 0.8, 0.79, 0.78, 0.77], False),
    "a loss falls": ("val_loss", [2.0, 1.0, 0.5, 0.25, 0.1, 0.05, 0.02], False),
}


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_that_training_worsens_shows_a_wrong_sign(name: str) -> None:
    metric, values, found = METRICS[name]
    ledger = by_hand([-0.038, -0.039, -0.03] + [0.0] * 17)
    for epoch, value in enumerate(values, 1):
        ledger.add("user.metric", value, metric, epoch)
    assert bool(list(wrong_sign(ledger))) is found


@pytest.mark.parametrize(("signed", "found"), [(0, True), (1, False)])
def test_label_range_of_a_margin(signed: int, found: bool) -> None:
    ledger = Ledger()
    ledger.add("loss.signed_margin", signed, "", 1)
    assert bool(list(label_range(ledger))) is found


CLASSES = torch.arange(16) % 5
PICKS: dict[str, tuple[Callable[[Tensor], Tensor], bool]] = {
    "labels of all samples": (lambda p: -p[:, CLASSES].mean(), True),
    "index_select": (lambda p: -p.index_select(1, CLASSES).mean(), True),
    "own label": (lambda p: -p[torch.arange(16), CLASSES].mean(), False),
    "gather": (lambda p: -p.gather(1, CLASSES[:, None]).mean(), False),
    "columns": (lambda p: -p[:, torch.tensor([0, 2])].mean(), False),
}


@pytest.mark.parametrize("name", PICKS)
def test_outputs_of_the_labels_of_other_samples_are_found(name: str) -> None:
    loss, found = PICKS[name]
    log_probabilities = nn.Linear(3, 5)(torch.randn(16, 3)).log_softmax(1)
    assert picks_of_all_labels(loss(log_probabilities).grad_fn) == ([16, 16] if found else [])


def test_labels_of_a_binary_cross_entropy_by_hand() -> None:
    scores = nn.Linear(3, 1)(torch.randn(16, 3)).squeeze(1)
    loss, _ = MARGINS["cross entropy of scores"]
    labels = binary_labels(loss(scores, LABELS + 1).grad_fn, scores.grad_fn)
    assert labels is not None
    assert labels.unique().tolist() == [1, 2]
    assert binary_labels(MARGINS["logistic"][0](scores, LABELS).grad_fn, scores.grad_fn) is None
    assert trained(loss, LABELS + 1)[:1] == ["data.label_range"]
    assert trained(loss, LABELS) == []


def test_a_softmax_of_exponentials_is_one() -> None:
    scores = nn.Linear(3, 5)(torch.randn(16, 3))
    powers = (scores - scores.max(1, keepdim=True).values.detach()).exp()
    found = last_activation((powers / powers.sum(1, keepdim=True)).grad_fn)
    assert found is not None
    assert found[0] == "softmax"
    assert last_activation((powers / scores.square().sum(1, keepdim=True)).grad_fn) is None


def test_relu_before_the_logarithm_of_a_binary_loss_by_hand() -> None:
    def loss(p: Tensor, y: Tensor) -> Tensor:
        p = p.clamp(1e-6, 1 - 1e-6)
        return -(y * p.log() + (1 - y) * (1 - p).log()).mean()

    assert "model.output_mismatch" in trained(loss, LABELS, nn.ReLU())
    assert "model.output_mismatch" not in trained(loss, LABELS, nn.Sigmoid())
