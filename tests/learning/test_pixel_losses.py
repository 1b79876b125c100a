"""Losses of label maps against worked numbers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from danlu.config import LossConfig
from danlu.learning.losses import build_loss
from danlu.learning.pixel_losses import dice, lovasz, lovasz_hinge, pixel_cross_entropy, soft_dice
from danlu.refuse import Refusal

P, Y = torch.tensor([0.9, 0.2, 0.7, 0.4]), torch.tensor([1.0, 0.0, 1.0, 1.0])


def test_worked_dice_and_lovasz():
    assert soft_dice(P, Y).item() == pytest.approx(0.230769, abs=1e-6)
    assert soft_dice(P, Y, 1.0).item() == pytest.approx(0.193548, abs=1e-6)
    assert lovasz_hinge(torch.tensor([2.0, -1.0, 0.5, -0.3]), Y).item() == pytest.approx(0.6)


@pytest.mark.parametrize("name", ["cross-entropy", "focal", "dice", "dice-cross-entropy", "lovasz"])
def test_ignored_pixels_change_nothing(name):
    torch.manual_seed(0)
    loss = build_loss(LossConfig(name=name), task="semantic")
    outputs, targets = torch.randn(2, 3, 4, 6), torch.randint(0, 3, (2, 4, 6)).to(torch.uint8)
    wide = torch.cat((outputs, torch.randn(2, 3, 4, 2) * 50), 3).requires_grad_()
    with_ignored = torch.cat((targets, torch.full((2, 4, 2), 255, dtype=torch.uint8)), 2)
    assert torch.allclose(loss(outputs, targets), loss(wide, with_ignored), atol=1e-5)
    loss(wide, with_ignored).sum().backward()
    assert wide.grad is not None
    assert not wide.grad[..., 6:].any()
    nothing = loss(outputs, torch.full_like(targets, 255))
    assert torch.isfinite(nothing).all()


def test_cross_entropy_agrees_with_torch():
    torch.manual_seed(1)
    outputs, targets = torch.randn(1, 4, 5, 5), torch.randint(0, 4, (1, 5, 5))
    targets[0, 0] = 255
    mine = build_loss(LossConfig(name="cross-entropy", smoothing=0.1), task="semantic")(outputs, targets)
    assert mine.item() == pytest.approx(F.cross_entropy(outputs, targets, ignore_index=255, label_smoothing=0.1).item())
    weights = (1.0, 2.0, 0.5, 1.0)
    counts = torch.bincount(targets[targets != 255], minlength=4)
    weighted = build_loss(LossConfig(name="cross-entropy", class_weights=weights), counts, "semantic")
    want = F.cross_entropy(outputs, targets, torch.tensor(weights), ignore_index=255)
    assert weighted(outputs, targets).item() == pytest.approx(want.item())


def test_a_perfect_prediction_has_no_loss():
    targets = torch.tensor([[[0, 1], [2, 1]]])
    outputs = F.one_hot(targets, 3).permute(0, 3, 1, 2).float() * 100
    assert dice(outputs, targets).item() == pytest.approx(0, abs=1e-5)
    assert lovasz(outputs, targets).item() == pytest.approx(0, abs=1e-5)


def test_losses_of_other_tasks_are_refused():
    with pytest.raises(Refusal, match="lovasz"):
        build_loss(LossConfig(name="huber"), task="semantic")
    with pytest.raises(Refusal, match="classify"):
        build_loss(LossConfig(name="dice"), task="classify")


def test_unbiased_weights_leave_the_frequencies_as_the_best_outputs() -> None:
    """At the logarithms of the frequencies the gradient is 0; without the correction it is so at weight x frequency."""
    targets = torch.tensor([0] * 9 + [1]).view(1, 2, 5)
    frequencies, weights = torch.tensor([0.9, 0.1]), torch.tensor([0.5, 1.5])
    for unbiased, best in ((True, frequencies), (False, frequencies * weights)):
        logits = best.log().clone().requires_grad_()
        outputs = logits[None, :, None, None].expand(1, 2, 2, 5)
        pixel_cross_entropy(outputs, targets, 0.0, weights, unbiased).sum().backward()
        assert logits.grad is not None
        torch.testing.assert_close(logits.grad, torch.zeros(2), atol=1e-6, rtol=0)


def test_unbiased_weights_allow_a_class_without_pixels() -> None:
    outputs = torch.randn(2, 3, 4, 4, requires_grad=True)
    losses = pixel_cross_entropy(outputs, torch.zeros(2, 4, 4), 0.0, torch.tensor([1.0, 0.0, 2.0]), unbiased=True)
    losses.sum().backward()
    assert losses.isfinite().all()
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()
