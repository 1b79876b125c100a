"""Several labels per image: the same answers from the network, its file, the script beside it and a shared zip."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

import danlu
from danlu.deployment.facts import facts_of
from danlu.deployment.graph import graph_of
from danlu.deployment.verification import verify
from danlu.deployment.verification_images import ExportSamples, samples_of
from danlu.inference.image_predictor import ImagePredictor
from danlu.inference.loaded_run import LoadedRun
from danlu.refuse import Failure

LABELS = ("red", "green", "blue")  # channels that a patch of the image raises


@pytest.fixture(scope="module")
def tags(tmp_path_factory) -> Path:
    """Images with any of three coloured patches, and a column of 0 and 1 for each."""
    root = tmp_path_factory.mktemp("tags")
    rng = np.random.default_rng(0)
    lines = ["image," + ",".join(LABELS)]
    for number in range(90):
        pixels, shown = rng.normal(90, 15, (16, 16, 3)), rng.random(3) < 0.5
        for label in np.flatnonzero(shown):
            pixels[5 * label : 5 * label + 6, 2:14, label] += 120
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / f"{number:02}.png")
        lines.append(f"{number:02}.png," + ",".join(str(int(one)) for one in shown))
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def run(tags, tmp_path_factory) -> LoadedRun:
    out = tmp_path_factory.mktemp("runs") / "tags"
    plain = {"precision": "fp32", "channels_last": False, "device": "cpu", "console": Console(quiet=True)}
    danlu.train(tags, out=str(out), model="small-cnn", epochs=4, lr=0.01, batch_size=16, **plain)
    return danlu.load(out)


@pytest.fixture(scope="module")
def blank(tmp_path_factory) -> Path:
    """An image without any of the labels."""
    file = tmp_path_factory.mktemp("blank") / "blank.png"
    Image.new("RGB", (16, 16), (90, 90, 90)).save(file)
    return file


def test_the_graph_gives_independent_probabilities_that_are_verified_by_map(run, tags):
    graph, samples = graph_of(run), samples_of(run)
    assert isinstance(samples, ExportSamples)
    assert facts_of(run)["thresholds"] == list(run.signature.thresholds)

    def right(pixels: np.ndarray) -> list[np.ndarray]:
        with torch.no_grad():
            return [graph(torch.from_numpy(pixels)).numpy()]

    good = verify(run, graph, right, samples, exact=True)
    assert (good.metric, good.max_difference) == ("mAP", 0)
    assert good.metric_before == pytest.approx(run.summary.metrics.val["mAP"], abs=1e-4)
    with pytest.raises(Failure, match="differs from the network by"):
        verify(run, graph, lambda x: [right(x)[0][:, ::-1]], samples)
    with Image.open(tags / "00.png") as image:
        answers = right(np.array(image)[None])[0][0]
    assert dict(zip(run.classes, answers)) == pytest.approx(dict(run.predict(tags / "00.png")[0].top), abs=1e-5)


def test_a_service_gives_the_labels_of_predict(run, tags, blank):
    files = [*sorted(tags.glob("0*.png")), blank]
    predictor = ImagePredictor(run)
    found = predictor.predict([predictor.read(file) for file in files], [str(file) for file in files])
    for one, other in zip(found, run.predict(*files), strict=True):
        assert [name for name, _ in one.labels or []] == [name for name, _ in other.labels or []]
        assert dict(one.top or []) == pytest.approx(dict(other.top or []), abs=1e-5)
    assert found[-1].labels == []


@pytest.mark.slow
def test_files_and_a_zip_give_the_labels_of_predict(run, tags, blank, told, tmp_path):
    ours = [row.to_json() for row in run.predict(tags, blank)]
    zipped = danlu.share(run, out=tmp_path / "tags.zip").file
    assert [row.to_json()["labels"] for row in danlu.predict(zipped, tags, blank)] == [row["labels"] for row in ours]
    done = danlu.export(run, out=tmp_path / "tags.onnx")
    assert (done.metric, done.metric_before) == ("mAP", done.metric_after)
    theirs = told(Path(str(done.script)), tags, blank)
    for one, other in zip(theirs, ours, strict=True):
        assert one.keys() == other.keys()
        assert [name for name, _ in one["labels"]] == [name for name, _ in other["labels"]]
        assert dict(one["top"]) == pytest.approx(dict(other["top"]), abs=2e-3)
    words = [sys.executable, str(done.script), str(blank)]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == f"{blank} no label\n"
    exact = danlu.export(run, format="pt2", out=tmp_path / "tags.pt2")
    assert exact.max_difference == 0
    small = danlu.export(run, out=tmp_path / "small.onnx", int8=True)
    assert small.bytes < done.bytes
