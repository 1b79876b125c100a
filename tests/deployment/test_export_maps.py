"""Exported networks for semantic segmentation: probabilities in the file, label maps by the script beside it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import danlu
from danlu.deployment.graph import MapGraph, graph_of
from danlu.deployment.verification import verify
from danlu.deployment.verification_images import ExportSamples, samples_of
from danlu.refuse import Failure
from danlu.tasks.semantic import from_png

COLOURS = np.array([[60, 60, 60], [230, 40, 40], [40, 40, 230]], np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Red and blue squares with their masks, on images that are wider than high."""
    folder = tmp_path_factory.mktemp("squares")
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for i in range(24):
        labels = np.zeros((24, 36), np.uint8)
        for k in (1, 2, 1):
            top, left = rng.integers(0, 14), rng.integers(0, 26)
            labels[top : top + 9, left : left + 9] = k
        pixels = COLOURS[labels] + rng.integers(0, 20, (24, 36, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"images/{i}.png")
        Image.fromarray(labels).save(folder / f"masks/{i}.png")
    return folder


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    settings = {"task": "semantic", "epochs": 12, "size": 32, "model": "unet", "detect.width": 4, "batch_size": 8}
    settings |= {"lr": 0.01, "device": "cpu", "precision": "fp32", "channels_last": False, "doctor.budget": 0.0}
    return danlu.train(str(data), out=str(tmp_path_factory.mktemp("runs") / "one"), **settings)


@pytest.fixture(scope="module")
def graph(run) -> MapGraph:
    found = graph_of(run)
    assert isinstance(found, MapGraph)
    return found


def test_the_file_is_verified_by_probabilities_and_miou(run, graph):
    samples = samples_of(run)
    assert isinstance(samples, ExportSamples)

    def right(pixels: np.ndarray) -> list[np.ndarray]:
        with torch.no_grad():
            return [graph(torch.from_numpy(pixels)).numpy()]

    good = verify(run, graph, right, samples, exact=True)
    assert (good.max_difference, good.metric, good.images) == (0, "mIoU", len(samples))
    measured = run.evaluate(part="val").metrics["val"]["mIoU"]
    assert good.metric_before == good.metric_after == pytest.approx(measured, abs=1e-6)

    def shifted(pixels: np.ndarray) -> list[np.ndarray]:
        return [np.roll(right(pixels)[0], 2, axis=3)]

    with pytest.raises(Failure, match="differs from the network by"):
        verify(run, graph, shifted, samples)

    def relabelled(pixels: np.ndarray) -> list[np.ndarray]:
        return [np.roll(right(pixels)[0], 1, axis=1)]

    with pytest.raises(Failure, match=r"mIoU .* where the network has"):
        verify(run, graph, relabelled, samples, int8=True)


def test_probabilities_are_the_mean_over_the_flips(run, data):
    flipped = replace(run.config, tta=True, augment=replace(run.config.augment, flip="lr"))
    plain, mirrored = MapGraph(run.members, run.config).eval(), MapGraph(run.members, flipped).eval()
    pixels = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    with torch.no_grad():
        both = (plain(pixels) + plain(pixels.flip(2)).flip(3)) / 2
        assert torch.allclose(mirrored(pixels), both, atol=1e-6)
        assert torch.allclose(both.sum(1), torch.ones(2, 32, 32))


@pytest.mark.slow
def test_the_script_gives_the_label_maps_of_predict(run, data, told, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(data / "images", images)
    with Image.open(images / "3.png") as one:
        one.resize((301, 200), Image.Resampling.BICUBIC).save(images / "large.jpg", quality=92)
        one.convert("L").save(images / "grey.png")
    done = danlu.export(run, out=tmp_path / "m.onnx", batch=2)
    assert done.metric == "mIoU"
    assert done.max_difference < 1e-4
    (tmp_path / "maps").mkdir()
    rows = told(Path(done.script), f"--out={tmp_path / 'maps'}", images)
    wanted = {Path(one.path).stem: one for one in run.predict(images)}
    assert len(rows) == len(wanted) == 26
    for row in rows:
        stem = Path(row["path"]).stem
        drawn = from_png((tmp_path / "maps" / f"{stem}.png").read_bytes())
        assert drawn.shape == wanted[stem].label_map.shape
        assert (drawn == wanted[stem].label_map).mean() > 0.999
        assert row["areas"] == pytest.approx(dict(wanted[stem].areas), abs=2e-3)
    facts = json.loads(_facts(tmp_path / "m.onnx"))
    assert (facts["task"], facts["classes"], facts["fit"]) == ("semantic", list(run.classes), "letterbox")


def _facts(file: Path) -> str:
    import onnxruntime

    return onnxruntime.InferenceSession(str(file)).get_modelmeta().custom_metadata_map["danlu"]
