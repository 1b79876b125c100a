"""RetinaNet against torchvision's with the same weights, and its rules in words."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models.detection import retinanet_resnet50_fpn

from danlu.detection.anchors import shapes
from danlu.detection.detector_table import build_detector
from danlu.detection.retinanet import RATIOS, RetinaNet
from danlu.models.network_table import build_backbone
from danlu.objects import ObjectBatch, Objects, collate

CLASSES = 3


def two_images(side: int) -> ObjectBatch:
    boxes = torch.tensor([[0.1, 0.1, 0.4, 0.5], [0.5, 0.45, 0.85, 0.7], [0.3, 0.6, 0.36, 0.72]]) * side
    real = torch.zeros(3, dtype=torch.bool)
    first = Objects(boxes, torch.tensor([0, 2, 1]), real)
    return collate([first, Objects(boxes[:1] + 20, torch.tensor([1]), real[:1])])


def small(size: int = 128, **options: object) -> RetinaNet:
    torch.manual_seed(0)
    backbone = build_backbone("cspnet-nano", channels=3, size=size)
    return RetinaNet(backbone, CLASSES, size, width=32, **options)  # type: ignore[arg-type]


def like_torchvision(model: RetinaNet) -> None:
    """Its anchors: about the cells' corners, of whole sizes, with corners at whole pixels."""
    model.offset = 0
    sizes = [[int(4 * stride * 2 ** (k / 3)) for k in range(3)] for stride in model.strides]
    model.level_shapes = [shapes(three, RATIOS, cross=True, whole=True) for three in sizes]


def test_parameters_of_the_published_form() -> None:
    with torch.device("meta"):
        theirs = retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=91)
    backbone = build_backbone("resnet50", channels=3, size=320)
    ours = build_detector("retinanet-resnet50", backbone, classes=91, size=320, norm="frozen")
    counts = [sum(p.numel() for p in model.parameters()) for model in (ours, theirs)]
    assert counts[0] == counts[1]


@torch.no_grad()
def test_same_losses_and_detections_as_torchvision() -> None:
    torch.manual_seed(0)
    size = 128
    theirs = retinanet_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=CLASSES, _skip_resize=True, min_size=size, max_size=size,
        image_mean=[0.0] * 3, image_std=[1.0] * 3,
    )  # fmt: skip
    for name, layer in theirs.named_modules():
        if name.endswith("bn3"):
            nn.init.constant_(layer.weight, 0.2)  # without statistics of their own, blocks would add up to huge values
        if isinstance(layer, nn.Conv2d) and name.startswith("head."):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    backbone = build_backbone("resnet50", channels=3, size=size)
    ours = build_detector("retinanet-resnet50", backbone, classes=CLASSES, size=size, norm="frozen")
    assert isinstance(ours, RetinaNet)
    state = zip(ours.state_dict(), theirs.state_dict().values(), strict=True)
    ours.load_state_dict(dict(state))
    like_torchvision(ours)

    images, objects = torch.randn(2, 3, size, size), two_images(size)
    targets = [{"boxes": o.boxes, "labels": o.labels} for o in (objects.image(0), objects.image(1))]
    theirs.train()
    theirs.backbone.eval()
    expected = theirs(list(images), targets)
    losses = ours.train()(images, objects)
    torch.testing.assert_close(losses["class"], expected["classification"], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(losses["box"], expected["bbox_regression"], rtol=1e-3, atol=1e-3)

    outputs = ours.eval()(images)
    least = float(torch.cat(outputs["logits"], 1).sigmoid().quantile(0.9))
    theirs.score_thresh, theirs.detections_per_img = least, 50
    wanted = theirs.eval()(list(images))
    found = ours.detect(outputs, min_score=least, max_detections=50)
    assert len(found[0]) > 10
    for mine, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine.scores, other["scores"], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(mine.boxes, other["boxes"], rtol=1e-3, atol=1e-2)
        assert torch.equal(mine.labels, other["labels"])


def test_levels_reach_the_size_of_the_image() -> None:
    assert small(64).strides == [8, 16, 32]  # as many as the backbone has
    assert small(128).strides == [8, 16, 32]
    assert small(320).strides == [8, 16, 32, 64]
    assert small(320, anchor=32.0, levels=5).strides == [8, 16, 32, 64, 128]


def test_first_probability_of_every_class_is_one_in_a_hundred() -> None:
    """Norms in the heads aside, all anchors begin as background, so that the first loss is small."""
    model = small().eval()
    with torch.no_grad():
        outputs = model(torch.randn(1, 3, 128, 128))
    probabilities = torch.cat(outputs["logits"], 1).sigmoid()
    assert 0.005 < float(probabilities.mean()) < 0.02


def test_no_objects_and_ignored_regions() -> None:
    model, images = small(), torch.randn(2, 3, 128, 128)
    losses = model(images, collate([Objects.none()] * 2))
    assert losses["class"] > 0
    assert losses["box"] == 0
    losses["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    region = Objects(torch.tensor([[-64.0, -64, 192, 192]]), torch.tensor([0]), torch.tensor([True]))
    assert model(images, collate([region] * 2))["loss"] == 0


def test_frozen_norms_stay_frozen_in_training() -> None:
    model = small(norm="frozen").train()
    before = model.backbone.stem[1].running_mean.clone()
    model(torch.randn(2, 3, 128, 128), two_images(128))["loss"].backward()
    assert torch.equal(model.backbone.stem[1].running_mean, before)
    assert not model.backbone.stem[1].weight.requires_grad


@pytest.mark.parametrize("training", [True, False])
def test_half_precision_gives_float_losses(training: bool, in_half_precision: Any) -> None:
    model = small().train(training)
    losses, found = in_half_precision(model, two_images(128))
    assert all(v.dtype == torch.float32 and v.isfinite() for v in losses.values())
    assert all(d.boxes.dtype == torch.float32 and len(d) == 100 for d in found)


@pytest.mark.slow
def test_two_images_are_learnt(learnt: Any) -> None:
    for one, real in learnt(small(), two_images(128), 150, 0.6):
        assert sorted(one.labels.tolist()) == sorted(real.labels.tolist())
        order, mine = real.labels.argsort(), one.labels.argsort()
        torch.testing.assert_close(one.boxes[mine], real.boxes[order], rtol=0, atol=4)
