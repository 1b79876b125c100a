"""Objects that are annotated twice, against the IoU of all pairs."""

import json

import numpy as np
import torch
from PIL import Image
from torchvision.ops import box_iou

from danlu.config import DataConfig
from danlu.data.formats import open_dataset
from danlu.data.sources.labelled_images.labelled import Thing
from danlu.data.sources.labelled_images.repeated_boxes import MIN_IOU, nearly_repeated


def test_the_pairs_are_those_of_all_ious():
    rng = np.random.default_rng(0)
    base = rng.uniform(0, 80, (60, 4))
    base[:, 2:] = base[:, :2] + rng.uniform(5, 40, (60, 2))
    boxes = np.concatenate([base, base + rng.normal(0, 0.25, base.shape), base[:5]]).astype(np.float32)
    labels, owner = (np.resize(rng.integers(0, n, len(base)), len(boxes)) for n in (2, 3))
    labels[60:70] = 1
    ignore = rng.random(len(boxes)) < 0.1
    things = [
        Thing(str(i), int(label), box, bool(skip)) for i, (label, box, skip) in enumerate(zip(labels, boxes, ignore))
    ]
    good = rng.random(len(boxes)) < 0.9
    found = {later for later, *_ in nearly_repeated(things, boxes, owner, good)}
    iou = box_iou(torch.from_numpy(boxes).double(), torch.from_numpy(boxes).double()).numpy()
    usable = good & ~ignore
    expected = {
        j for j in range(len(boxes)) for i in range(j)
        if usable[i] and usable[j] and owner[i] == owner[j] and labels[i] == labels[j]
        and iou[i, j] > MIN_IOU and (boxes[i] != boxes[j]).any()
    }  # fmt: skip
    assert found == expected
    assert expected


def test_thousands_of_boxes_at_one_edge_are_compared():
    """Boxes with the same left edge are neighbours of one another; only the last two are nearly equal."""
    boxes = np.array([(0, 10 * i, 50, 10 * i + 9) for i in range(1500)] + [(0, 14990, 50, 14999.2)], np.float32)
    things = [Thing(str(i), 0, box) for i, box in enumerate(boxes)]
    found = nearly_repeated(things, boxes, np.zeros(len(boxes), np.int64), np.ones(len(boxes), bool))
    assert [(later, first) for later, first, _ in found] == [(1500, 1499)]


def test_boxes_that_are_nearly_repeated_are_named_by_file_and_counted(tmp_path):
    for i in range(3):
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(
            tmp_path / f"{i}.png"
        )
    rows = [(0, 1, (10, 10, 40, 30)), (0, 1, (10, 10, 40, 30.5)), (0, 2, (10, 10, 40, 30.5)), (1, 1, (10, 10, 40, 30)),
            (1, 1, (12, 12, 40, 30)), (2, 1, (5, 5, 20, 20)), (2, 1, (5, 5, 20, 20))]  # fmt: skip
    found = [
        {"id": i, "image_id": n, "category_id": k, "bbox": box, "iscrowd": 0} for i, (n, k, box) in enumerate(rows)
    ]
    listed = [{"id": i, "file_name": f"{i}.png", "width": 80, "height": 60} for i in range(3)]
    kinds = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    text = json.dumps({"images": listed, "annotations": found, "categories": kinds})
    (tmp_path / "boxes.json").write_text(text)
    data = open_dataset(DataConfig(path=str(tmp_path)))
    assert [len(one) for one in data.targets] == [3, 2, 2]
    near = [problem for problem in data.problems if problem.fault == "nearly repeated"]
    assert [(problem.done, "0.png" in problem.where, "IoU 0.98" in str(problem.reason)) for problem in near] == [
        ("kept", True, True)
    ]
    assert [problem.fault for problem in data.problems if problem.fault] == ["repeated", "nearly repeated"]
    assert any("1 box in 1 images is nearly those" in str(note) for note in data.notes)
