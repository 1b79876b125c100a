"""The anchor-free YOLO: its contract, its losses on known answers, and that it learns."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from danlu.detection.boxes import iou
from danlu.detection.yolo import YOLO
from danlu.models.network_table import build_backbone
from danlu.objects import ObjectBatch, Objects, collate

CLASSES = 3


def two_images(side: int) -> ObjectBatch:
    boxes = torch.tensor([[0.1, 0.1, 0.4, 0.5], [0.5, 0.45, 0.85, 0.7], [0.15, 0.6, 0.3, 0.8]]) * side
    real = torch.zeros(3, dtype=torch.bool)
    first = Objects(boxes, torch.tensor([0, 2, 1]), real)
    return collate([first, Objects(boxes[:1] + 20, torch.tensor([1]), real[:1])])


def small(size: int = 128) -> YOLO:
    torch.manual_seed(0)
    return YOLO(build_backbone("cspnet-nano", channels=3, size=size), CLASSES, size, width=32)


@pytest.mark.parametrize("size", [64, 128, 320])
def test_each_cell_predicts_a_box(size: int) -> None:
    model = small(size).eval()
    with torch.no_grad():
        outputs = model(torch.randn(1, 3, size, size))
    count = sum((size // stride) ** 2 for stride in (8, 16, 32))
    assert outputs["boxes"].shape == (1, count, 4)
    assert outputs["logits"].shape == (1, count, CLASSES)
    width = outputs["boxes"][0, : (size // 8) ** 2, 2] - outputs["boxes"][0, : (size // 8) ** 2, 0]
    torch.testing.assert_close(width, torch.full_like(width, 16 * torch.e))  # e strides to every side


def test_right_answers_cost_next_to_nothing() -> None:
    """Boxes that are the objects', at the cells in them, and logits that say so: only the rest of the cells is wrong."""
    model, objects = small().eval(), two_images(128)
    with torch.no_grad():
        outputs = model(torch.randn(2, 3, 128, 128))
    real = objects.boxes[:, :1].expand_as(outputs["boxes"])
    objects.labels[:, 1:] = -1  # one object in each image
    right = torch.full_like(outputs["logits"], -12.0)
    matched_classes = objects.labels[:, :1, None].expand(-1, right.shape[1], 1)
    right.scatter_(2, matched_classes, 12.0)
    losses = model.losses(outputs | {"boxes": real.clone(), "logits": right}, objects)
    assert losses["box"] < 1e-4
    wrong = model.losses(outputs | {"boxes": real + 30, "logits": right}, objects)
    assert wrong["box"] > 0.1


def test_no_objects_and_ignored_regions() -> None:
    model, images = small(), torch.randn(2, 3, 128, 128)
    losses = model(images, collate([Objects.none()] * 2))
    assert losses["class"] > 0
    assert losses["box"] == 0
    losses["loss"].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    region = Objects(torch.tensor([[-64.0, -64, 192, 192]]), torch.tensor([0]), torch.tensor([True]))
    assert model(images, collate([region] * 2))["loss"] == 0


@pytest.mark.parametrize("training", [True, False])
def test_half_precision_gives_float_losses(training: bool, in_half_precision: Any) -> None:
    model = small().train(training)
    losses, found = in_half_precision(model, two_images(128))
    assert all(v.dtype == torch.float32 and v.isfinite() for v in losses.values())
    assert all(d.boxes.dtype == torch.float32 and len(d) for d in found)


def test_detections_are_sorted_by_score_and_inside_the_image() -> None:
    model = small().eval()
    with torch.no_grad():
        found = model.detect(model(torch.randn(2, 3, 128, 128)), min_score=0.0, nms_iou=0.5, max_detections=20)
    for one in found:
        assert len(one) == 20
        assert (one.scores.diff() <= 0).all()
        assert one.boxes.min() >= 0
        assert one.boxes.max() <= 128


@pytest.mark.slow
def test_two_images_are_learnt(learnt: Any) -> None:
    """After 200 steps the box of one assigned cell still has an IoU of 0.57 with its object's.

    Its score, which learns this IoU, is above 0.5, and suppression at an IoU of 0.6 keeps it as a second detection.
    """
    for one, real in learnt(small(), two_images(128), 300, 0.5):
        assert sorted(one.labels.tolist()) == sorted(real.labels.tolist())
        assert (iou(one.boxes[one.labels.argsort()], real.boxes[real.labels.argsort()]) > 0.5).all()
