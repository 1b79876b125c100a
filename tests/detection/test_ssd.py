"""SSD against torchvision's SSD300 with the same weights, and its rules in words."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models.detection import ssd300_vgg16

from danlu.detection.ssd import SSD, ssd, ssd300
from danlu.models.network_table import build_backbone
from danlu.objects import ObjectBatch, Objects, collate
from danlu.refuse import Refusal

CLASSES = 3


def two_images(side: int) -> ObjectBatch:
    boxes = torch.tensor([[0.1, 0.1, 0.4, 0.5], [0.5, 0.45, 0.85, 0.7], [0.3, 0.6, 0.36, 0.72]]) * side
    real = torch.zeros(3, dtype=torch.bool)
    first = Objects(boxes, torch.tensor([0, 2, 1]), real)
    return collate([first, Objects(boxes[:1] + 20, torch.tensor([1]), real[:1])])


def small(size: int = 128) -> SSD:
    torch.manual_seed(0)
    return ssd(build_backbone("cspnet-nano", channels=3, size=size), CLASSES, size, width=32)


@pytest.fixture(scope="module")
def pair() -> tuple[SSD, nn.Module]:
    """Ours and torchvision's with the same weights; there background is the first class, here the last."""
    torch.manual_seed(0)
    theirs = ssd300_vgg16(
        weights=None, weights_backbone=None, num_classes=CLASSES + 1, image_mean=[0.0] * 3, image_std=[1.0] * 3
    )
    for head in theirs.head.modules():
        if isinstance(head, nn.Conv2d):
            nn.init.normal_(head.weight, std=0.02)  # logits of some spread
            nn.init.normal_(head.bias)
    ours = ssd300(build_backbone("vgg16", channels=3, size=300), CLASSES, 300)
    convs = [[m for m in trunk.modules() if isinstance(m, nn.Conv2d)] for trunk in (ours.trunk, theirs.backbone)]
    for mine, other in zip(*convs, strict=True):
        mine.load_state_dict(other.state_dict())
    ours.trunk.scale.data = theirs.backbone.scale_weight.data[:, None, None]
    for mine, other in zip(ours.codes, theirs.head.regression_head.module_list, strict=True):
        mine.load_state_dict(other.state_dict())
    for mine, other in zip(ours.logits, theirs.head.classification_head.module_list, strict=True):
        rolled = {k: v.unflatten(0, (-1, CLASSES + 1)).roll(-1, 1).flatten(0, 1) for k, v in other.state_dict().items()}
        mine.load_state_dict(rolled)
    return ours, theirs


def test_boxes_and_parameters_of_the_paper() -> None:
    vgg = build_backbone("vgg16", channels=3, size=300)
    model = ssd300(vgg, 20, 300)
    assert sum(p.numel() for p in model.parameters()) == 26_285_486
    with torch.no_grad():
        outputs = model.outputs(torch.zeros(1, 3, 300, 300))
    assert outputs["anchors"].shape == (8732, 4)
    assert outputs["logits"].shape == (1, 8732, 21)


@torch.no_grad()
def test_same_losses_and_detections_as_torchvision(pair: tuple[SSD, nn.Module]) -> None:
    ours, theirs = pair
    images, objects = torch.rand(2, 3, 300, 300) - 0.5, two_images(300)
    targets = [{"boxes": o.boxes, "labels": o.labels + 1} for o in (objects.image(0), objects.image(1))]
    expected = theirs.train()(list(images), targets)
    losses = ours.eval()(images, objects)
    torch.testing.assert_close(losses["box"], expected["bbox_regression"], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(losses["class"], expected["classification"], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(losses["loss"], losses["class"] + losses["box"])

    theirs.score_thresh, theirs.nms_thresh, theirs.detections_per_img = 0.4, 0.45, 50
    wanted = theirs.eval()(list(images))
    found = ours.detect(ours(images), min_score=0.4, nms_iou=0.45, max_detections=50)
    assert len(found[0]) > 10
    for mine, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine.scores, other["scores"], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(mine.boxes, other["boxes"], rtol=1e-3, atol=1e-2)
        assert torch.equal(mine.labels, other["labels"] - 1)


def test_image_without_objects_contributes_unlike_torchvision() -> None:
    model = small()
    losses = model(torch.randn(2, 3, 128, 128), collate([Objects.none()] * 2))
    assert losses["class"] > 0
    assert losses["box"] == 0
    losses["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("said", [0, 1])
def test_unlike_torchvision_two_objects_of_one_best_box_both_have_one(said: int) -> None:
    """Two small objects in one place, which all boxes overlap too little: there the second takes the first one's box.

    All boxes say one class, as surely as 40 nats: one of two positives is wrong, and so are their six negatives.
    """
    model = small()
    same = torch.tensor([[30.0, 30, 38, 38], [30, 30, 38, 38]])
    objects = collate([Objects(same, torch.tensor([0, 1]), torch.zeros(2, dtype=torch.bool))])
    outputs = model.eval()(torch.randn(1, 3, 128, 128))
    logits = torch.full_like(outputs["logits"], -20.0)
    logits[..., said] = 20
    codes = model.coder.encode(same[:1], outputs["anchors"])[None]
    losses = model.losses(outputs | {"logits": logits, "codes": codes}, objects)
    torch.testing.assert_close(losses["class"], torch.tensor((1 + 6) * 40 / 2))
    torch.testing.assert_close(losses["box"], torch.tensor(0.0), rtol=0, atol=1e-6)


def test_ignored_regions_are_no_background() -> None:
    model = small()
    region = Objects(torch.tensor([[-128.0, -128, 256, 256]]), torch.tensor([0]), torch.tensor([True]))
    assert model(torch.randn(1, 3, 128, 128), collate([region]))["loss"] == 0


@pytest.mark.parametrize("training", [True, False])
def test_half_precision_gives_float_losses(training: bool, in_half_precision: Any) -> None:
    model = small().train(training)
    losses, found = in_half_precision(model, two_images(128))
    assert all(v.dtype == torch.float32 and v.isfinite() for v in losses.values())
    assert all(d.boxes.dtype == torch.float32 and len(d) == 100 for d in found)


@pytest.mark.parametrize("size", [64, 128, 160, 320])
def test_small_form_at_other_sizes(size: int) -> None:
    outputs = small(size).eval()(torch.randn(1, 3, size, size))
    assert outputs["logits"].shape[1] == len(outputs["anchors"]) == outputs["codes"].shape[1]
    largest = (outputs["anchors"][:, 2:] - outputs["anchors"][:, :2]).amax()
    assert size / 2 <= largest <= size


def test_refusals() -> None:
    with pytest.raises(Refusal, match="at least 260"):
        ssd300(build_backbone("vgg16", channels=3, size=128), 3, 128)
    with pytest.raises(Refusal, match="vgg16"):
        ssd300(build_backbone("resnet18", channels=3, size=300), 3, 300)


@pytest.mark.slow
def test_two_images_are_learnt(learnt: Any) -> None:
    for one, real in learnt(small(), two_images(128), 60, 0.5):
        assert sorted(one.labels.tolist()) == sorted(real.labels.tolist())
        order, mine = real.labels.argsort(), one.labels.argsort()
        torch.testing.assert_close(one.boxes[mine], real.boxes[order], rtol=0, atol=4)
