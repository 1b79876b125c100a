"""Matching against torchvision, worked cases and plain loops that follow the rules' words."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision import ops
from torchvision.models.detection._utils import Matcher

from danlu.detection import matching
from danlu.detection.anchors import cells, level_anchors, shapes
from danlu.detection.matching import (
    BACKGROUND,
    IGNORED,
    match_by_threshold,
    match_greedily,
    match_overlaps,
    match_overlaps_greedily,
    match_simota,
    matched_boxes,
    matched_labels,
)
from danlu.objects import ObjectBatch, Objects, collate

T = torch.tensor
ANCHORS = level_anchors((8, 8), 16, shapes([24, 50], [1, 2, 0.5], cross=True), offset=0.5)


def random_objects(counts: list[int], seed: int, ignored: float = 0.0, classes: int = 4) -> ObjectBatch:
    generator = torch.Generator().manual_seed(seed)
    images = []
    for n in counts:
        first, size = torch.rand(n, 2, generator=generator) * 100, torch.rand(n, 2, generator=generator) * 60 + 2
        labels = torch.randint(classes, (n,), generator=generator)
        images.append(
            Objects(torch.cat([first, first + size], 1), labels, torch.rand(n, generator=generator) < ignored)
        )
    return collate(images)


def one(boxes: list, ignore: list[bool] | None = None) -> ObjectBatch:
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return collate([Objects(boxes, torch.arange(len(boxes)), T(ignore or [False] * len(boxes), dtype=torch.bool))])


@pytest.mark.parametrize(
    ("overlaps", "best_per_object", "expected"),
    [
        ([[0.9, 0.6, 0.2, 0.0], [0.1, 0.65, 0.69, 0.25]], False, [0, IGNORED, IGNORED, BACKGROUND]),
        ([[0.6, 0.1], [0.5, 0.2]], True, [0, BACKGROUND]),  # both like anchor 0 best; it keeps its own best object
        ([[0.8, 0.4, 0.0], [0.0, 0.0, 0.0]], True, [0, IGNORED, BACKGROUND]),  # torchvision forces all: [0, 0, 0]
        ([[0.0, 0.0]], True, [BACKGROUND] * 2),
    ],
)
def test_worked_thresholds(overlaps, best_per_object: bool, expected: list[int]):
    matched = match_overlaps(T(overlaps)[None], high=0.7, low=0.3, best_per_object=best_per_object)
    assert matched.tolist() == [expected]


def test_worked_greedy():
    # Torchvision's Matcher leaves object 1 without an anchor, its SSD takes anchor 0 from object 0.
    assert match_overlaps_greedily(T([[[0.6, 0.1], [0.5, 0.2]]]), threshold=0.5).tolist() == [[0, 1]]
    boxes = [[0.1, 0.08, 0.52, 0.92], [0.55, 0.2, 0.9, 0.88]]
    anchors = [
        [0, 0.1, 0.2, 0.3],
        [0.15, 0.2, 0.4, 0.4],
        [0.63, 0.05, 0.88, 0.98],
        [0.66, 0.45, 0.8, 0.8],
        [0.57, 0.3, 0.92, 0.9],
    ]
    objects = one(boxes)
    matched = match_greedily(objects, T(anchors), threshold=0.5)
    assert (matched_labels(objects, matched) + 1).tolist() == [[0, 1, 2, 0, 2]]  # Dive into Deep Learning 14.4
    assert matched_boxes(objects, matched)[0, 1].tolist() == pytest.approx(boxes[0])


@pytest.mark.parametrize("block", [1, 2**12, 2**25])
@pytest.mark.parametrize("best", [False, True])
def test_thresholds_as_torchvision(best: bool, block: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(matching.BLOCK, "cpu", block)
    objects = random_objects([3, 0, 7, 1, 12], seed=1)
    ours = match_by_threshold(objects, ANCHORS, high=0.6, low=0.3, best_per_object=best)
    per_image = match_by_threshold(objects, ANCHORS.expand(5, -1, -1), high=0.6, low=0.3, best_per_object=best)
    assert torch.equal(ours, per_image)
    theirs = Matcher(0.6, 0.3, allow_low_quality_matches=best)
    for i in range(5):
        boxes = objects.image(i).boxes
        expected = theirs(ops.box_iou(boxes, ANCHORS)) if len(boxes) else torch.full((len(ANCHORS),), -1)
        assert torch.equal(ours[i], expected)
    assert (ours >= 0).any()
    assert (ours == IGNORED).any()


def test_anchors_of_their_own_per_image():
    objects = random_objects([2, 5, 3], seed=2)
    anchors = torch.stack([ANCHORS + shift for shift in (0, 3, 11)])
    together = match_by_threshold(objects, anchors, high=0.5, low=0.5, best_per_object=True)
    for i in range(3):
        alone = match_by_threshold(collate([objects.image(i)]), anchors[i], high=0.5, low=0.5, best_per_object=True)
        assert torch.equal(together[i], alone[0])


def greedy_in_words(overlaps: torch.Tensor, threshold: float) -> list[int]:
    matched = [int(c.argmax()) if c.max() >= threshold else BACKGROUND for c in overlaps.T]
    left = overlaps.clone()
    for _ in range(len(overlaps)):
        if left.max() <= 0:
            break
        m, a = divmod(int(left.argmax()), left.shape[1])
        matched[a] = m
        left[m], left[:, a] = -1, -1
    return matched


@pytest.mark.parametrize("seed", range(20))
def test_greedy_as_in_words(seed: int):
    generator = torch.Generator().manual_seed(seed)
    overlaps = torch.rand(3, 6, 9, generator=generator) * (torch.rand(3, 6, 9, generator=generator) < 0.6)
    overlaps[1] = (overlaps[1] * 4).round() / 4  # many ties
    overlaps[2, :, :6] = 0  # more objects than anchors
    overlaps[2, 4:] = 0
    matched = match_overlaps_greedily(overlaps, threshold=0.7)
    assert matched.tolist() == [greedy_in_words(o, 0.7) for o in overlaps]


def test_every_touched_object_has_an_anchor():
    objects = random_objects([9, 4], seed=3)
    matched = match_greedily(objects, ANCHORS, threshold=0.5)
    for i in range(2):
        assert set(matched[i].tolist()) >= set(range(len(objects.image(i))))


MATCHERS = {
    "threshold": lambda o: match_by_threshold(o, ANCHORS, high=0.5, low=0.4, best_per_object=True),
    "greedy": lambda o: match_greedily(o, ANCHORS, threshold=0.5),
    "simota": lambda o: simota(o)[0],
}
MAPS, STRIDES = [(16, 16), (8, 8), (4, 4)], [8.0, 16.0, 32.0]
SETTINGS = {"map_sizes": MAPS, "strides": STRIDES, "radius": 1.5, "top": 10, "iou_weight": 3.0}


def predictions(images: int, seed: int = 0, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    squares = torch.cat(cells(MAPS, STRIDES, offset=0.5)).expand(images, -1, -1)
    grown = torch.rand(squares.shape, generator=generator) * 25 * T([-1.0, -1, 1, 1])
    logits = torch.randn(*squares.shape[:2], classes, generator=generator)
    return squares + grown, logits, torch.randn(squares.shape[:2], generator=generator)


def simota(objects: ObjectBatch, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    boxes, logits, objectness = predictions(1, seed)
    shape = len(objects), -1, -1
    return match_simota(objects, boxes.expand(shape), logits.expand(shape), objectness.expand(shape[:2]), **SETTINGS)


@pytest.mark.parametrize("name", MATCHERS)
def test_padding_and_company_never_matter(name: str):
    objects = random_objects([4, 0, 11, 1], seed=5, ignored=0.2)
    together = MATCHERS[name](objects)
    for i in range(4):
        assert torch.equal(MATCHERS[name](collate([objects.image(i)]))[0], together[i])
    more = collate(
        [objects.image(0), Objects(torch.rand(30, 4).cumsum(1) * 30, torch.zeros(30).long(), torch.zeros(30).bool())]
    )
    assert torch.equal(MATCHERS[name](more)[0], together[0])


@pytest.mark.parametrize("name", MATCHERS)
def test_no_objects_and_boxes_without_area(name: str):
    assert MATCHERS[name](collate([Objects.none()] * 2)).eq(BACKGROUND).all()
    if name != "simota":  # there a cell near the centre serves, whatever it overlaps
        assert MATCHERS[name](one([[50, 50, 50, 50], [900, 900, 950, 950]])).eq(BACKGROUND).all()
    else:
        assert MATCHERS[name](one([[900, 900, 950, 950]])).eq(BACKGROUND).all()


@pytest.mark.parametrize("name", MATCHERS)
def test_ignored_regions_are_neither(name: str):
    region, thing = [0.0, 0, 70, 70], [10.0, 10, 34, 34]
    alone = MATCHERS[name](one([region], ignore=[True]))
    assert not (alone >= 0).any()
    squares = torch.cat(cells(MAPS, STRIDES, offset=0.5)) if name == "simota" else ANCHORS
    covered = ops.box_area(ops.clip_boxes_to_image(squares, (70, 70))) / ops.box_area(squares) > 0.5
    assert torch.equal(alone[0] == IGNORED, covered)
    both = MATCHERS[name](one([thing, region], ignore=[False, True]))
    without = MATCHERS[name](one([thing]))
    assert torch.equal(both >= 0, without >= 0)  # an object inside the region is still found
    assert (both >= 0).any()


def simota_in_words(objects: Objects, boxes, logits, objectness) -> tuple[list[int], list[float]]:
    points, strides = [], []
    for (rows, columns), stride in zip(MAPS, STRIDES, strict=True):
        for r in range(rows):
            for c in range(columns):
                points.append(((c + 0.5) * stride, (r + 0.5) * stride))
                strides.append(stride)
    wanted: dict[int, list[tuple[float, int, float]]] = {}
    for m, (box, label) in enumerate(zip(objects.boxes, objects.labels, strict=True)):
        if objects.ignore[m]:
            continue
        x, y = float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2
        near = [a for a, (px, py) in enumerate(points) if max(abs(px - x), abs(py - y)) < 1.5 * strides[a]]
        options = []
        for a in near:
            overlap = ops.box_iou(box[None], boxes[a][None]).item()
            probabilities = (logits[a].sigmoid() * objectness[a].sigmoid()).sqrt()
            hot = torch.nn.functional.one_hot(label, len(probabilities)).float()
            bce = torch.nn.functional.binary_cross_entropy(probabilities, hot, reduction="sum").item()
            options.append((bce - 3 * math.log(overlap + 1e-8), a, overlap))
        count = max(1, int(sum(sorted((o for *_, o in options), reverse=True)[:10])))
        for cost, a, overlap in sorted(options)[:count]:
            wanted.setdefault(a, []).append((cost, m, overlap))
    matched, quality = [BACKGROUND] * len(points), [0.0] * len(points)
    for a, claims in wanted.items():
        _, matched[a], quality[a] = min(claims)
    return matched, quality


@pytest.mark.parametrize("seed", range(3))
def test_simota_as_in_words(seed: int):
    objects = random_objects([6, 0, 3, 14], seed=seed)
    boxes, logits, objectness = predictions(4, seed)
    matched, quality = match_simota(objects, boxes, logits, objectness, **SETTINGS)
    for i in range(4):
        expected, reached = simota_in_words(objects.image(i), boxes[i], logits[i], objectness[i])
        assert matched[i].tolist() == expected
        torch.testing.assert_close(quality[i], T(reached))
    assert (matched >= 0).sum() > len(objects)


def test_simota_gives_one_cell_to_one_of_two_equal_objects():
    objects = one([[40.0, 40, 72, 72], [40, 40, 72, 72]])
    objects.labels[:] = 1
    matched, _ = simota(objects)
    assert set(matched.flatten().tolist()) == {BACKGROUND, 0}
    boxes, logits, _ = predictions(1)
    assert (match_simota(objects, boxes, logits, None, **SETTINGS)[0] == 0).any()


def test_simota_takes_more_cells_where_they_fit_better():
    objects = one([[40.0, 40, 72, 72]])
    boxes, logits, objectness = predictions(1)
    perfect = objects.boxes[:, :1].expand_as(boxes)
    matched, quality = match_simota(objects, perfect, logits, objectness, **SETTINGS)
    assert (matched == 0).sum() == 10
    assert quality[matched == 0].eq(1).all()
    bad, none = match_simota(objects, boxes - 500, logits, objectness, **SETTINGS)
    assert (bad == 0).sum() == 1
    assert none.eq(0).all()


def test_labels_and_boxes_follow_the_match():
    objects = random_objects([3, 2], seed=0)
    matched = T([[2, BACKGROUND, 0, IGNORED], [1, 1, BACKGROUND, 0]])
    labels = matched_labels(objects, matched)
    assert labels[0].tolist() == [objects.labels[0, 2], BACKGROUND, objects.labels[0, 0], IGNORED]
    assert torch.equal(matched_boxes(objects, matched)[1, 1], objects.boxes[1, 1])
