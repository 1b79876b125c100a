"""Semantic segmentation through every verb, on tiny images."""

from __future__ import annotations

import asyncio
import filecmp
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import danlu
from danlu.analysis.diagnose import diagnose
from danlu.engine.saving import Interrupted
from danlu.metrics.semantic import confusion_of, semantic_metrics
from danlu.refuse import Refusal
from danlu.tasks.semantic import most_likely

SETTINGS = {
    "task": "semantic",
    "epochs": 2,
    "save_every": 1e-9,
    "log_every": 1,
    "device": "cpu",
    "size": 32,
    "model.name": "unet",
    "detect.width": 4,
    "batch_size": 8,
    "doctor.budget": 0.9,
    "precision": "fp32",
    "channels_last": False,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("squares")
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for i in range(24):
        labels = np.zeros((24, 36), np.uint8)
        for k in (1, 2, 1):
            top, left = rng.integers(0, 14), rng.integers(0, 26)
            labels[top : top + 9, left : left + 9] = k
        labels[0, 0] = 255
        image = np.array([[60, 60, 60], [230, 40, 40], [40, 40, 230]], np.uint8)[labels % 255]
        Image.fromarray(image + rng.integers(0, 20, image.shape, dtype=np.uint8)).save(folder / f"images/{i}.png")
        Image.fromarray(labels).save(folder / f"masks/{i}.png")
    return folder


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    return danlu.train(str(data), out=str(tmp_path_factory.mktemp("runs") / "one"), **SETTINGS)


def test_it_trains_and_reports(run):
    assert run.task == "semantic"
    assert {"mIoU", "pixel_accuracy", "dice", "boundary_IoU"} <= set(run.metrics.test)
    page = run.report.read_text(encoding="utf-8")
    assert "Boundary IoU" in page
    assert 'class="layer"' in page


def test_the_service_answers_with_the_pixels_of_each_class(run, data):
    httpx, fastapi = pytest.importorskip("httpx"), pytest.importorskip("fastapi")
    from hotcoco.mask import decode

    from danlu.inference.image_predictor import ImagePredictor
    from danlu.serving.app import make_app

    file = data / "images" / "0.png"

    async def ask():
        app: fastapi.FastAPI = make_app(ImagePredictor(run, "cpu"))
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here")
        async with app.router.lifespan_context(app), client:
            return (await client.post("/predict", content=file.read_bytes())).json()["predictions"][0]

    answer, (own,) = asyncio.run(ask()), run.predict(file)
    assert answer["areas"] == own["areas"]
    assert answer["masks"].keys() == own["areas"].keys()
    for number, name in enumerate(run.classes):
        if name in answer["masks"]:
            kept = answer["masks"][name]
            assert (
                decode({"size": kept["size"], "counts": kept["counts"].encode()}) == (own.label_map == number)
            ).all()


def test_the_metric_is_that_of_the_written_label_maps(run, data, tmp_path):
    from danlu.config import DataConfig
    from danlu.data.formats import open_dataset
    from danlu.data.split import split_dataset

    dataset = open_dataset(DataConfig(path=str(data)), "semantic")
    index = split_dataset(dataset, DataConfig(path=str(data)), 0).test.tolist()
    files = [dataset.inputs.paths[i] for i in index]
    found = run.predict(*files, out=tmp_path)
    total = np.zeros((3, 3), np.int64)
    for file, one in zip(files, found):
        written = np.asarray(Image.open(tmp_path / "labels" / file.name))
        assert (written == one.label_map).all()
        assert written.shape == (24, 36)
        assert sum(one.areas.values()) == pytest.approx(1, abs=1e-5)
        total += confusion_of(np.asarray(Image.open(data / "masks" / file.name)), written, 3)
        assert Image.open(tmp_path / file.name).size == (36, 24)
    assert run.metrics.test["mIoU"] == pytest.approx(semantic_metrics(total)["mIoU"])


def test_pixels_that_augmentation_leaves_without_a_class_are_no_wrong_labels(run):
    ledger = (run.folder / "doctor.jsonl").read_text(encoding="utf-8")
    assert "target.max" in ledger
    assert "target.outside" not in ledger
    assert "data.label_range" not in {one.code for one in run.findings}


def test_evaluate_on_its_own_and_other_data(run, data, tmp_path):
    assert run.evaluate().metrics.test["mIoU"] == pytest.approx(run.metrics.test["mIoU"])
    other = run.evaluate(str(data), out=tmp_path / "page.html")
    assert other.samples == 24
    assert "Boundary IoU" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_resumed_run_is_the_same_bit_for_bit(run, data, tmp_path, sigterm_at):
    with sigterm_at(2), pytest.raises(Interrupted):
        danlu.train(str(data), out=str(tmp_path / "stopped"), **SETTINGS)
    again = danlu.train(resume=str(tmp_path / "stopped"))
    for which in ("best", "last"):
        assert filecmp.cmp(run.weights(which), again.weights(which), shallow=False)
    assert again.metrics.to_json() == run.metrics.to_json()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"model.name": "resnet20"}, "semantic"),
        ({"loss.name": "huber"}, "lovasz"),
        ({"detect.anchor": 3}, "detect.anchor"),
        ({"augment.mixup": 0.5}, "mixup"),
        ({"data.size": 40}, "multiple of 16"),
    ],
)
def test_wrong_settings_are_refused(data, settings, expected):
    kept = {key: value for key, value in SETTINGS.items() if not (key == "size" and "data.size" in settings)}
    with pytest.raises(Refusal, match=expected):
        danlu.train(str(data), **(kept | settings))


def test_the_doctor_examines_the_masks_before_training(data, tmp_path):
    """Padding around the images is no fault; ignored pixels and a class that covers everything are."""
    wanted = {"task": "semantic", "size": 32, "device": "cpu"}
    assert not diagnose(str(data), **wanted).findings
    bad = shutil.copytree(data, tmp_path / "bad")
    for mask in (bad / "masks").iterdir():
        labels = np.asarray(Image.open(mask)).copy()
        labels[:, 8:] = 255
        labels[:, :8] = 0
        labels[0, 0] = 1  # one pixel of 192
        Image.fromarray(labels).save(mask)
    found = {one.code: one for one in diagnose(str(bad), **wanted).findings}
    assert set(found) == {"data.one_pixel_class", "data.pixels_ignored"}
    assert found["data.pixels_ignored"].evidence["fraction"] == pytest.approx(28 / 36, abs=0.05)


@pytest.mark.parametrize("size", ["48", "80"])
def test_folded_pixels_need_a_size_they_divide(size, tmp_path):
    options = {"task": "semantic", "model": "unet", "size": int(size), "out": tmp_path / "run"}
    with pytest.raises(Refusal, match="multiple of 32 for unet with fold_pixels 2"):
        danlu.train("shapes", **options, **{"detect.fold_pixels": 2, "detect.levels": 5, "data.limit": 12})


def test_the_most_likely_class_is_the_first_of_the_largest_scores():
    scores = torch.randint(0, 3, (2, 5, 4, 6)).float()  # with many ties
    assert torch.equal(most_likely(scores, 1), torch.from_numpy(scores.numpy().argmax(1)))
