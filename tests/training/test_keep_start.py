"""Fine-tuning never ends with weights that are worse on the validation set than those it started from."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from sklearn.datasets import load_sample_image

import danlu
from danlu.engine.checkpoint import read_weights

SIDE = 72
QUICK = {"size": 64, "epochs": 1, "device": "cpu", "precision": "fp32", "channels_last": False, "seed": 0}
DESTRUCTIVE_LR = 3.0


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """Crops of two photographs in train/ and val/, enough in val/ to compare by."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for name in ("china", "flower"):
        pixels = load_sample_image(f"{name}.jpg")
        for split, count in (("train", 12), ("val", 52)):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                top, left = rng.integers(0, 427 - SIDE), rng.integers(0, 640 - SIDE)
                crop = Image.fromarray(pixels[top : top + SIDE, left : left + SIDE])
                crop.save(root / split / name / f"{i:02}.png")
    return root


def train(photographs: Path, out: Path, **settings: object):
    return danlu.train(photographs, out=str(out), console=Console(quiet=True), **QUICK, **settings)


def head(run, which: str) -> torch.Tensor:
    return read_weights(run.weights(which))[1]["classifier.weight"]


def test_destroyed_weights_are_replaced_by_the_logistic_regression(photographs, tmp_path):
    run = train(photographs, tmp_path / "run", lr=DESTRUCTIVE_LR)
    summary = run.summary
    epochs = [row["val.accuracy"] for row in run.record.of("epoch")]
    assert summary.kept_start
    assert summary.metrics.val.accuracy > max(epochs)
    assert summary.metrics.train.accuracy is None, "the start was not measured on the training set"
    again = danlu.evaluate(run.folder, device="cpu")
    assert again.part == "val", "there is no test set"
    assert again.metrics.val.accuracy == summary.metrics.val.accuracy
    assert not torch.equal(head(run, "best"), head(run, "last")), "the last epoch, also the best, keeps its weights"
    assert "logistic regression" in (run.folder / "log.txt").read_text()
    assert "logistic regression" in (run.folder / "report.html").read_text()


def test_an_epoch_that_scores_as_high_is_kept(photographs, tmp_path):
    run = train(photographs, tmp_path / "run", lr=1e-6)
    best = run.record.of("epoch")[run.summary.best_epoch - 1]
    assert not run.summary.kept_start
    assert run.summary.metrics.val.loss == pytest.approx(best["val.loss"])


def test_few_validation_samples_do_not_decide(photographs, tmp_path):
    run = train(photographs, tmp_path / "run", lr=DESTRUCTIVE_LR, val=0.15)
    assert not run.summary.kept_start
