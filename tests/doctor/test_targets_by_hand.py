"""Usual losses written by hand: their kind and targets are read from the graph, and judged like those of torch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from test_forum_questions import CLASSES, ledger_of, samples
from torch import Tensor, nn

from danlu.doctor.diagnose import diagnose
from danlu.doctor.ledger import Ledger
from danlu.doctor.loss.targets_by_hand import TargetsByHand
from danlu.doctor.observation.watched_model import Pass

Loss = Callable[[Tensor, Tensor], Tensor]
ROWS = torch.arange(12)
PICKED = torch.tensor([0, 1, 2, 1] * 3)
ONE_HOT = F.one_hot(PICKED, 3).float()
VALUES = torch.randn(12, 3, generator=torch.Generator().manual_seed(1))
# Activation, targets, loss, and the kind that it equals.
BY_HAND: dict[str, tuple[Callable[[Tensor], Tensor], Tensor, Loss, str]] = {
    "clamped logarithm": (
        lambda s: s.softmax(1), ONE_HOT, lambda p, y: -(y * p.clamp(1e-7, 1).log()).sum(1).mean(), "probabilities",
    ),
    "minus before the labels": (
        lambda s: s.softmax(1), ONE_HOT, lambda p, y: (-y * torch.log(p + 1e-9)).sum() / len(p), "probabilities",
    ),
    "made to sum to 1": (
        lambda s: s.sigmoid(), ONE_HOT, lambda p, y: -(y * (p / p.sum(1, keepdim=True)).log()).sum(1).mean(), "normalised",
    ),
    "chosen by index": (lambda s: s.softmax(1), PICKED, lambda p, y: -p[ROWS, y].log().mean(), "probabilities"),
    "gathered": (
        lambda s: s, PICKED, lambda s, y: -s.log_softmax(1).gather(1, y[:, None]).mean(), "cross_entropy",
    ),
    "log-probabilities": (lambda s: s.log_softmax(1), PICKED, lambda p, y: -p[ROWS, y].mean(), "nll"),
    "both classes": (
        lambda s: s.sigmoid(), ONE_HOT, lambda p, y: -(y * p.log() + (1 - y) * (1 - p).log()).mean(), "bce",
    ),
    "squares": (lambda s: s, VALUES, lambda s, y: ((s - y) ** 2).mean(), "mse"),
    "distances": (lambda s: s, VALUES, lambda s, y: (y - s).abs().mean(), "l1"),
}  # fmt: skip
HALF: dict[str, torch.dtype] = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}
NO_USUAL_LOSS: dict[str, Callable[[Tensor], Tensor]] = {
    "weighed by a reward": lambda s: -(s.log_softmax(1)[ROWS, PICKED] * ROWS).mean(),
    "with a penalty": lambda s: ((s - VALUES) ** 2).mean() + s.abs().mean(),
    "no targets": lambda s: -s.sigmoid().log().mean(),
}


def of_ones(p: Tensor, y: Tensor) -> Tensor:
    return -(y * p.clamp(1e-7, 1).log()).sum(1).mean()


def scores() -> Tensor:
    return torch.randn(12, 3, generator=torch.Generator().manual_seed(0), requires_grad=True) * 1.0


@pytest.mark.parametrize("name", BY_HAND)
def test_the_kind_and_the_targets_of_a_usual_loss_are_read(name: str) -> None:
    activation, targets, loss, kind = BY_HAND[name]
    outputs, call, seeker = activation(scores()), Pass(1, 1, True, True), TargetsByHand()
    early = seeker.read(call, loss(outputs, targets), outputs, early=True)
    later = seeker.read(call, loss(outputs, targets), outputs, early=False)
    assert call.notes["loss_kind"] == kind
    assert early is not None
    assert later is not None
    assert torch.allclose(early.float(), targets.float())
    assert torch.equal(early, later)


@pytest.mark.parametrize("name", NO_USUAL_LOSS)
def test_other_losses_have_no_targets(name: str) -> None:
    outputs, call, seeker = scores(), Pass(1, 1, True, True), TargetsByHand()
    assert seeker.read(call, NO_USUAL_LOSS[name](outputs), outputs, early=True) is None
    assert seeker.read(call, NO_USUAL_LOSS[name](outputs), outputs, early=False) is None


@pytest.mark.parametrize("name", HALF)
def test_outputs_of_other_types_are_compared(name: str) -> None:
    outputs, call, seeker = (scores() * 2).to(HALF[name]).softmax(1), Pass(1, 1, True, True), TargetsByHand()
    targets = seeker.read(call, of_ones(outputs.float(), ONE_HOT), outputs, early=True)
    assert targets is not None
    assert torch.equal(targets.float(), ONE_HOT)


def trained(loss: Loss, *end: nn.Module, lr: float = 0.01, targets: Tensor | None = None) -> Ledger:
    """Train on four separate classes without a loss of torch."""
    x, y = samples()
    targets = F.one_hot(y, CLASSES).float() if targets is None else targets

    def program() -> None:
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, targets.shape[1]), *end)
        optimizer = torch.optim.Adam(model.parameters(), lr)
        for _ in range(12):
            for k in torch.randperm(len(x)).split(32):
                optimizer.zero_grad()
                loss(model(x[k]), targets[k]).backward()
                optimizer.step()

    return ledger_of(program)


def first(ledger: Ledger) -> str:
    found = [one.code for one in diagnose(ledger) if one.severity != "note"]
    return found[0] if found else ""


def test_a_cross_entropy_by_hand_is_judged_by_chance_level() -> None:
    assert first(trained(of_ones, nn.Softmax(1))) == ""
    assert first(trained(of_ones, nn.Softmax(1), lr=1e-5)) == "optim.lr_too_low"


@pytest.mark.parametrize("outputs", [1, CLASSES])
def test_a_cross_entropy_of_sigmoids_that_leaves_out_the_zeros_is_named(outputs: int) -> None:
    y = samples()[1]
    targets = (y[:, None] < 2).float() if outputs == 1 else F.one_hot(y, CLASSES).float()
    assert first(trained(of_ones, nn.Sigmoid(), targets=targets)) == "model.output_mismatch"


def test_relu_before_a_cross_entropy_of_normalised_is_named() -> None:
    def of_normalised(p: Tensor, y: Tensor) -> Tensor:
        return of_ones(p / (p.sum(1, keepdim=True) + 1e-7), y)

    assert first(trained(of_normalised, nn.ReLU())) == "model.output_mismatch"
    assert first(trained(of_normalised, nn.Softmax(1))) == ""


def test_classes_beyond_one_in_a_binary_cross_entropy_by_hand_are_named() -> None:
    def both(p: Tensor, y: Tensor) -> Tensor:
        p = p.clamp(1e-7, 1 - 1e-7)
        return -(y * p.log() + (1 - y) * (1 - p).log()).mean()

    y = samples()[1][:, None]
    assert first(trained(both, nn.Sigmoid(), targets=(y % 3).float())) == "data.label_range"
    assert first(trained(both, nn.Sigmoid(), targets=(y < 2).float())) == ""


def test_large_first_outputs_before_a_cross_entropy_by_hand_are_named() -> None:
    class Large(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (1e4 * x).softmax(1)

    found = [one.code for one in diagnose(trained(of_ones, Large()))]
    assert "model.bad_init" in found
