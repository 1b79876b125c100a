"""The detection task: from canvas to image, metrics, and the details for the report."""

import base64
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from danlu.data.annotations import Annotation, Raster
from danlu.data.batches import Batch
from danlu.data.canvas import letterbox, stretch
from danlu.data.object_set import ObjectSet
from danlu.detection.detector import Detector
from danlu.objects import Detections, Objects
from danlu.tasks import attention_maps
from danlu.tasks.detect import Detect, ImageDetections, above_score, drop_ignored, errors, to_image
from danlu.tasks.task import Evaluation

CLASSES = ("ant", "bee")
SIZES = ((60, 120), (100, 40), (80, 80))  # height and width of three images, laid on 64 x 64


def annotation(size, *things) -> Annotation:
    """things: (box, label, ignore); masks fill the boxes."""
    boxes = torch.tensor([box for box, _, _ in things], dtype=torch.float32).reshape(-1, 4)
    shapes = []
    for left, top, right, bottom in boxes.int().tolist():
        shapes.append(Raster(np.ones((bottom - top, right - left), np.uint8), left, top))
    labels, ignore = torch.tensor([t[1] for t in things]).long(), torch.tensor([t[2] for t in things]).bool()
    return Annotation(boxes, labels, ignore, size, tuple(shapes))


ANNOTATIONS = [
    annotation(SIZES[0], ((10, 20, 50, 40), 0, False), ((60, 0, 120, 60), 1, False)),
    annotation(SIZES[1], ((4, 10, 36, 50), 1, False), ((0, 60, 40, 100), 0, True)),
    annotation(SIZES[2]),
]


def make(masks: bool = False, fit=letterbox) -> Detect:
    placements = [fit(size, 64) for size in SIZES]
    return Detect(CLASSES, ANNOTATIONS, placements, masks=masks, nms_iou=0.6, max_detections=50)


class Oracle(Detector):
    """Finds, on the canvas, exactly what an `ObjectSet` holds, each with a score of its own; it learns nothing."""

    def __init__(self, objects: ObjectSet) -> None:
        super().__init__()
        self.objects, self.asked = objects, {}

    def outputs(self, images):
        return {"index": images[:, 0, 0, 0].long()}

    def losses(self, outputs, objects):
        return {"loss": torch.tensor(0.25)}

    def detect(self, outputs, min_score=0.05, nms_iou=0.5, max_detections=100):
        self.asked = {"min_score": min_score, "nms_iou": nms_iou, "max_detections": max_detections}
        found = []
        for i in outputs["index"]:
            one = self.objects.index_select(0, i[None]).image(0)
            scores = torch.linspace(0.9, 0.5, len(one))
            found.append(Detections(one.boxes, scores, one.labels, one.masks))
        return found


def asked(task: Detect) -> Evaluation:
    """Return the oracle's evaluation of all three images."""
    objects = ObjectSet(task.annotations, task.placements, task.masks)
    index = torch.arange(3)
    inputs = index[:, None, None, None].float().expand(3, 1, 64, 64)
    batch = Batch(inputs, objects.index_select(0, index), index, 3, 1.0)
    oracle = Oracle(objects)
    answers, targets = task.predict(oracle, batch, None)
    assert oracle.asked == {"min_score": 0.01, "nms_iou": 0.6, "max_detections": 50}
    return Evaluation(answers, targets, index)


@pytest.mark.parametrize("fit", [letterbox, stretch])
def test_detections_are_mapped_back_to_the_image(fit):
    evaluation = asked(make(fit=fit))
    for prediction, truth, one in zip(evaluation.outputs, evaluation.targets, ANNOTATIONS):
        assert torch.allclose(prediction.detections.boxes, one.boxes, atol=1e-3)
        assert torch.equal(truth.boxes, one.boxes)
        assert prediction.loss == 0.25


def test_perfect_detections_have_score_one():
    found = make().metrics(asked(make()))
    assert next(iter(found)) == "loss"
    assert found["loss"] == pytest.approx(0.25)
    assert found["mAP"] == pytest.approx(1)
    assert found["AR100"] == pytest.approx(1)
    assert not any(name.startswith("mask_") for name in found)


def test_masks_are_evaluated_in_the_original_image():
    """On 64 x 64 the masks are coarser than the images: their edges move by about a pixel, no more."""
    task = make(masks=True)
    evaluation = asked(task)
    found = task.metrics(evaluation)
    assert (task.spec.monitor, task.spec.better) == ("mask_mAP", "high")
    assert found["mask_mAP50"] == pytest.approx(1)
    assert found["mask_mAP"] > 0.8
    assert [mask["size"] for mask in evaluation.outputs[1].detections.masks] == [[100, 40]] * 2


def test_nothing_found_is_worth_nothing():
    task = make(masks=True)
    none = ImageDetections(Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long(), []), 1.0)
    targets = [task.truth(i) for i in range(3)]
    found = task.metrics(Evaluation([none] * 3, targets, torch.arange(3)))
    assert (found["mAP"], found["mask_mAP"], found["mAP50"]) == (0, 0, 0)


