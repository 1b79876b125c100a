"""Average precision beside pycocotools, on random and on pathological sets; VOC's beside a hand calculation."""

from __future__ import annotations

import contextlib
import io
import json

import numpy as np
import pytest
import torch

from danlu.metrics.detection import (
    area_under,
    best_threshold,
    confusion,
    detection_metrics,
    error_kinds,
    evaluate_files,
    evaluator,
    per_class,
    precision_recall,
    run_lengths,
    voc_average_precision,
)
from danlu.objects import Detections, Objects

CLASSES = ("ant", "bee", "cat")


def random_set(seed: int, images: int = 12, side: int = 200, masks: bool = False, crowd: float = 0.1):
    """Objects of all sizes and detections that are near them, doubled, misplaced or made up."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for _ in range(images):
        m = int(rng.integers(0, 6))
        corner, size = rng.uniform(0, side * 0.6, (m, 2)), rng.uniform(4, side * 0.5, (m, 2))
        boxes = np.concatenate([corner, np.minimum(corner + size, side)], 1)
        labels = rng.integers(0, len(CLASSES), m)
        near = np.repeat(boxes, 2, 0) + rng.normal(0, 5, (2 * m, 4))
        made = rng.uniform(0, side / 2, (3, 4)) + np.array([0, 0, side / 2, side / 2])
        seen = np.concatenate([near, made]).clip(0, side)
        seen[:, 2:] = np.maximum(seen[:, 2:], seen[:, :2] + 1)
        said = np.concatenate([np.where(rng.random(2 * m) < 0.8, np.repeat(labels, 2), 0), rng.integers(0, 3, 3)])
        draw = lambda b: _filled(b, side) if masks else None  # noqa: E731
        truth.append(Objects(_float(boxes), _int(labels), torch.from_numpy(rng.random(m) < crowd), draw(boxes)))
        scores = torch.from_numpy(rng.permutation(len(seen)) / len(seen)).float()
        found.append(Detections(_float(seen), scores, _int(said), draw(seen)))
    return truth, found, [(side, side)] * images


def _float(values) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32).reshape(-1, 4))


def _int(values) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.int64))


def _filled(boxes, side: int) -> torch.Tensor:
    masks = torch.zeros(len(boxes), side, side, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, np.asarray(boxes).round().astype(int)):
        mask[y1:y2, x1:x2] = 1
    return masks


def oracle(truth, found, sizes, kind: str) -> np.ndarray:
    """pycocotools' twelve numbers."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images = [{"id": i + 1, "height": h, "width": w} for i, (h, w) in enumerate(sizes)]
    annotations, results = [], []
    for i, (real, seen) in enumerate(zip(truth, found), 1):
        shapes = run_lengths(real.masks) if kind == "segm" else [None] * len(real)
        for box, label, ignore, shape in zip(real.boxes.double().tolist(), real.labels, real.ignore, shapes):
            x1, y1, x2, y2 = box
            area = float(np.prod([x2 - x1, y2 - y1]))
            one = {
                "id": len(annotations) + 1, "image_id": i, "category_id": int(label) + 1, "iscrowd": int(ignore),
                "bbox": [x1, y1, x2 - x1, y2 - y1], "area": area,
            }  # fmt: skip
            if shape is not None:
                from pycocotools import mask

                one |= {"segmentation": shape, "area": float(mask.area(shape))}
            annotations.append(one)
        shapes = run_lengths(seen.masks) if kind == "segm" else [None] * len(seen)
        for box, label, score, shape in zip(seen.boxes.double().tolist(), seen.labels, seen.scores, shapes):
            x1, y1, x2, y2 = box
            one = {"image_id": i, "category_id": int(label) + 1, "score": float(score)}
            results.append(one | ({"segmentation": shape} if shape else {"bbox": [x1, y1, x2 - x1, y2 - y1]}))
    with contextlib.redirect_stdout(io.StringIO()):
        real = COCO()
        real.dataset = {
            "images": images, "annotations": annotations,
            "categories": [{"id": k, "name": n} for k, n in enumerate(CLASSES, 1)],
        }  # fmt: skip
        real.createIndex()
        judge = COCOeval(real, real.loadRes(results), kind)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge.stats


