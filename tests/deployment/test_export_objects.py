"""Exported detectors: candidates of the graph, suppression outside, boxes in pixels of the image."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import danlu
from danlu.deployment.graph import ObjectGraph, graph_of
from danlu.deployment.verification import verify
from danlu.deployment.verification_images import ExportSamples, samples_of
from danlu.detection.dense import DenseDetector
from danlu.detection.detector_table import build_detector
from danlu.models.network_table import build_backbone
from danlu.refuse import Failure, Refusal


@pytest.fixture(scope="module")
def graph(drawn_run) -> ObjectGraph:
    found = graph_of(drawn_run)
    assert isinstance(found, ObjectGraph)
    return found


def test_candidates_are_verified_by_boxes_scores_and_map(drawn_run, graph):
    samples = samples_of(drawn_run)
    assert isinstance(samples, ExportSamples)
    few = replace(samples, index=samples.index[:4])

    def right(pixels: np.ndarray) -> list[np.ndarray]:
        with torch.no_grad():
            return [one.numpy() for one in graph(torch.from_numpy(pixels))]

    good = verify(drawn_run, graph, right, few, exact=True)
    assert (good.max_difference, good.metric, good.images) == (0, "mAP", 4)
    assert good.metric_before == good.metric_after > 0

    def moved(pixels: np.ndarray) -> list[np.ndarray]:
        boxes, scores, labels = right(pixels)
        return [boxes + 0.5, scores, labels]

    def relabelled(pixels: np.ndarray) -> list[np.ndarray]:
        boxes, scores, labels = right(pixels)
        return [boxes, scores, (labels + 1) % len(drawn_run.classes)]

    for wrong in (moved, relabelled):
        with pytest.raises(Failure, match="differs from the network by"):
            verify(drawn_run, graph, wrong, few)

    def shuffled(pixels: np.ndarray) -> list[np.ndarray]:
        return [one[:, ::-1].copy() for one in right(pixels)]

    assert verify(drawn_run, graph, shuffled, few).max_difference == 0


@pytest.mark.parametrize("name", ["yolo-nano", "ssd", "retinanet", "yolo-v1"])
def test_detections_are_the_candidates_after_suppression(name):
    torch.manual_seed(0)
    backbone = build_backbone("cspnet-nano", channels=3, size=64)
    detector = build_detector(name, backbone, classes=3, size=64).eval()
    assert isinstance(detector, DenseDetector)
    outputs = detector(torch.randn(2, 3, 64, 64))
    boxes, scores, labels = detector.candidates(outputs)
    assert boxes.shape == (*scores.shape, 4)
    assert scores.shape == labels.shape
    for i, found in enumerate(detector.detect(outputs, 0.0, 1.0, 5)):  # nothing overlaps more than wholly
        assert found.scores.tolist() == scores[i].sort(descending=True).values[:5].tolist()


@pytest.mark.parametrize(
    "name",
    ["ssd", *(pytest.param(n, marks=pytest.mark.slow) for n in ("yolo-nano", "retinanet", "yolo-v1", "detr-small"))],
)
def test_the_number_of_images_stays_open_in_a_file(name):
    backbone = build_backbone("cspnet-nano", channels=3, size=64)
    detector = build_detector(name, backbone, classes=3, size=64).eval()
    assert isinstance(detector, DenseDetector)

    class Decoded(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.detector = detector

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(detector.candidates(detector.outputs(images)))

    shapes = ({0: torch.export.Dim.DYNAMIC},)
    program = torch.export.export(Decoded(), (torch.randn(2, 3, 64, 64),), dynamic_shapes=shapes)
    images = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        for found, wanted in zip(program.module()(images), Decoded()(images)):
            assert torch.allclose(found, wanted, atol=1e-4)


def test_two_stage_detectors_are_refused_in_one_sentence(drawn_run, monkeypatch, tmp_path):
    backbone = build_backbone("cspnet-nano", channels=3, size=96)
    detector = build_detector("faster-rcnn", backbone, classes=3, size=96)
    run = danlu.load(drawn_run.folder)
    monkeypatch.setattr(run.network, "members", [(replace(run.signature, model="faster-rcnn"), detector)])
    with pytest.raises(Refusal, match="whose number of regions depends on the image, so that it cannot be exported"):
        graph_of(run)


@pytest.mark.slow
def test_predict_py_finds_the_objects_of_danlu_predict(drawn_run, drawn_coco, tmp_path, told):
    done = danlu.export(drawn_run, out=tmp_path / "m.onnx")
    assert done.max_difference <= 1e-4
    assert done.metric_after == pytest.approx(done.metric_before, abs=1e-3)
    folder = tmp_path / "images"
    folder.mkdir()
    for i, file in enumerate(sorted((drawn_coco / "images").iterdir())[:6]):
        with Image.open(file) as image:
            image.save(folder / f"{i}.png")
            image.resize((900, 640)).save(folder / f"{i}-large.jpg", quality=92)
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(folder / "0-large.jpg") as image:
        image.save(folder / "turned.jpg", exif=exif, quality=92)
    ours = [row.to_json() for row in danlu.predict(drawn_run, folder)]
    theirs = told(Path(done.script or ""), folder)
    assert json.dumps([row["path"] for row in theirs]) == json.dumps([row["path"] for row in ours])
    assert sum(len(row["objects"]) for row in ours) > 3
    for one, other in zip(theirs, ours):
        assert [found["class"] for found in one["objects"]] == [found["class"] for found in other["objects"]]
        for a, b in zip(one["objects"], other["objects"]):
            assert a["score"] == pytest.approx(b["score"], abs=1e-3)
            assert a["box"] == pytest.approx(b["box"], abs=0.3)
