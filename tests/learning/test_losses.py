import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from danlu.config import LossConfig
from danlu.learning.losses import LOSSES, build_loss, class_weights
from danlu.refuse import Refusal

torch.manual_seed(0)
LOGITS = torch.randn(6, 4)
LABELS = torch.tensor([0, 1, 2, 3, 1, 1])
PROBABILITIES = torch.rand(6, 4).softmax(1)


def loss(name, **settings):
    return build_loss(LossConfig(name=name, **settings))


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_gives_one_number_per_sample_and_a_gradient(name):
    kinds = LOSSES[name].targets
    outputs, targets = LOGITS.clone(), LABELS if "class" in kinds else torch.randn(6, 4)
    if "map" in kinds and "class" not in kinds:  # one label per pixel
        outputs, targets = LOGITS[:, :, None, None].expand(6, 4, 2, 2).clone(), LABELS[:, None, None].expand(6, 2, 2)
    losses = loss(name)(outputs.requires_grad_(), targets)
    losses.mean().backward()
    assert losses.shape == (6,)
    assert losses.dtype == torch.float32
    assert (losses >= 0).all()
    assert outputs.grad.abs().sum() > 0
    assert LOSSES[name].description


@pytest.mark.parametrize("name", [name for name, entry in LOSSES.items() if "class" in entry.targets])
def test_one_hot_targets_equal_the_index(name):
    torch.testing.assert_close(loss(name)(LOGITS, F.one_hot(LABELS, 4).float()), loss(name)(LOGITS, LABELS))


@pytest.mark.parametrize(
    ("name", "expected"), [("squared", [0.125, 4.5]), ("absolute", [0.5, 3.0]), ("huber", [0.125, 2.5])]
)
def test_regression_losses_by_hand(name, expected):
    errors = torch.tensor([[0.5], [-3.0]])
    assert loss(name)(errors, torch.zeros(2)).tolist() == expected
    both = loss(name)(errors.view(1, 2), torch.zeros(1, 2))  # two columns: their mean
    assert both.item() == pytest.approx(sum(expected) / 2)


@pytest.mark.parametrize("delta", [0.3, 1.0, 2.0])
def test_huber_joins_at_delta_with_equal_value_and_slope(delta):
    def at(e):
        error = torch.tensor([[e]], dtype=torch.float64, requires_grad=True)
        value = LOSSES["huber"].function(error, torch.zeros(1, 1, dtype=torch.float64), delta=delta)
        return value.item(), torch.autograd.grad(value, error)[0].item()

    below, above = at(delta - 1e-9), at(delta + 1e-9)
    assert below == pytest.approx(above, abs=1e-8)
    assert above == pytest.approx((delta**2 / 2, delta), abs=1e-8)


def test_gradient_of_cross_entropy_is_softmax_minus_target():
    outputs = LOGITS.double().requires_grad_()
    LOSSES["cross-entropy"].function(outputs, PROBABILITIES.double(), smoothing=0.0).sum().backward()
    torch.testing.assert_close(outputs.grad, LOGITS.double().softmax(1) - PROBABILITIES.double())


def test_smoothing_moves_probability_onto_all_classes():
    smooth = 0.8 * F.one_hot(LABELS, 4) + 0.2 / 4
    expected = -(smooth * LOGITS.log_softmax(1)).sum(1)
    torch.testing.assert_close(loss("cross-entropy", smoothing=0.2)(LOGITS, LABELS), expected)


def test_one_output_tells_class_one_from_class_zero():
    outputs, labels = torch.tensor([[2.0], [-1.0]]), torch.tensor([1, 1])
    expected = [-math.log(1 / (1 + math.exp(-2))), -math.log(1 / (1 + math.exp(1)))]
    for targets in (labels, labels[:, None], F.one_hot(labels, 2).float()):
        assert loss("binary-cross-entropy")(outputs, targets).tolist() == pytest.approx(expected)
        assert loss("perceptron")(outputs, targets).tolist() == [0, 1]