@pytest.mark.parametrize("seed", range(6))
def test_boxes_agree_with_pycocotools(seed: int) -> None:
    case = random_set(seed)
    ours = detection_metrics(evaluator(*case, CLASSES))
    theirs = [value for value in oracle(*case, "bbox") if value >= 0]
    assert list(ours.values()) == pytest.approx(theirs, abs=1e-9)
    assert 0.05 < ours["mAP"] < 0.95


@pytest.mark.parametrize("seed", range(2))
def test_masks_agree_with_pycocotools(seed: int) -> None:
    case = random_set(seed, masks=True)
    ours = detection_metrics(evaluator(*case, CLASSES, "masks"), "masks")
    assert all(name.startswith("mask_") for name in ours)
    theirs = [value for value in oracle(*case, "segm") if value >= 0]
    assert list(ours.values()) == pytest.approx(theirs, abs=1e-9)


def one(box, label=0, ignore=False) -> Objects:
    return Objects(_float([box]), _int([label]), torch.tensor([ignore]))


def seen(*rows) -> Detections:
    boxes, scores, labels = zip(*rows) if rows else ([], [], [])
    return Detections(_float(boxes), torch.tensor(scores, dtype=torch.float32), _int(labels))


def test_perfect_detection_scores_one_and_none_scores_zero() -> None:
    truth = [one((10, 10, 50, 50)), one((0, 0, 120, 120), 1)]
    exact = [seen(((10, 10, 50, 50), 0.9, 0)), seen(((0, 0, 120, 120), 0.2, 1))]
    assert detection_metrics(evaluator(truth, exact, [(200, 200)] * 2, CLASSES))["mAP"] == pytest.approx(1)
    nothing = detection_metrics(evaluator(truth, [seen(), seen()], [(200, 200)] * 2, CLASSES))
    assert nothing["mAP"] == nothing["AR100"] == 0


def test_area_borders_and_absent_sizes() -> None:
    """32 x 32 pixels is both small and medium for COCO; sizes without an object are left out."""
    truth, found = [one((0, 0, 32, 32))], [seen(((0, 0, 32, 32), 0.9, 0))]
    metrics = detection_metrics(evaluator(truth, found, [(100, 100)], CLASSES))
    assert metrics["mAP_small"] == metrics["mAP_medium"] == pytest.approx(1)
    assert "mAP_large" not in metrics


def test_no_object_anywhere_defines_nothing() -> None:
    assert detection_metrics(evaluator([Objects.none()], [seen()], [(50, 50)], CLASSES)) == {}
    alarm = [seen(((0, 0, 9, 9), 0.9, 0))]
    assert detection_metrics(evaluator([Objects.none()], alarm, [(50, 50)], CLASSES)) == {}


def test_a_crowd_is_neither_object_nor_background() -> None:
    truth = [Objects(_float([(0, 0, 40, 40), (50, 50, 90, 90)]), _int([0, 0]), torch.tensor([False, True]))]
    found = [seen(((0, 0, 40, 40), 0.5, 0), ((52, 52, 70, 70), 0.9, 0))]
    assert detection_metrics(evaluator(truth, found, [(100, 100)], CLASSES))["mAP"] == pytest.approx(1)
    assert voc_average_precision(truth, [seen(((50, 50, 90, 90), 0.9, 0), ((0, 0, 40, 40), 0.5, 0))], 1) == [1.0]


def test_files_of_another_system_with_annotation_id_zero(tmp_path) -> None:
    from hotcoco import COCO

    (tmp_path / "truth.json").write_text(
        json.dumps(
            {
                "images": [{"id": 7, "width": 100, "height": 100}],
                "categories": [{"id": 18, "name": "dog"}],
                "annotations": [
                    {"id": 0, "image_id": 7, "category_id": 18, "bbox": [1, 2, 30, 40], "area": 1200, "iscrowd": 0}
                ],
            }
        )
    )
    (tmp_path / "found.json").write_text(
        json.dumps([{"image_id": 7, "category_id": 18, "bbox": [1, 2, 30, 40], "score": 0.5}])
    )
    truth = COCO(str(tmp_path / "truth.json"))
    judge = evaluate_files(truth, truth.load_res(str(tmp_path / "found.json")))
    assert detection_metrics(judge)["mAP"] == pytest.approx(1)


