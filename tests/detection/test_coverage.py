"""Anchors of all detectors, and their IoU with given boxes."""

import pytest
import torch
from torchvision.ops import box_iou

from danlu.detection.coverage import anchors_of, best_overlap
from danlu.preparation.networks import network
from danlu.run.signature import Signature


def made(name: str):
    plain = {"channels": 3, "size": 64, "canvas": 64, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    return network(Signature(task="detect", model=name, classes=("a", "b"), fit="letterbox", **plain))


@pytest.mark.parametrize("name", ["ssd", "retinanet", "faster-rcnn"])
def test_anchors_are_those_of_the_network(name):
    model = made(name).train()
    anchors = anchors_of(model, 3, 64)
    assert model.training
    assert anchors.shape[1] == 4
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    assert len(anchors) > 50
    assert centres.min() >= -64
    assert centres.max() <= 128
    assert ((anchors[:, 2:] - anchors[:, :2]) > 0).all()


def test_a_detector_without_anchors_has_none():
    assert anchors_of(made("yolo-nano"), 3, 64) is None


def test_best_overlap_is_the_largest_of_all():
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(2, 300, 2, generator=generator) * 80
    boxes, anchors = (torch.cat([c, c + 5 + 30 * torch.rand(300, 2, generator=generator)], 1) for c in corners)
    assert torch.allclose(best_overlap(boxes, anchors), box_iou(boxes, anchors).amax(1), atol=1e-6)
    assert best_overlap(torch.zeros(0, 4), anchors).shape == (0,)
