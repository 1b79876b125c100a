"""R-CNN: warped regions, softmax during training, support vector machines and ridge regressions after it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from danlu.data.sources.named.shapes import draw
from danlu.detection.boxes import iou_matrix
from danlu.detection.detector_table import build_detector
from danlu.detection.rcnn import RCNN
from danlu.models.network_table import build_backbone
from danlu.objects import ObjectBatch, Objects, collate

SIDE = 96
BOXES = torch.tensor([[10.0, 12, 50, 60], [60, 64, 90, 84]])


def detector(classes: int = 2, channels: int = 3, backbone: str = "cspnet-nano", **options) -> RCNN:
    torch.manual_seed(0)
    options = {"search": "colours", "hidden": 32, "crop": 32} | options
    stands_on = build_backbone(backbone, channels=channels, size=SIDE)
    return build_detector("rcnn", stands_on, classes=classes, size=SIDE, **options)  # type: ignore[return-value]


def scene() -> tuple[torch.Tensor, ObjectBatch]:
    """A red and a green rectangle; the second image is empty."""
    x = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 0.05
    for channel, (x1, y1, x2, y2) in enumerate(BOXES.int().tolist()):
        x[0, channel, y1:y2, x1:x2] += 2
    one = Objects(BOXES, torch.tensor([0, 1]), torch.zeros(2, dtype=torch.bool))
    return x, collate([one, Objects.none()])


def test_learns_by_the_softmax_alone():
    model, (images, objects) = detector().train(), scene()
    losses = model(images, objects)
    assert set(losses) == {"loss"}
    losses["loss"].backward()
    assert all(p.grad is not None for p in model.parameters()), "what is fitted later is no parameter"


def test_the_last_map_of_a_region_has_cells_enough():
    assert detector(crop=64).backbone.feature_strides[-1] == 16
    assert detector(crop=32).backbone.feature_strides[-1] == 8
    paper = detector(backbone="alexnet-2014", crop=227)
    assert paper.dense.in_features == 256 * 6 * 6


def test_regions_one_by_one_or_together(monkeypatch: pytest.MonkeyPatch):
    model, (images, _) = detector().eval(), scene()
    with torch.no_grad():
        outputs = model(images)
        whole = model.detect(outputs, 0.0, 0.3, 10)
        monkeypatch.setattr("danlu.detection.rcnn.REGION_BATCH", 3)
        parts = model.detect(outputs, 0.0, 0.3, 10)
    for a, b in zip(whole, parts):
        assert torch.allclose(a.scores, b.scores, atol=1e-5)


def images_of_shapes(count: int) -> tuple[torch.Tensor, ObjectBatch]:
    raw, annotations = draw(count, SIDE, seed=1)
    return raw.float() / 128 - 1, collate([Objects(a.boxes, a.labels, a.ignore) for a in annotations])


def test_machines_and_ridges_find_better_than_the_softmax():
    """On the images they were fitted to, after a few steps: what is found lies closer, and is surer of its class."""
    model = detector(classes=3, norm="group").train()
    images, objects = images_of_shapes(16)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    for _ in range(25):
        optimizer.zero_grad()
        model(images[:8], objects.index_select(0, torch.arange(8)))["loss"].backward()
        optimizer.step()
    before = nearest(model.eval(), images, objects)
    model.fit_closed_form(lambda: [(images[:9], objects.index_select(0, torch.arange(9)))] * 2)
    assert model.settled
    assert model.machine_weight.any(1).all()
    after = nearest(model, images, objects)
    assert after > before + 0.02


def nearest(model: RCNN, images: torch.Tensor, objects: ObjectBatch) -> float:
    """Mean over the objects of the IoU with the top-scoring detection of their class that overlaps them."""
    with torch.no_grad():
        found = model.detect(model(images), 0.0, 0.3, 100)
    overlaps = []
    for i, one in enumerate(found):
        for box, label in zip(*(getattr(objects.image(i), name) for name in ("boxes", "labels"))):
            same = one.boxes[one.labels == label]
            touching = iou_matrix(box[None], same)[0]
            overlaps.append(touching[touching > 0.2][:1].sum())
    return float(torch.stack(overlaps).mean())


def test_fitted_parts_are_saved_and_reset_by_training():
    model, (images, objects) = detector().eval(), scene()
    model.fit_closed_form(lambda: [(images, objects)])
    again = detector().eval()
    again.load_state_dict(model.state_dict())
    with torch.no_grad():
        a, b = (m.detect(m(images), 0.0, 0.3, 5)[0] for m in (model, again))
    assert torch.equal(a.boxes, b.boxes)
    assert torch.equal(a.scores, b.scores)
    model(images, objects)
    assert model.settled, "evaluation asks for losses, too"
    model.train()(images, objects)
    assert not model.settled


def test_other_classes_and_the_empty_image_are_background():
    model, (images, objects) = detector().eval(), scene()
    features, negative = model._negatives(images, objects)
    assert len(features) == len(negative)
    assert (negative.sum(0) < len(negative)).all(), "no region near an object is its background"
    own = negative[-2:]  # the objects' own boxes come last
    regions = int(model(images)["proposed"][0].sum())
    assert negative[regions + 2 :].all(), "the second image is background to all"
    assert np.array_equal(negative[regions : regions + 2], [[False, True], [True, False]]), own


def test_ignored_regions_do_not_contribute_to_the_loss():
    model, (images, _) = detector().eval(), scene()
    crowd = Objects(torch.tensor([[0.0, 0, SIDE, SIDE]]), torch.tensor([0]), torch.tensor([True]))
    features, negative = model._negatives(images, collate([crowd, Objects.none()]))
    assert len(features) == len(negative) == int(model(images)["proposed"][1].sum())


def test_grey_images_without_any_object():
    model = detector(channels=1).eval()
    empty = collate([Objects.none(), Objects.none()])
    images = scene()[0][:, :1]
    assert model(images, empty)["loss"] > 0
    model.fit_closed_form(lambda: [(images, empty)])
    assert [len(one) for one in model.detect(model(images), 0.05)] == [0, 0]