def test_per_class_and_curves() -> None:
    truth = [one((10, 10, 50, 50), 0), one((10, 10, 50, 50), 1)]
    found = [seen(((10, 10, 50, 50), 0.9, 0)), seen(((80, 80, 99, 99), 0.9, 1), ((10, 10, 50, 50), 0.4, 1))]
    judge = evaluator(truth, found, [(100, 100)] * 2, CLASSES)
    ant, bee, cat = per_class(judge, CLASSES)
    assert (ant["mAP"], ant["f1"], ant["objects"]) == pytest.approx((1, 1, 1))
    assert ant["score"] == pytest.approx(0.9)
    assert bee["mAP50"] == pytest.approx(0.5)
    assert bee["f1"] == pytest.approx(2 / 3)
    assert (cat["objects"], cat["mAP"]) == (0, None)
    assert set(precision_recall(judge, CLASSES)["precision"]) == {"ant", "bee"}


def test_confusion_at_a_threshold() -> None:
    truth = [one((10, 10, 50, 50), 0), one((10, 10, 50, 50), 1)]
    found = [seen(((10, 10, 50, 50), 0.9, 2), ((70, 70, 90, 90), 0.3, 0)), seen()]
    counts = np.array(confusion(evaluator(truth, found, [(100, 100)] * 2, CLASSES), score=0.5))
    wanted = np.zeros((4, 4), dtype=int)
    wanted[0, 2] = wanted[1, 3] = 1  # an ant called a cat, a bee missed; the weak alarm is below the threshold
    assert (counts == wanted).all()


def test_kinds_of_errors() -> None:
    truth = [one((10, 10, 50, 50), 0), one((10, 10, 50, 50), 1), one((10, 10, 50, 50), 0), one((5, 5, 25, 25), 0)]
    found = [
        seen(((10, 10, 50, 50), 0.9, 0), ((10, 10, 50, 50), 0.8, 0)),  # a hit and its duplicate
        seen(((10, 10, 50, 50), 0.9, 2)),  # the wrong class
        seen(((10, 10, 50, 34), 0.9, 0), ((70, 70, 99, 99), 0.8, 0)),  # misplaced (IoU 0.6 is a hit: so narrower)
        seen(),  # missed
    ]
    found[2].boxes[0] = torch.tensor([10.0, 10, 50, 25])
    kinds = error_kinds(evaluator(truth, found, [(100, 100)] * 4, CLASSES))
    counts = {name: kind["count"] for name, kind in kinds.items()}
    assert counts == {"class": 1, "place": 1, "both": 0, "duplicate": 1, "background": 1, "missed": 1}
    assert all(kind["cost"] >= 0 for kind in kinds.values())


def test_best_threshold() -> None:
    truth = [one((10, 10, 50, 50)), one((10, 10, 50, 50))]
    found = [seen(((10, 10, 50, 50), 0.9, 0)), seen(((60, 60, 90, 90), 0.6, 0), ((10, 10, 50, 50), 0.7, 0))]
    score, f1 = best_threshold(truth, found)
    assert score == pytest.approx(0.7)
    assert f1 == 1
    assert best_threshold(truth, [seen(), seen()]) == (0.5, 0.0)


def test_voc_by_hand() -> None:
    """Five objects; hits by falling score 1 0 1 1 0. Precision at recalls 0.2, 0.4, 0.6: 1, 2/3 -> 3/4, 3/4."""
    hits = np.array([True, False, True, True, False])
    assert area_under(hits, 5) == pytest.approx(0.2 * 1 + 0.4 * 0.75)
    assert area_under(hits, 5, points=11) == pytest.approx((3 * 1 + 4 * 0.75) / 11)


def test_voc_second_hit_is_false() -> None:
    truth = [one((10, 10, 50, 50))]
    twice = [seen(((10, 10, 50, 50), 0.9, 0), ((10, 10, 50, 51), 0.8, 0))]
    assert voc_average_precision(truth, twice, 2) == [1.0, None]
    assert voc_average_precision(truth, [seen(((12, 12, 50, 50), 0.9, 0))], 1, iou=0.95) == [0.0]
