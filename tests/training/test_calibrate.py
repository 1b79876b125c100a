"""The temperature is kept with the weights and applied wherever a classifier tells its confidence."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace

import pytest
import torch

from danlu.deployment.graph import graph_of
from danlu.engine.checkpoint import read_weights, save_weights
from danlu.inference.evaluation_data import own_data
from danlu.inference.image_predictor import ImagePredictor
from danlu.inference.load import load
from danlu.inference.loaded_run import LoadedRun
from danlu.inference.measure import measure
from danlu.inference.prediction import Prediction
from danlu.metrics.calibration import fit_temperature
from danlu.metrics.classification import expected_calibration_error
from danlu.report.run_report import write_page
from danlu.run.signature import Signature


def logits_of(run: LoadedRun, split: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Raw outputs of the best weights, targets and sample numbers of a split."""
    found = measure(run.network, own_data(run, run.signature, run.config, split), split).evaluation
    return found.outputs, found.targets, found.index


def test_fitted_on_validation_and_kept_with_both_weights(digits_run):
    outputs, targets, _ = logits_of(digits_run, "val")
    assert digits_run.signature.temperature == fit_temperature(outputs, targets) != 1
    last, _ = read_weights(digits_run.weights("last"))
    assert last.temperature != 1
    found = digits_run.summary.calibration
    assert found is not None
    assert found.temperature == digits_run.signature.temperature
    assert found.samples == len(targets)
    outputs, targets, _ = logits_of(digits_run, "test")
    assert found.before["test"] == pytest.approx(expected_calibration_error(outputs.softmax(1), targets))
    scaled = (outputs / found.temperature).softmax(1)
    assert found.after["test"] == pytest.approx(expected_calibration_error(scaled, targets))
    assert digits_run.metrics.test.ece == pytest.approx(found.after["test"])
    assert digits_run.metrics.val.ece == pytest.approx(found.after["val"])


@pytest.fixture(scope="module")
def scaled_run(coloured_run, tmp_path_factory) -> LoadedRun:
    """The run on coloured images, whose validation set is too small to fit a temperature, with one of 2."""
    folder = tmp_path_factory.mktemp("scaled") / "run"
    shutil.copytree(coloured_run.folder, folder)
    weights = folder / "weights" / "best.safetensors"
    save_weights(weights, coloured_run.model, replace(coloured_run.signature, temperature=2.0))
    return load(folder)


def probabilities_of(predictions: list[Prediction]) -> torch.Tensor:
    return torch.tensor([list((one.probabilities or {}).values()) for one in predictions])


def test_every_way_to_a_prediction_gives_the_same_probabilities(scaled_run, coloured_run, coloured):
    files = sorted(coloured.glob("*/0[0-3].png"))
    found, plain = probabilities_of(scaled_run.predict(*files)), probabilities_of(coloured_run.predict(*files))
    assert torch.allclose(found, (plain.log() / 2).softmax(1), atol=1e-3)
    assert torch.equal(found.argmax(1), plain.argmax(1))
    predictor = ImagePredictor(scaled_run)  # of danlu serve
    images = [predictor.read(file) for file in files]
    served = predictor.predict(images, [str(file) for file in files])
    assert torch.allclose(found, probabilities_of(served), atol=1e-5)
    batch = torch.stack([torch.from_numpy(one) for one in images]).permute(0, 2, 3, 1)
    assert torch.allclose(found, graph_of(scaled_run)(batch), atol=1e-5)  # of danlu export


def test_views_are_averaged_after_scaling_in_prediction_and_evaluation(scaled_run):
    """Test-time augmentation: the probabilities of the evaluation are those of the prediction."""
    config = scaled_run._with_settings({"tta": True})
    prepared = own_data(scaled_run, scaled_run.signature, config, "test")
    evaluation = measure(scaled_run.network, prepared, "test").evaluation
    files = [f"{prepared.dataset.path}/{prepared.dataset.name_of(int(i))}" for i in evaluation.index]
    predicted = probabilities_of(scaled_run.predict(*files, tta=True))
    assert torch.allclose((evaluation.outputs / 2).softmax(1), predicted, atol=1e-4)


def test_weights_of_before_have_a_temperature_of_1(digits_run, tmp_path):
    fields = {key: value for key, value in asdict(digits_run.signature).items() if key != "temperature"}
    assert Signature.from_json(json.dumps(fields)).temperature == 1
    with pytest.raises(ValueError, match="temperature"):
        Signature.from_json(json.dumps(fields | {"temperature": 0}))
    save_weights(tmp_path / "old.safetensors", digits_run.model, replace(digits_run.signature, temperature=1.0))
    assert read_weights(tmp_path / "old.safetensors")[0].temperature == 1


def test_report_shows_the_error_before_and_after(digits_run):
    page = write_page(digits_run.folder).read_text(encoding="utf-8")
    assert "before softmax, fitted on the validation set" in page


def test_regression_has_none(houses_run):
    assert houses_run.summary.calibration is None
    assert houses_run.signature.temperature == 1
