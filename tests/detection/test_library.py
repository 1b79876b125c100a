"""torchvision's detectors give the same results behind danlu's interface as directly."""

from __future__ import annotations

import pytest
import torch
import torchvision

from danlu.detection.detector_table import DETECTORS, build_detector
from danlu.detection.library import LIBRARY_DETECTORS, LOSSES, LibraryDetector
from danlu.objects import ObjectBatch, Objects, collate
from danlu.refuse import Refusal

CLASSES, SIDE = 3, 96
FAST = [
    "retinanet_resnet50_fpn",
    "fcos_resnet50_fpn",
    "ssdlite320_mobilenet_v3_large",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
]


def objects_of_two(masks: bool = False) -> ObjectBatch:
    """One object and one ignored region; then nothing."""
    boxes = torch.tensor([[10.0, 10, 40, 50], [50, 50, 90, 80]])
    drawn = torch.zeros(2, SIDE, SIDE, dtype=torch.uint8)
    drawn[0, 10:50, 10:40] = drawn[1, 50:80, 50:90] = 1
    first = Objects(boxes, torch.tensor([0, 2]), torch.tensor([False, True]), drawn if masks else None)
    return collate([first, Objects.none((SIDE, SIDE) if masks else None)])


def test_every_name_is_one_of_torchvision() -> None:
    assert all(callable(getattr(torchvision.models.detection, name)) for name in LIBRARY_DETECTORS)
    assert {f"torchvision/{name}" for name in LIBRARY_DETECTORS} <= DETECTORS.keys()


@pytest.mark.parametrize("name", FAST)
def test_same_losses_and_detections_as_torchvision_directly(name: str) -> None:
    torch.manual_seed(0)
    ours = LibraryDetector(name, CLASSES, SIDE).eval()
    images, objects = torch.randn(2, 3, SIDE, SIDE), objects_of_two()
    shift = int(LIBRARY_DETECTORS[name].background)
    targets = [
        {"boxes": objects.boxes[0, :1], "labels": objects.labels[0, :1] + shift},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
    ]
    with torch.no_grad():
        torch.manual_seed(1)  # regions are drawn
        losses = ours(images, objects)
        found = ours.detect(ours(images), min_score=0.0, max_detections=10)
        theirs = ours.model
        theirs.backbone = ours.trunk
        wanted = theirs(list(images))
        torch.manual_seed(1)
        theirs.train()
        theirs.backbone.eval()
        for module in theirs.head.modules() if hasattr(theirs, "head") else []:
            module.eval()
        expected = theirs(list(images), targets)
    torch.testing.assert_close(losses["loss"], torch.stack(list(expected.values())).sum())
    assert losses.keys() == {"loss", *(LOSSES[name] for name in expected)}
    for mine, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine.boxes, other["boxes"])
        assert torch.equal(mine.labels, other["labels"] - shift)


@pytest.mark.parametrize("training", [True, False])
def test_train_and_eval_mode_alike_in_half_precision(training: bool) -> None:
    model = LibraryDetector("fasterrcnn_mobilenet_v3_large_320_fpn", CLASSES, SIDE).train(training)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    before = norms[0].running_mean.clone()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(torch.randn(2, 3, SIDE, SIDE))
    seen = norms[0].running_mean.clone()
    assert torch.equal(seen, before) != training
    losses = model.losses(outputs, objects_of_two())
    found = model.detect(outputs, min_score=0.0)
    assert torch.equal(norms[0].running_mean, seen)
    assert all(m.training == training for m in model.modules())
    assert next(iter(losses)) == "loss"
    assert all(v.dtype == torch.float32 and v.isfinite() for v in losses.values())
    assert all(d.boxes.dtype == torch.float32 for d in found)
    losses["loss"].backward()


def test_without_any_objects() -> None:
    model = LibraryDetector("retinanet_resnet50_fpn", CLASSES, SIDE)
    losses = model(torch.randn(2, 3, SIDE, SIDE), collate([Objects.none()] * 2))
    losses["loss"].backward()
    assert losses["loss"].isfinite()


@pytest.mark.slow
def test_masks() -> None:
    model = LibraryDetector("maskrcnn_resnet50_fpn", CLASSES, SIDE).eval()
    with torch.no_grad():
        outputs = model(torch.randn(2, 3, SIDE, SIDE))
        losses = model.losses(outputs, objects_of_two(masks=True))
        found = model.detect(outputs, min_score=0.0, max_detections=5)
    assert losses["mask"] > 0
    assert found[0].masks is not None
    assert found[0].masks.shape == (5, SIDE, SIDE)
    assert found[0].masks.dtype == torch.uint8


def test_refusals() -> None:
    with pytest.raises(Refusal, match="retinanet_resnet50_fpn"):
        LibraryDetector("retinanet_resnet50", CLASSES, SIDE)
    with pytest.raises(Refusal, match="takes pretrained"):
        build_detector("torchvision/retinanet_resnet50_fpn", None, classes=3, size=96, norm="group")