def test_details_are_plain_values_for_the_page():
    """One of the oracle's four detections is in an ignored region: it is neither right nor wrong."""
    task = make()
    details = task.details(asked(task), lambda i: f"image {i}", lambda i: f"data:image/png;base64,{i}")
    json.dumps(details, allow_nan=False)
    assert details["threshold"]["f1"] == pytest.approx(1)
    assert [row["objects"] for row in details["per_class"]] == [1, 2]
    assert details["confusion"] == [[1, 0, 0], [0, 2, 0], [0, 0, 0]]
    assert sum(kind["count"] for kind in details["errors"].values()) == 0
    first = next(one for one in details["examples"] if one["name"] == "image 0")
    assert first["size"] == [60, 120]
    assert first["true"] == [
        {"box": [10, 20, 50, 40], "class": "ant", "missed": False},
        {"box": [60, 0, 120, 60], "class": "bee", "missed": False},
    ]


def test_attention_of_top_detections_is_shown_where_the_canvas_was():
    """A 64 x 64 canvas for an image of 60 x 120: its lower half is padding. No attention without a detection."""
    task = make()
    evaluation = asked(task)
    weights = torch.tensor([[[0.5, 0.25], [0.25, 0.0]]])
    evaluation.outputs[0].attention = attention_maps.compressed(weights)
    details = task.details(evaluation, lambda i: f"image {i}", lambda i: "")
    json.dumps(details, allow_nan=False)
    examples = {one["name"]: one for one in details["examples"]}
    (shown,) = examples["image 0"]["attention"]
    assert "attention" not in examples["image 1"]
    placement = task.placements[0]
    corners = placement.boxes(torch.tensor(shown["area"]))
    torch.testing.assert_close(corners, torch.tensor([0.0, 0, *placement.size[::-1]]), atol=0.1, rtol=0)
    assert {k: shown[k] for k in ("box", "class")} == {k: examples["image 0"]["found"][0][k] for k in ("box", "class")}
    picture = Image.open(io.BytesIO(base64.b64decode(shown["map"].split(",")[1])))
    assert np.asarray(picture)[..., 3].tolist() == [[216, 108], [108, 0]]


def test_images_with_most_mistakes_come_first():
    task = make()
    evaluation = asked(task)
    wrong = Detections(
        torch.tensor([[0.0, 0, 9, 9], [70, 70, 80, 80]]), torch.tensor([0.95, 0.93]), torch.tensor([0, 1])
    )
    evaluation.outputs[2] = ImageDetections(wrong, 0.0)
    details = task.details(evaluation, str, lambda i: "")
    assert details["examples"][0]["name"] == "2"
    assert [one["false"] for one in details["examples"][0]["found"]] == [True, True]


def objects(*rows) -> Objects:
    boxes = torch.tensor([row[0] for row in rows], dtype=torch.float32).reshape(-1, 4)
    return Objects(boxes, torch.tensor([row[1] for row in rows]).long(), torch.tensor([row[2] for row in rows]).bool())


def detections(*rows) -> Detections:
    boxes = torch.tensor([row[0] for row in rows], dtype=torch.float32).reshape(-1, 4)
    return Detections(
        boxes, torch.tensor([row[2] for row in rows]).float(), torch.tensor([row[1] for row in rows]).long()
    )


A, B, FAR = (0, 0, 10, 10), (20, 0, 30, 10), (50, 50, 60, 60)


def test_misses_and_false_alarms():
    real = objects((A, 0, False), (B, 1, False), (FAR, 0, True))
    assert errors(real, detections((A, 0, 0.9), (B, 1, 0.8))) == (set(), set())
    assert errors(real, detections((A, 1, 0.9))) == ({0, 1}, {0}), "another class is no hit"
    assert errors(real, detections((A, 0, 0.9), (A, 0, 0.8))) == ({1}, {1}), "found twice, once in vain"
    assert errors(real, detections((FAR, 0, 0.9), (FAR, 0, 0.8))) == ({0, 1}, set()), "ignored, however often"
    within = (52, 52, 56, 56)  # a small part of what is ignored, as in a crowd
    assert errors(real, detections((within, 0, 0.9))) == ({0, 1}, set())
    assert errors(real, detections((within, 1, 0.9))) == ({0, 1}, {0}), "ignored for its class alone"
    both = objects(((0, 0, 40, 40), 0, True), (A, 0, False))
    assert errors(both, detections((A, 0, 0.9))) == (set(), set()), "an object goes before the crowd around it"
    assert errors(real, detections()) == ({0, 1}, set())
    assert errors(objects(), detections((A, 0, 0.9))) == (set(), {0})


def test_detections_in_ignored_regions_do_not_count():
    real = objects((A, 0, False), (B, 1, True), ((0, 0, 40, 40), 0, True))
    found = detections((A, 0, 0.9), (B, 1, 0.8), (B, 0, 0.7), (FAR, 0, 0.6), (A, 1, 0.5))
    assert drop_ignored(real, found).scores.tolist() == pytest.approx([0.9, 0.6, 0.5])


def test_kept_are_those_of_at_least_the_score():
    found = detections((A, 0, 0.9), (B, 1, 0.5), (FAR, 0, 0.2))
    found.masks = ["a", "b", "c"]
    some = above_score(found, 0.5)
    assert some.labels.tolist() == [0, 1]
    assert some.masks == ["a", "b"]
    assert len(found) == 3


def test_boxes_beyond_the_image_are_cut_at_its_edge():
    placement = letterbox((60, 120), 64)
    found = to_image(detections(((-5, 0, 64, 64), 0, 0.9)), placement)
    assert found.boxes[0].tolist() == pytest.approx([0, 0, 120, 60])
