"""Losses of detectors against torchvision, the papers' formulas and worked cases."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision import ops

from danlu.detection.box_losses import box_loss, class_focal, quality_focal, sigmoid_focal, smooth_l1, varifocal
from danlu.detection.boxes import MEASURES
from danlu.refuse import Refusal

T = torch.tensor
LOGITS, ANSWERS = T([0.0, 2, -2, 4, -4]), T([1.0, 1, 1, 0, 0])


def test_worked_focal():
    expected = T([0.0433217, 0.0004509, 0.4125196, 2.9061804, 4.4e-6])
    torch.testing.assert_close(sigmoid_focal(LOGITS, ANSWERS, alpha=0.25, gamma=2), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.5, 1.5), (-1, 2.0), (0.25, 0.0)])
def test_focal_as_torchvision(alpha: float, gamma: float):
    torch.manual_seed(0)
    x, targets = torch.randn(6, 50) * 5, (torch.rand(6, 50) < 0.3).float()
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    left, right = (
        sigmoid_focal(ours, targets, alpha=alpha, gamma=gamma),
        ops.sigmoid_focal_loss(theirs, targets, alpha, gamma),
    )
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-6)
    left.sum().backward(), right.sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.25, -1])
def test_focal_of_class_numbers(alpha: float):
    torch.manual_seed(0)
    logits, labels = (
        (torch.randn(2, 30, 5, dtype=torch.double) * 3).float().requires_grad_(),
        torch.randint(-2, 5, (2, 30)),
    )
    hot = torch.zeros(2, 30, 6).scatter_(2, labels.where(labels >= 0, 5)[..., None], 1)[..., :5]
    left = class_focal(logits, labels, alpha=alpha, gamma=2.0)
    right = ops.sigmoid_focal_loss(logits, hot, alpha, 2.0).sum(-1)
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)
    (ours,), (theirs,) = (torch.autograd.grad(x.sum(), logits) for x in (left, right))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)
    assert class_focal(logits[:, :0], labels[:, :0], alpha=alpha, gamma=2.0).shape == (2, 0)


def test_sure_logits_stay_finite():
    for loss in (
        lambda x, t: sigmoid_focal(x, t, alpha=0.25, gamma=2.0),
        lambda x, t: quality_focal(x, t, beta=2.0),
        lambda x, t: varifocal(x, t, alpha=0.75, gamma=2.0),
    ):
        x = T([200.0, -200, 200, -200], requires_grad=True)
        values = loss(x, T([0.0, 0, 1, 1]))
        assert values.isfinite().all()
        assert values[0] > 100
        assert values[1] == values[2] == 0
        values.sum().backward()
        assert x.grad.isfinite().all()


def test_quality_and_varifocal_by_their_formulas():
    x, t = 0.7, 0.4
    p = 1 / (1 + math.exp(-x))
    entropy = -(t * math.log(p) + (1 - t) * math.log(1 - p))
    assert quality_focal(T(x), T(t), beta=2.0).item() == pytest.approx(abs(t - p) ** 2 * entropy, abs=1e-6)
    assert varifocal(T(x), T(t), alpha=0.75, gamma=2.0).item() == pytest.approx(t * entropy, abs=1e-6)
    nothing = -0.75 * p**2 * math.log(1 - p)
    assert varifocal(T(x), T(0.0), alpha=0.75, gamma=2.0).item() == pytest.approx(nothing, abs=1e-6)
    assert quality_focal(T(0.0), T(0.5), beta=2.0) == 0


def test_smooth_l1():
    errors = T([0.0, 0.05, 1 / 9, 0.5, 2.0])
    expected = T([0.0, 0.01125, 0.0555556, 0.4444444, 1.9444444])
    torch.testing.assert_close(smooth_l1(errors[:, None], torch.zeros(5, 1), beta=1 / 9), expected)
    assert smooth_l1(T([[1.0, -2, 3, 0]]), torch.zeros(1, 4), beta=0).tolist() == [6]
    assert smooth_l1(torch.zeros(0, 4), torch.zeros(0, 4), beta=1).sum() == 0


def test_worked_giou_loss():
    boxes = T([[0.0, 0, 10, 10]] * 3)
    targets = T([[5.0, 5, 15, 15], [20, 20, 30, 30], [2, 2, 4, 4]])
    torch.testing.assert_close(
        box_loss(boxes, targets, measure="giou"), T([1.079365, 1.7777778, 0.96]), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize(
    ("measure", "theirs"),
    [("giou", ops.generalized_box_iou_loss), ("diou", ops.distance_box_iou_loss), ("ciou", ops.complete_box_iou_loss)],
)
def test_box_losses_as_torchvision(measure: str, theirs):
    torch.manual_seed(0)
    first = torch.rand(2, 40, 2) * 40
    boxes, targets = torch.cat([first, first + torch.rand(2, 40, 2) * 40 + 1], 2)
    ours, other = boxes.clone().requires_grad_(), boxes.clone().requires_grad_()
    left, right = box_loss(ours, targets, measure=measure), theirs(other, targets)
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)
    left.sum().backward(), right.sum().backward()
    torch.testing.assert_close(ours.grad, other.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("measure", MEASURES)
def test_equal_boxes_cost_nothing_and_descent_brings_them_there(measure: str):
    target = T([[10.0, 10, 30, 25]])
    assert box_loss(target, target, measure=measure).item() == pytest.approx(0, abs=1e-6)
    box = T([[8.0, 14, 24, 33]], requires_grad=True)
    before = box_loss(box, target, measure=measure)
    before.sum().backward()
    assert box_loss(box - 5 * box.grad, target, measure=measure) < before
    assert box_loss(target.bfloat16(), target, measure=measure).dtype == torch.float32
    assert box_loss(target[:0], target[:0], measure=measure).sum() == 0


def test_an_unknown_measure_is_refused():
    with pytest.raises(Refusal, match="did you mean 'giou'"):
        box_loss(torch.zeros(1, 4), torch.zeros(1, 4), measure="giouu")
