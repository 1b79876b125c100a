"""The generated shapes dataset: exact boxes and masks, correct poses, reproducible by seed."""

import math

import numpy as np
import pytest
import torch

from danlu.config import DataConfig
from danlu.data.canvas import Placement, letterbox
from danlu.data.formats import open_dataset
from danlu.data.known_sets import KNOWN
from danlu.data.sources.named import shapes
from danlu.refuse import Refusal

SIDE = 96


@pytest.fixture(scope="module")
def drawn():
    return shapes.draw(60, SIDE, seed=3)


def test_equal_seeds_give_equal_images(drawn):
    again, annotations = shapes.draw(60, SIDE, seed=3)
    assert torch.equal(again, drawn[0])
    assert all(torch.equal(a.boxes, b.boxes) for a, b in zip(annotations, drawn[1]))
    assert not torch.equal(shapes.draw(2, SIDE, seed=4)[0], drawn[0][:2])


def test_the_box_is_that_of_the_mask(drawn):
    plain = Placement((SIDE, SIDE), (SIDE, SIDE), (1.0, 1.0))
    for one in drawn[1]:
        masks = one.masks(plain)
        assert (masks.sum(0) <= 1).all()  # what is seen belongs to one shape
        assert 1 <= len(one) <= shapes.MAX_SHAPES
        for mask, box in zip(masks, one.boxes):
            rows, columns = mask.nonzero().unbind(1)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_masks_on_a_larger_canvas_fill_the_moved_boxes(drawn):
    there = letterbox((SIDE, SIDE), 3 * SIDE)
    for one in drawn[1][:10]:
        found = one.objects(there)
        for mask, box in zip(found.masks, found.boxes):
            rows, columns = mask.nonzero().unbind(1)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_poses_give_centre_and_angle(drawn):
    """The mean of a whole shape's pixels is its centre, and the farthest ones point to its corners."""
    plain = Placement((SIDE, SIDE), (SIDE, SIDE), (1.0, 1.0))
    checked = 0
    for one in drawn[1]:
        if len(one) > 1:
            continue
        (x, y, angle), label = one.poses[0].tolist(), int(one.labels[0])
        left, top, right, bottom = one.boxes[0].tolist()
        if min(left, top) == 0 or max(right, bottom) == SIDE:
            continue
        rows, columns = np.nonzero(one.masks(plain)[0].numpy())
        assert abs(columns.mean() + 0.5 - x) < 0.5
        assert abs(rows.mean() + 0.5 - y) < 0.5
        checked += 1
        if shapes.SYMMETRY[label]:
            far = np.argmax(np.hypot(columns + 0.5 - x, rows + 0.5 - y))
            corner = math.atan2(rows[far] + 0.5 - y, columns[far] + 0.5 - x)
            off = (corner - angle - shapes.SYMMETRY[label] / 2) % shapes.SYMMETRY[label]
            assert min(off, shapes.SYMMETRY[label] - off) < 0.25
    assert checked >= 3


def test_all_classes_occur_and_some_overlap(drawn):
    labels = torch.cat([one.labels for one in drawn[1]])
    assert (labels.bincount(minlength=3) > 0.2 * len(labels)).all()
    overlapping = 0
    for one in drawn[1]:
        x1, y1, x2, y2 = one.boxes.T
        wide = torch.minimum(x2[:, None], x2) - torch.maximum(x1[:, None], x1)
        high = torch.minimum(y2[:, None], y2) - torch.maximum(y1[:, None], y1)
        overlapping += int(((wide > 0) & (high > 0)).sum() > len(one))
    assert overlapping > 5


def test_by_name():
    assert "shapes" in KNOWN
    data = open_dataset(DataConfig(path="shapes"))
    assert (data.task, data.classes, data.kind, len(data)) == ("detect", shapes.CLASSES, "images", 600)
    assert data.inputs.shape == (600, 3, 128, 128)
    assert data.targets[0].shapes is None
    assert data.targets[0].poses.shape == (len(data.targets[0]), 3)
    assert open_dataset(DataConfig(path="shapes"), "segment").targets[0].shapes is not None
    with pytest.raises(Refusal, match="task detect, not classify"):
        open_dataset(DataConfig(path="shapes"), "classify")
