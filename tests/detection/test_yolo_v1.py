"""YOLO v1's loss against the paper's formula in plain loops, and the limits of its grid."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from danlu.detection.boxes import iou
from danlu.detection.matching import BACKGROUND
from danlu.detection.yolo_v1 import YOLOv1
from danlu.models.network_table import build_backbone
from danlu.objects import ObjectBatch, Objects, collate

CLASSES = 3


def two_images(side: int) -> ObjectBatch:
    boxes = torch.tensor([[0.1, 0.1, 0.4, 0.5], [0.5, 0.45, 0.85, 0.7], [0.3, 0.6, 0.36, 0.72]]) * side
    real = torch.zeros(3, dtype=torch.bool)
    first = Objects(boxes, torch.tensor([0, 2, 1]), real)
    return collate([first, Objects(boxes[:1] + 20, torch.tensor([1]), real[:1])])


def small(size: int = 128) -> YOLOv1:
    torch.manual_seed(0)
    return YOLOv1(build_backbone("cspnet-nano", channels=3, size=size), CLASSES, size, width=32)


@torch.no_grad()
def test_loss_is_that_of_the_paper() -> None:
    """Equation 3, cell by cell and box by box."""
    model, objects, side = small().eval(), two_images(128), 128
    outputs = model(torch.randn(2, 3, side, side))
    expected = {"class": 0.0, "box": 0.0, "objectness": 0.0}
    columns, stride = outputs["cells"][1], model.stride
    for n in range(2):
        owner = {}
        real = objects.image(n)
        for box, label in zip(real.boxes.tolist(), real.labels.tolist()):
            x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
            owner[int(y // stride) * columns + int(x // stride)] = (box, label, x, y)
        for a in range(columns**2):
            confidence, boxes = outputs["confidence"][n, a], outputs["boxes"][n, a]
            if a not in owner:
                expected["objectness"] += 0.5 * sum(c**2 for c in confidence.tolist())
                continue
            box, label, x, y = owner[a]
            overlaps = [float(iou(b, torch.tensor(box))) for b in boxes]
            assert max(overlaps) > 0  # else the paper says nothing of which box answers
            best = overlaps.index(max(overlaps))
            px, py = ((boxes[best, :2] + boxes[best, 2:]) / 2).tolist()
            pw, ph = (boxes[best, 2:] - boxes[best, :2]).tolist()
            w, h = box[2] - box[0], box[3] - box[1]
            expected["box"] += 5 * (((px - x) / stride) ** 2 + ((py - y) / stride) ** 2)
            expected["box"] += 5 * sum(((p / side) ** 0.5 - (t / side) ** 0.5) ** 2 for p, t in ((pw, w), (ph, h)))
            expected["objectness"] += (float(confidence[best]) - overlaps[best]) ** 2
            expected["objectness"] += 0.5 * float(confidence[1 - best]) ** 2
            expected["class"] += sum((float(outputs["classes"][n, a, k]) - (k == label)) ** 2 for k in range(CLASSES))
    losses = model.losses(outputs, objects)
    for name, value in expected.items():
        assert float(losses[name]) == pytest.approx(value / 2, rel=1e-4)
    assert float(losses["loss"]) == pytest.approx(sum(expected.values()) / 2, rel=1e-4)


def test_one_of_two_objects_in_a_cell_is_lost() -> None:
    model = small()
    boxes = torch.tensor([[10.0, 10, 30, 30], [12, 12, 28, 28], [100, 100, 127, 127]])
    objects = collate([Objects(boxes, torch.tensor([0, 1, 2]), torch.zeros(3, dtype=torch.bool))])
    matched = model._match(objects, (8, 8))
    assert sorted(matched[matched >= 0].tolist()) == [0, 2]
    assert matched[0, 1 * 8 + 1] == 0
    assert (matched == BACKGROUND).sum() == 62


@pytest.mark.parametrize(("size", "stride"), [(96, 8), (128, 16), (224, 32), (320, 32)])
def test_grid_has_seven_cells_or_more(size: int, stride: int) -> None:
    model = small(size).eval()
    with torch.no_grad():
        outputs = model(torch.randn(1, 3, size, size))
    assert model.stride == stride
    assert outputs["cells"] == (size // stride, size // stride)
    assert outputs["boxes"].shape == (1, (size // stride) ** 2, 2, 4)


def test_no_objects_and_ignored_regions() -> None:
    model, images = small(), torch.randn(2, 3, 128, 128)
    losses = model(images, collate([Objects.none()] * 2))
    assert losses["objectness"] > 0
    assert losses["box"] == losses["class"] == 0
    losses["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    region = Objects(torch.tensor([[0.0, 0, 128, 128]]), torch.tensor([0]), torch.tensor([True]))
    assert model(images, collate([region] * 2))["loss"] == 0


@pytest.mark.parametrize("training", [True, False])
def test_half_precision_gives_float_losses(training: bool, in_half_precision: Any) -> None:
    model = small().train(training)
    losses, found = in_half_precision(model, two_images(128))
    assert all(v.dtype == torch.float32 and v.isfinite() for v in losses.values())
    assert all(d.boxes.dtype == torch.float32 and len(d) for d in found)


@pytest.mark.slow
def test_two_images_are_learnt(learnt: Any) -> None:
    for one, real in learnt(small(), two_images(128), 100, 0.4):
        assert sorted(one.labels.tolist()) == sorted(real.labels.tolist())
        order, mine = real.labels.argsort(), one.labels.argsort()
        torch.testing.assert_close(one.boxes[mine], real.boxes[order], rtol=0, atol=4)