def test_rubbish_class_is_lenet5s_criterion():
    """LeCun et al. 1998, equation 9: y_D + log(e^-j + sum_k e^-y_k), y being squared distances."""
    distances, j = torch.rand(6, 4) * 8, 3.0
    expected = distances[range(6), LABELS] + torch.log(math.exp(-j) + torch.exp(-distances).sum(1))
    for targets in (LABELS, F.one_hot(LABELS, 4).float()):
        torch.testing.assert_close(loss("cross-entropy", rubbish=j)(-distances, targets), expected)


def test_rubbish_class_asks_for_more_than_a_lead():
    """The nearest code by far is not enough: beyond j the loss is the distance less j, as of a plain squared error."""
    far = -torch.tensor([[60.0, 400.0]])
    assert loss("cross-entropy")(far, torch.tensor([0])).item() == pytest.approx(0)
    assert loss("cross-entropy", rubbish=20.0)(far, torch.tensor([0])).item() == pytest.approx(40)
    assert loss("cross-entropy", rubbish=20.0)(far / 6, torch.tensor([0])).item() == pytest.approx(0, abs=1e-4)


def test_focal_is_discounted_cross_entropy():
    p = LOGITS.softmax(1)[range(6), LABELS]
    torch.testing.assert_close(loss("focal", gamma=2.0)(LOGITS, LABELS), -((1 - p) ** 2) * p.log())
    torch.testing.assert_close(
        loss("focal", gamma=0.0)(LOGITS, LABELS), F.cross_entropy(LOGITS, LABELS, reduction="none")
    )


def test_focal_has_a_gradient_where_the_network_is_certain():
    outputs = torch.tensor([[100.0, 0.0]], requires_grad=True)
    loss("focal", gamma=0.5)(outputs, torch.tensor([0])).sum().backward()
    assert outputs.grad.tolist() == [[0, 0]]


def test_perceptron_of_several_classes_is_its_definition():
    for outputs, label, value in zip(LOGITS, LABELS, loss("perceptron")(LOGITS, LABELS), strict=True):
        others = torch.cat([outputs[:label], outputs[label + 1 :]])
        assert value.item() == pytest.approx(max(0.0, (others.max() - outputs[label]).item()))


def test_gradient_descent_on_the_perceptron_loss_is_rosenblatts_rule():
    points = torch.randn(40, 2)
    labels = (points @ torch.tensor([1.0, -2.0]) > 0).long()
    w, rule = torch.zeros(2, requires_grad=True), torch.zeros(2)
    for x, label in zip(points, labels, strict=True):
        loss("perceptron")((x @ w).view(1, 1), label.view(1)).mean().backward()
        with torch.no_grad():
            w -= w.grad
        w.grad = None
        y = 2 * label - 1
        if y * (x @ rule) <= 0:
            rule += y * x
        torch.testing.assert_close(w.detach(), rule)


def test_balanced_weights_are_those_of_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    balanced = compute_class_weight("balanced", classes=np.arange(4), y=LABELS.numpy())
    counts = LABELS.bincount()
    assert class_weights("balanced", counts).tolist() == pytest.approx(balanced.tolist())
    weighted = build_loss(LossConfig(name="cross-entropy", class_weights="balanced"), counts)(LOGITS, LABELS)
    torch_says = F.cross_entropy(LOGITS, LABELS, torch.tensor(balanced).float(), reduction="none")
    torch.testing.assert_close(weighted, torch_says)


def test_given_weights_have_mean_one_over_the_samples():
    counts = LABELS.bincount()
    weights = class_weights((1.0, 2.0, 3.0, 4.0), counts)
    assert weights[LABELS].mean().item() == pytest.approx(1)
    assert (weights / weights[0]).tolist() == pytest.approx([1, 2, 3, 4])
    assert class_weights("balanced", torch.tensor([5, 0]))[1] == 0


