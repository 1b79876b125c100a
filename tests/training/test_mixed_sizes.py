"""Images that keep their aspect through training, resume, evaluation, prediction and the report."""

import filecmp

import numpy as np
import pytest
import torch
from PIL import Image

import danlu
from danlu.engine.saving import Interrupted
from danlu.inference.image_predictor import ImagePredictor
from danlu.models.mixed_sizes import outputs_of_sizes
from danlu.patch_grid import PatchGrid
from danlu.refuse import Refusal

SIZES = [(16, 16), (12, 24), (24, 12)]
SETTINGS = {
    "model": "vit-mini", "epochs": 2, "batch_size": 7, "val": 6, "test": 6, "device": "cpu", "precision": "fp32",
    "channels_last": False, "doctor.budget": 0.9, "save_every": 1e-9, "augment.contrast": 0.2, "augment.noise": 0.1,
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Dark and bright images of three aspects."""
    root = tmp_path_factory.mktemp("mixed")
    rng = np.random.default_rng(0)
    for i in range(30):
        name = ("bright", "dark")[i % 2]
        (root / name).mkdir(exist_ok=True)
        pixels = rng.integers(0, 160, (*SIZES[i % 3], 3)) + 90 * (name == "bright")
        Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{i:02}.png")
    return root


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    return danlu.train(str(data), out=str(tmp_path_factory.mktemp("runs") / "1"), tokens=16, **SETTINGS)


def test_the_signature_says_how_images_are_placed(run):
    signature = run.signature
    assert signature.placing == PatchGrid(patch=4, tokens=16)
    assert (signature.size, signature.canvas, signature.channels) == (16, 20, 3)
    assert [signature.placing.size(*one, 20) for one in SIZES] == [(16, 16), (8, 20), (20, 8)]
    assert run.config.augment.flip == "lr"
    assert "data:image/png" in (run.folder / "report.html").read_text(encoding="utf-8")
    assert run.evaluate().metrics.test["accuracy"] == run.metrics.test["accuracy"]


def test_predictions_equal_the_network_on_each_image_alone(run, data, tmp_path):
    files = [data / "dark" / "01.png", data / "bright" / "00.png", data / "dark" / "05.png"]
    together = danlu.load(run.folder).predict(*map(str, files), out=tmp_path)
    network, (mean, std) = (
        run.model,
        (torch.tensor(one)[:, None, None] for one in (run.signature.mean, run.signature.std)),
    )
    for file, found in zip(files, together):
        image = Image.open(file)
        height, width = run.signature.placing.size(image.height, image.width)
        small = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0))
        pixels = (torch.from_numpy(small.copy()).permute(2, 0, 1) / 255 - mean) / std
        with torch.no_grad():
            alone = outputs_of_sizes(network, [pixels])[0].softmax(0)
        assert list(found.probabilities.values()) == pytest.approx(alone.tolist(), abs=1e-5)
        assert run.predict(str(file))[0].probabilities == pytest.approx(found.probabilities, abs=2e-6)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["00.png", "01.png", "05.png"]
    served = ImagePredictor(run)
    assert served.predict([served.read(one) for one in files], ["a", "b", "c"])[2].label == together[2].label


def test_a_resumed_run_is_the_same_bit_for_bit(run, data, tmp_path, sigterm_at):
    with sigterm_at(2), pytest.raises(Interrupted):
        danlu.train(str(data), out=str(tmp_path / "stopped"), tokens=16, **SETTINGS)
    again = danlu.train(resume=str(tmp_path / "stopped"))
    for which in ("best", "last"):
        assert filecmp.cmp(run.weights(which), again.weights(which), shallow=False)
    assert again.metrics.to_json() == run.metrics.to_json()


def test_images_keep_their_size_and_are_read_by_workers(data, tmp_path):
    settings = SETTINGS | {"epochs": 1, "data.memory": False, "workers": 1, "tta": True}
    run = danlu.train(str(data), out=str(tmp_path / "1"), size="keep", **settings)
    assert run.signature.placing == PatchGrid(patch=4, tokens=1024, keep=True)
    assert (run.signature.size, run.signature.canvas) == (16, 24)
    assert (run.config.data.size, run.config.data.tokens, run.config.data.keep_size) == (16, 1024, True)
    assert len(run.predict(str(data / "dark"))) == 15


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": "resnet18"}, "a network that takes images of different sizes with tokens (vit-"),
        ({"model": "vit-mini", "augment.rotate": 5}, "augment.rotate must be omitted with tokens and size='keep'"),
        ({"model": "vit-mini", "model.norm": "batch"}, "model.norm must be layer or none"),
        ({"model": "vit-mini", "transform": lambda x: x}, "transform must be omitted with tokens"),
    ],
)
def test_wrong_settings_are_refused(data, tmp_path, settings, said):
    with pytest.raises(Refusal) as caught:
        danlu.train(str(data), out=str(tmp_path / "1"), tokens=16, **settings)
    assert said in str(caught.value)
    assert not (tmp_path / "1").exists()


def test_arrays_and_tables_are_refused(tmp_path, houses):
    with pytest.raises(Refusal, match=r"^size='keep' must be omitted for arrays, whose"):
        danlu.train("digits", out=str(tmp_path / "1"), size="keep", model="vit-mini")
    with pytest.raises(Refusal, match=r"^data.tokens must be omitted"):
        danlu.train(str(houses), target="price", out=str(tmp_path / "1"), tokens=16)
    with pytest.raises(Refusal, match=r"^data.keep_size must be given with"):
        danlu.train("digits", out=str(tmp_path / "1"), **{"data.keep_size": True})


def test_an_export_is_refused(run):
    with pytest.raises(Refusal, match="a network of images of different sizes"):
        danlu.export(run.folder)
