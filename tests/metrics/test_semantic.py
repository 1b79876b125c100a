"""Metrics of semantic segmentation against worked numbers."""

from __future__ import annotations

import numpy as np
import pytest

from danlu.metrics.semantic import boundary_counts, class_rows, confusion_of, iou_per_class, semantic_metrics

TRUTH = np.array([[0, 0, 1, 1], [0, 2, 2, 1], [255, 2, 2, 1], [0, 0, 0, 255]], np.uint8)
PREDICTED = np.array([[0, 0, 1, 1], [0, 2, 1, 1], [0, 2, 2, 2], [0, 1, 0, 1]], np.uint8)


def test_confusion_leaves_out_ignored_pixels():
    assert confusion_of(TRUTH, PREDICTED, 3).tolist() == [[5, 1, 0], [0, 3, 1], [0, 1, 3]]


def test_worked_metrics():
    confusion = confusion_of(TRUTH, PREDICTED, 3)
    assert iou_per_class(confusion) == pytest.approx([0.833333333, 0.5, 0.6])
    found = semantic_metrics(confusion)
    assert found["mIoU"] == pytest.approx(0.644444444)
    assert found["pixel_accuracy"] == pytest.approx(0.785714286)
    assert found["class_accuracy"] == pytest.approx(0.777777778)
    assert found["fw_IoU"] == pytest.approx(0.671428571)
    assert found["dice"] == pytest.approx((0.909090909 + 2 / 3 + 0.75) / 3)


def test_the_mean_is_over_the_split_and_not_over_images():
    pairs = [([[1, 1], [0, 0]], [[1, 0], [0, 0]]), ([[0, 0], [0, 1]], [[0, 0], [0, 1]])]
    each = [confusion_of(np.array(t, np.uint8), np.array(p, np.uint8), 2) for t, p in pairs]
    assert semantic_metrics(each[0] + each[1])["mIoU"] == pytest.approx(0.75)
    assert np.mean([semantic_metrics(one)["mIoU"] for one in each]) == pytest.approx(0.791666667)


def test_absent_classes_do_not_count_and_all_ignored_is_zero():
    confusion = confusion_of(np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8), 3)
    assert semantic_metrics(confusion)["mIoU"] == 1
    nothing = confusion_of(np.full((4, 4), 255, np.uint8), np.zeros((4, 4), np.uint8), 3)
    assert set(semantic_metrics(nothing).values()) == {0.0}


def test_boundary_iou_sees_a_shift_that_the_iou_hardly_sees():
    truth, shifted = np.zeros((100, 100), np.uint8), np.zeros((100, 100), np.uint8)
    truth[20:80, 20:80], shifted[20:80, 22:82] = 1, 1
    same, moved = boundary_counts(truth, truth, 2), boundary_counts(truth, shifted, 2)
    assert (same[:, 0] == same[:, 1]).all()
    band = 60 * 60 - 54 * 54  # a frame of 3 pixels, 2 % of the diagonal of 141
    assert same[1].tolist() == [band, band]
    confusion = confusion_of(truth, shifted, 2)
    rows = class_rows(confusion, moved, ["ground", "square"])
    assert rows[1]["boundary_iou"] < 0.65
    assert rows[1]["iou"] > 0.9
