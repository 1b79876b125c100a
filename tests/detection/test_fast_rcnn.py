"""Region proposals from pixels, and Fast R-CNN."""

from __future__ import annotations

import copy
import importlib.util

import numpy as np
import pytest
import torch

from danlu.detection.boxes import iou_matrix
from danlu.detection.detector_table import build_detector
from danlu.detection.proposals import Proposer, colour_areas
from danlu.models.network_table import build_backbone
from danlu.objects import Objects, collate
from danlu.refuse import Refusal

SIDE = 128
BOXES = torch.tensor([[10.0, 12, 50, 60], [64, 70, 100, 90]])
needs_opencv = pytest.mark.skipif(not importlib.util.find_spec("cv2"), reason="needs opencv-contrib")


def images() -> torch.Tensor:
    """Two rectangles of a colour on a ground of another, with some noise; the second image is the ground alone."""
    x = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 0.05
    for channel, (x1, y1, x2, y2) in enumerate(BOXES.int().tolist()):
        x[0, channel, y1:y2, x1:x2] += 2
    return x


def detector(**options):
    torch.manual_seed(0)
    backbone = build_backbone("resnet18", channels=3, size=SIDE)
    return build_detector("fast-rcnn", backbone, classes=2, size=SIDE, **options)


@pytest.mark.parametrize("search", ["colours", pytest.param("selective", marks=needs_opencv)])
def test_the_search_finds_plain_objects(search: str):
    boxes = Proposer(search, 300)(images())
    real = boxes[..., 2] > 0
    assert boxes.shape == (2, 300, 4)
    assert iou_matrix(BOXES, boxes[0][real[0]]).amax(1).min() > 0.8
    assert (boxes[1][real[1]] == torch.tensor([0, 0, SIDE, SIDE])).all(1).any()
    assert (boxes[~real] == 0).all()


@needs_opencv
def test_regions_do_not_depend_on_what_was_searched_before():
    first = Proposer("selective", 20)(images())
    again = Proposer("selective", 20)(images())
    assert torch.equal(first, again)


def test_regions_of_a_image_are_searched_once():
    proposer = Proposer("colours", 50)
    calls = []

    def search(image: np.ndarray) -> np.ndarray:
        calls.append(image)
        return colour_areas(image)

    proposer.search = search
    proposer(images())
    copy.deepcopy(proposer)(images()[:1])
    assert len(calls) == 2


def test_unknown_search():
    with pytest.raises(Refusal, match="colours"):
        Proposer("guess", 1)


def test_learns_and_finds():
    model = detector(search="colours").train()
    batch = collate([Objects(BOXES, torch.tensor([0, 1]), torch.zeros(2, dtype=torch.bool)), Objects.none()])
    losses = model(images(), batch)
    losses["loss"].backward()
    assert set(losses) == {"loss", "class", "box"}
    assert all(p.grad is not None for p in model.parameters())
    model.eval()
    with torch.no_grad():
        found = model.detect(model(images()), 0.0, 0.5, 5)
    assert len(found[0]) == 5


def test_grey_images_and_no_objects():
    backbone = build_backbone("resnet18", channels=1, size=SIDE)
    model = build_detector("fast-rcnn", backbone, classes=2, size=SIDE, search="colours")
    losses = model(images()[:, :1], collate([Objects.none(), Objects.none()]))
    assert losses["box"] == 0
    assert losses["class"] > 0


def test_regions_that_come_with_the_objects_are_not_searched():
    model = detector(search="colours").train()
    model.search = None
    regions = torch.cat([BOXES, torch.tensor([[0.0, 0, SIDE, SIDE], [0, 0, 0, 0]])]).repeat(2, 1, 1)
    batch = collate([Objects(BOXES, torch.tensor([0, 1]), torch.zeros(2, dtype=torch.bool)), Objects.none()])
    batch.regions = regions
    assert model(images(), batch)["loss"].isfinite()
    outputs = model.outputs(images(), regions)
    assert outputs["proposed"].tolist() == [[True, True, True, False]] * 2


def test_number_of_regions_is_padded_without_changing_losses(monkeypatch: pytest.MonkeyPatch):
    model = detector(search="colours").eval()
    batch = collate([Objects(BOXES, torch.tensor([0, 1]), torch.zeros(2, dtype=torch.bool)), Objects.none()])
    counts, judge = [], model.classify_regions

    def counted(maps, boxes, image):
        counts.append(len(boxes))
        return judge(maps, boxes, image)

    monkeypatch.setattr(model, "classify_regions", counted)
    model.regions = 25
    losses = model(images(), batch)
    monkeypatch.setattr("danlu.detection.region_detector.REGION_MULTIPLE", 1)
    plain = model(images(), batch)
    assert counts[0] % 64 == 0
    assert counts[1] < counts[0], "filled up with regions that are there already"
    for name, value in plain.items():
        torch.testing.assert_close(losses[name], value)
