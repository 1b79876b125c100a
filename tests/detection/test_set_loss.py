"""One-to-one matching and the set loss against enumeration, torch's cross-entropy and worked numbers."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch

from danlu.detection.matching import BACKGROUND, IGNORED
from danlu.detection.set_loss import SetLoss, SetPrediction, SigmoidClasses, SoftmaxClasses, relative
from danlu.detection.set_matching import box_costs, match_one_to_one
from danlu.objects import ObjectBatch, Objects, collate

SIZE = (100, 100)


def objects_of(*boxes: list[float], labels: list[int] | None = None, ignore: list[bool] | None = None) -> Objects:
    count = len(boxes)
    return Objects(
        torch.tensor(boxes).reshape(-1, 4), torch.tensor(labels or [0] * count), torch.tensor(ignore or [False] * count)
    )


def some_objects(count: int) -> ObjectBatch:
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(count, 2, generator=generator) * 60
    boxes = torch.cat([corner, corner + 10 + 30 * torch.rand(count, 2, generator=generator)], 1)
    return collate([Objects(boxes, torch.arange(count) % 3, torch.zeros(count, dtype=torch.bool))])


def some_prediction(queries: int, columns: int) -> SetPrediction:
    generator = torch.Generator().manual_seed(1)
    return SetPrediction(
        torch.randn(1, queries, columns, generator=generator),
        0.1 + 0.6 * torch.rand(1, queries, 4, generator=generator),
    )


def test_assignment_is_the_best_of_all() -> None:
    costs = torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(3))
    best = min(permutations(range(5), 3), key=lambda queries: sum(float(costs[0, q, m]) for m, q in enumerate(queries)))
    matched = match_one_to_one(costs, some_objects(3))[0]
    assert [matched.tolist().index(m) for m in range(3)] == list(best)
    assert matched.tolist().count(BACKGROUND) == 2


def test_assignment_differs_from_the_nearest_query_of_each() -> None:
    """Query 0 is the best of both objects; the total 1 + 3 is smaller than 2 + 9."""
    costs = torch.tensor([[[1.0, 2.0], [9.0, 3.0]]])
    assert match_one_to_one(costs, some_objects(2)).tolist() == [[0, 1]]
    assert match_one_to_one(torch.tensor([[[1.0, 2.0], [2.0, 9.0]]]), some_objects(2)).tolist() == [[1, 0]]


def test_more_objects_than_queries_leaves_the_dearest_unmatched() -> None:
    costs = torch.tensor([[[5.0, 1.0, 4.0], [2.0, 9.0, 4.0]]])
    assert match_one_to_one(costs, some_objects(3)).tolist() == [[1, 0]]
    losses = SetLoss(SoftmaxClasses())([some_prediction(2, 4)], some_objects(3), SIZE)
    assert all(value.isfinite() for value in losses.values())


def test_padding_ignored_objects_and_costs_that_are_not_finite() -> None:
    objects = collate([objects_of([0, 0, 9, 9], [0, 0, 8, 8], ignore=[True, False]), objects_of()])
    costs = torch.full((2, 3, 2), math.nan)
    matched = match_one_to_one(costs, objects)
    assert sorted(matched[0].tolist()) == [-1, -1, 1]
    assert matched[1].tolist() == [-1, -1, -1]


def test_costs_of_worked_boxes() -> None:
    """Two squares of side 0.2, 0.2 apart: IoU 0, GIoU -1/3, L1 0.4 -> 5 * 0.4 + 2 / 3; equal boxes: -2."""
    a = torch.tensor([[[0.3, 0.3, 0.2, 0.2]]])
    b = torch.tensor([[[0.7, 0.3, 0.2, 0.2], [0.3, 0.3, 0.2, 0.2]]])
    expected = [[[5 * 0.4 - 2 * (-0.2 / 0.6), -2.0]]]
    torch.testing.assert_close(box_costs(a, b, l1=5.0, giou_weight=2.0), torch.tensor(expected))


def test_worked_loss_of_the_paper() -> None:
    """Two queries, two classes. Query 0: p = (1/2, 1/4, 1/4), its box 0.1 off; query 1: no object with p 1/2."""
    logits = torch.tensor([[[2.0, 1.0, 1.0], [1.0, 1.0, 2.0]]]).log()
    boxes = torch.tensor([[[0.4, 0.5, 0.2, 0.2], [0.9, 0.9, 0.1, 0.1]]])
    objects = collate([objects_of([40, 40, 60, 60])])  # centre 0.5, 0.5
    losses = SetLoss(SoftmaxClasses())([SetPrediction(logits, boxes)], objects, SIZE)
    iou = 0.1 * 0.2 / (2 * 0.04 - 0.02)
    assert losses["class"].item() == pytest.approx((math.log(2) + 0.1 * math.log(2)) / 1.1)
    assert losses["l1"].item() == pytest.approx(0.1)
    assert losses["box"].item() == pytest.approx(1 - iou)  # their hull is their union
    assert losses["loss"].item() == pytest.approx(math.log(2) + 5 * 0.1 + 2 * (1 - iou))
    assert losses["auxiliary"].item() == 0


def test_class_loss_is_torchs_weighted_cross_entropy() -> None:
    prediction, objects = some_prediction(6, 4), some_objects(3)
    criterion = SetLoss(SoftmaxClasses())
    matched = criterion.match(prediction, objects, SIZE)[0]
    targets = torch.where(matched >= 0, objects.labels[0][matched.clamp(min=0)], 3)
    weight = torch.tensor([1.0, 1.0, 1.0, 0.1])
    expected = torch.nn.functional.cross_entropy(prediction.logits[0], targets, weight)
    torch.testing.assert_close(criterion.layer(prediction, objects, SIZE)["class"], expected)


@pytest.mark.parametrize("classes", [SoftmaxClasses(), SigmoidClasses()])
def test_loss_does_not_depend_on_the_order_of_queries_or_objects(classes: SoftmaxClasses | SigmoidClasses) -> None:
    prediction, objects = some_prediction(7, 4), some_objects(4)
    objects.labels = objects.labels % 3
    criterion = SetLoss(classes)
    expected = criterion([prediction], objects, SIZE)
    queries, places = torch.randperm(7), torch.randperm(4)
    turned = SetPrediction(*(one[:, queries] for one in prediction))
    mixed = ObjectBatch(objects.boxes[:, places], objects.labels[:, places], objects.ignore[:, places])
    torch.testing.assert_close(criterion([turned], mixed, SIZE), expected)


@pytest.mark.parametrize("classes", [SoftmaxClasses(), SigmoidClasses()])
def test_images_without_objects_train_the_classes_only(classes: SoftmaxClasses | SigmoidClasses) -> None:
    prediction = SetPrediction(*(one.requires_grad_() for one in some_prediction(5, 4)))
    losses = SetLoss(classes)([prediction, prediction], collate([Objects.none()]), SIZE)
    assert losses["box"] == losses["l1"] == 0
    assert losses["class"] > 0
    losses["loss"].backward()
    assert prediction.logits.grad is not None
    assert prediction.logits.grad.isfinite().all()
    if isinstance(classes, SoftmaxClasses):  # all queries have "no object"
        expected = -prediction.logits.log_softmax(-1)[..., -1].mean()
        torch.testing.assert_close(losses["class"], expected)


def test_losses_of_layers_are_added_and_each_is_matched_alone() -> None:
    layers, objects = (
        [some_prediction(5, 4), SetPrediction(*(x.flip(1) for x in some_prediction(5, 4)))],
        some_objects(2),
    )
    criterion = SetLoss(SoftmaxClasses())
    alone = criterion(layers[:1], objects, SIZE)
    both = criterion(layers, objects, SIZE)
    torch.testing.assert_close(both["loss"], 2 * alone["loss"])
    torch.testing.assert_close(both["auxiliary"], alone["loss"])


def test_queries_in_an_ignored_region_have_no_class_loss() -> None:
    prediction = SetPrediction(torch.zeros(1, 2, 3), torch.tensor([[[0.2, 0.2, 0.1, 0.1], [0.8, 0.8, 0.1, 0.1]]]))
    objects = collate([objects_of([0, 0, 50, 50], ignore=[True])])
    criterion = SetLoss(SigmoidClasses())
    assert criterion.match(prediction, objects, SIZE).tolist() == [[IGNORED, BACKGROUND]]
    whole = collate([objects_of([0, 0, 100, 100], ignore=[True])])
    assert criterion([prediction], whole, SIZE)["loss"] == 0


def test_worked_class_loss_of_probabilities() -> None:
    """Query 0 has class 1 and IoU 0.5; query 1 has none: 0.75 p^2 times its entropy. Logits 0 are p = 1/2."""
    labels, quality = torch.tensor([[1, BACKGROUND]]), torch.tensor([[0.5, 0.0]])
    loss = SigmoidClasses().loss(torch.zeros(1, 2, 2), labels, quality, torch.tensor(1))
    assert loss.item() == pytest.approx(2 * math.log(2) + 2 * 0.75 * 0.25 * math.log(2))


def test_relative_boxes() -> None:
    boxes = torch.tensor([[10.0, 20.0, 30.0, 60.0]])
    torch.testing.assert_close(relative(boxes, (100, 50)), torch.tensor([[0.4, 0.4, 0.4, 0.4]]))