def test_root_weights_are_square_roots_of_the_balanced_ones():
    counts = torch.tensor([90, 10, 0])
    balanced, root = class_weights("balanced", counts), class_weights("root", counts)
    assert (root[1] / root[0]).item() == pytest.approx((balanced[1] / balanced[0]).sqrt().item())
    assert root[2] == 0
    assert (root * counts).sum() / counts.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("config", "counts", "task", "says"),
    [
        (LossConfig(name="huber"), None, "classify", "choose from cross-entropy"),
        (LossConfig(name="focal"), None, "regress", "huber"),
        (LossConfig(name="focal", smoothing=0.1), None, None, "loss.smoothing"),
        (LossConfig(name="focal", rubbish=1.0), None, None, "loss.rubbish"),
        (LossConfig(name="cross-entropy", rubbish=1.0, smoothing=0.1), None, None, "without smoothing"),
        (LossConfig(name="crossentropy"), None, None, "did you mean 'cross-entropy'"),
        (LossConfig(name="squared", class_weights="balanced"), None, None, "loss.class_weights"),
        (LossConfig(name="focal", class_weights=(1.0, 2.0)), LABELS.bincount(), None, "4 numbers"),
        (LossConfig(name="focal", class_weights=(0.0,) * 4), LABELS.bincount(), None, "above 0"),
    ],
)
def test_refusals(config, counts, task, says):
    with pytest.raises(Refusal, match=says):
        build_loss(config, counts, task)


def test_shapes_that_do_not_fit_are_never_broadcast():
    with pytest.raises(RuntimeError):
        loss("squared")(torch.zeros(3, 1), torch.zeros(3, 3))


def test_squared_error_of_classes_is_against_one_hot_targets():
    by_hand = 0.5 * ((LOGITS - F.one_hot(LABELS, 4)) ** 2).mean(1)
    torch.testing.assert_close(loss("squared")(LOGITS, LABELS), by_hand)
    one = torch.tensor([[0.25], [-1.0]])
    assert loss("squared")(one, torch.tensor([1, 0])).tolist() == [0.28125, 0.0]  # against +1 and -1
    assert loss("squared")(one, torch.tensor([0.25, 0.0])).tolist() == [0.0, 0.5]  # numbers stay as they are


@pytest.mark.parametrize("delta", [0.5, 1.0, 3.0])
def test_margin_loss_is_classes_times_that_of_torch(delta):
    expected = 4 * F.multi_margin_loss(LOGITS, LABELS, margin=delta, reduction="none")
    torch.testing.assert_close(loss("margin", margin=delta)(LOGITS, LABELS), expected)


def test_margin_loss_by_hand():
    outputs = torch.tensor([[2.0, 0.5, 1.5], [2.0, 0.5, 0.9]])
    assert loss("margin")(outputs, torch.tensor([0, 0])).tolist() == [0.5, 0.0]
    one = torch.tensor([[0.25], [0.25], [-2.0]])
    assert loss("margin")(one, torch.tensor([1, 0, 0])).tolist() == [0.75, 1.25, 0.0]


def test_brier_is_flat_where_a_network_is_confidently_wrong_and_cross_entropy_is_not():
    slopes = {}
    for name in ("brier", "cross-entropy"):
        outputs = torch.tensor([[10.0, -10.0]], requires_grad=True)
        value = loss(name)(outputs, torch.tensor([1]))
        slopes[name] = torch.autograd.grad(value.sum(), outputs)[0].abs().max().item()
    assert slopes["brier"] < 1e-7
    assert slopes["cross-entropy"] == pytest.approx(1.0)


def test_brier_of_one_output_is_that_of_two():
    one = torch.tensor([[0.3], [-2.0]])
    two = torch.cat([torch.zeros(2, 1), one], 1)
    torch.testing.assert_close(loss("brier")(one, torch.tensor([1, 0])), loss("brier")(two, torch.tensor([1, 0])))
