"""Predictions say which inputs are unlike the training data."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from sklearn.datasets import load_digits

import danlu
from danlu.cli import main
from danlu.inference.familiarity import MIN_SAMPLES, SHRINKAGE, TrainingFeatures
from danlu.inference.image_predictor import ImagePredictor
from danlu.refuse import Refusal

UNLIKE = {
    "noise": np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1)).astype(np.uint8),
    "black": np.zeros((1, 8, 8, 1), np.uint8),
}


@pytest.mark.parametrize("width", [5, 90])  # fewer and more features than samples
def test_the_distance_is_that_of_mahalanobis(width: int) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3 * 2  # classes 0, 2 and 4
    train = np.float64(np.float16(rng.normal(size=(60, width)) + labels[:, None]))
    val, other = rng.normal(size=(40, width)), 3 + rng.normal(size=(7, width))
    kept = TrainingFeatures.fit(torch.tensor(train), torch.tensor(labels), torch.tensor(val), "head")
    assert kept is not None
    means = {k: train[labels == k].mean(0) for k in (0, 2, 4)}
    covariance = np.cov((train - np.array([means[k] for k in labels])).T, ddof=0)
    inverse = np.linalg.inv(covariance + SHRINKAGE * covariance.trace() / width * np.eye(width))

    def nearest(x: np.ndarray) -> list[float]:
        return [min(mahalanobis(one, mean, inverse) for mean in means.values()) for one in x]

    limit = np.quantile(nearest(val), 0.99, method="higher")
    assert kept.distances(torch.tensor(other)).numpy() == pytest.approx(np.array(nearest(other)) / limit, rel=1e-4)


def test_few_or_constant_features_say_nothing() -> None:
    few, enough, labels = torch.randn(MIN_SAMPLES - 1, 4), torch.randn(MIN_SAMPLES, 4), torch.zeros(MIN_SAMPLES)
    assert TrainingFeatures.fit(few, labels[1:], enough, "head") is None
    assert TrainingFeatures.fit(enough, labels, few, "head") is None
    assert TrainingFeatures.fit(torch.ones(40, 4), torch.zeros(40), torch.ones(40, 4), "head") is None


def test_digits_are_near_and_other_images_far(digits_run) -> None:
    digits = np.rint(load_digits().images * (255 / 16)).astype(np.uint8)[..., None]
    far = np.mean([one.distance > 1 for one in digits_run.predict(digits)])
    assert far < 0.03
    for images in UNLIKE.values():
        assert np.mean([one.distance > 1 for one in digits_run.predict(images)]) > 0.8
    predictor = ImagePredictor(digits_run)  # of danlu serve
    one = predictor.predict([np.zeros((1, 8, 8), np.uint8)], ["black"])
    assert one[0].distance == pytest.approx(digits_run.predict(UNLIKE["black"])[0].distance)


def test_predict_names_them(digits_run, tmp_path, capsys) -> None:
    from PIL import Image

    for i in range(3):
        Image.fromarray(UNLIKE["noise"][i, ..., 0]).save(tmp_path / f"noise {i}.png")
    assert main(["predict", str(digits_run.folder), str(tmp_path), "--json"]) == 0
    out, told = capsys.readouterr()
    rows = json.loads(out)["predictions"]
    assert any(row["distance"] > 1 for row in rows)
    assert "unlike the training data" in told
    assert "noise" in told.partition("unlike the training data")[2]


def test_a_run_without_features_has_no_distance_and_damaged_ones_are_named(digits_run, tmp_path) -> None:
    shutil.copytree(digits_run.folder, tmp_path / "run")
    kept = tmp_path / "run" / "weights" / "features.safetensors"
    kept.write_bytes(kept.read_bytes()[:100])
    with pytest.raises(Refusal, match=r"features\.safetensors .*; remove it, and predictions are not compared"):
        danlu.load(tmp_path / "run").predict(UNLIKE["black"])
    kept.unlink()
    assert danlu.load(tmp_path / "run").predict(UNLIKE["black"])[0].distance is None
