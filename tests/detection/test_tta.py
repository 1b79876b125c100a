"""Merging detections of several views: by hand, and with a detector that is equivariant to flips."""

import torch
from torch import nn

from danlu.detection.tta import detect_flipped, flip_detections, merge
from danlu.objects import Detections


def found(*rows, masks=None) -> Detections:
    """rows: (x1, y1, x2, y2, score, label)."""
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].long(), masks)


def test_box_of_a_flipped_image_covers_its_pixels():
    mask = torch.zeros(1, 8, 10, dtype=torch.uint8)
    mask[0, 1:4, 2:7] = 1
    one = found((2, 1, 7, 4, 0.9, 0), masks=mask)
    for axes in ((), (-1,), (-2,), (-1, -2)):
        there = flip_detections(one, axes, (8, 10))
        rows, columns = there.masks[0].any(1).nonzero()[:, 0], there.masks[0].any(0).nonzero()[:, 0]
        assert there.boxes[0].tolist() == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        back = flip_detections(there, axes, (8, 10))
        assert torch.equal(back.boxes, one.boxes)
        assert torch.equal(back.masks, one.masks)


def test_detections_of_both_views_keep_their_score():
    first = found((0, 0, 10, 10, 0.8, 0), (20, 20, 30, 30, 0.9, 1))
    second = found((0, 0, 10, 9.5, 0.6, 0), (20, 20, 30, 30, 0.5, 0))
    one = merge([first, second], nms_iou=0.6, max_detections=10)
    assert one.boxes.tolist() == [[0, 0, 10, 10], [20, 20, 30, 30], [20, 20, 30, 30]]
    assert one.labels.tolist() == [0, 1, 0]
    torch.testing.assert_close(one.scores, torch.tensor([0.7, 0.45, 0.25]))
    assert len(merge([first, second], nms_iou=0.6, max_detections=1)) == 1


def test_views_without_detections():
    nothing, one = found(), found((0, 0, 10, 10, 0.8, 0))
    assert merge([one, nothing], 0.5, 10).scores.tolist() == [torch.tensor(0.4).item()]
    assert len(merge([nothing, nothing], 0.5, 10)) == 0


def test_unconfirmed_detections_may_fall_below_the_min_score():
    first, second = found((0, 0, 10, 10, 0.3, 0), (20, 20, 30, 30, 0.4, 1)), found((0, 0, 10, 10, 0.2, 0))
    one = merge([first, second], nms_iou=0.6, max_detections=10, min_score=0.22)
    assert one.labels.tolist() == [0]
    assert one.scores.tolist() == [torch.tensor(0.25).item()]


def test_masks_as_run_lengths_go_with_their_boxes():
    first = found((0, 0, 10, 10, 0.3, 0), masks=["a"])
    second = found((20, 20, 30, 30, 0.9, 1), (0, 0, 10, 9, 0.8, 0), masks=["b", "c"])
    assert merge([first, second], nms_iou=0.6, max_detections=10).masks == ["c", "b"]


class Bright(nn.Module):
    """Detect one object per image: the bright pixels."""

    def forward(self, images):
        return images

    def detect(self, outputs, min_score, nms_iou, max_detections):
        boxes = []
        for image in outputs[:, 0] > 0.5:
            rows, columns = image.any(1).nonzero()[:, 0], image.any(0).nonzero()[:, 0]
            boxes.append((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1, 0.9, 0))
        return [found(box) for box in boxes]


def test_flip_equivariant_detector_is_unchanged_by_tta():
    images = torch.zeros(2, 3, 16, 20)
    images[0, :, 2:9, 3:5], images[1, :, 10:16, 8:20] = 1, 1
    detector = Bright()
    alone = detector.detect(detector(images), 0.1, 0.5, 10)
    both = detect_flipped(detector, images, ((), (-1,), (-2,), (-1, -2)), 0.1, 0.5, 10)
    for one, other in zip(alone, both, strict=True):
        assert torch.equal(one.boxes, other.boxes)
        torch.testing.assert_close(one.scores, other.scores)
