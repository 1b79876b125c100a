"""The doctor in danlu's training loop: the calls it gets, and no findings for healthy trainings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import danlu
from danlu.doctor.derived.progress import skills
from danlu.doctor.ledger import Ledger

SOUND = [
    {"loss.name": "focal"},
    {"loss.name": "binary-cross-entropy"},
    {"model.name": "linear"},
    {"optim.name": "muon", "model.name": "lenet"},
]


@pytest.mark.parametrize("settings", SOUND, ids=lambda s: next(iter(s.values())))
def test_features_of_danlu_raise_no_findings(settings: dict[str, str], tmp_path: Path) -> None:
    run = danlu.train("digits", epochs=3, out=str(tmp_path / "run"), **settings)
    assert [f for f in run.summary["findings"] if f["severity"] != "note"] == []


def test_the_doctor_knows_every_class_of_the_validation(tmp_path: Path) -> None:
    run = danlu.train("digits", epochs=2, out=str(tmp_path / "run"))
    ledger = Ledger.read(tmp_path / "run" / "doctor.jsonl")
    epochs = [row for row in run.record.rows if row["kind"] == "epoch"]
    frequencies, right = ledger.values("class.actual", "val"), ledger.values("class.correct", "val")
    assert len(right) == 2
    assert sum(ledger.last("class.predicted", "val")) == pytest.approx(1)
    for row, frequency, correct in zip(epochs, frequencies, right):
        assert np.dot(frequency, correct) == pytest.approx(row["val.accuracy"], abs=1e-6)


def test_half_the_squared_error_is_measured_against_half_the_variance(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 4))
    np.savez(tmp_path / "noise.npz", x=x.astype("float32"), y=rng.normal(size=600).astype("float32"))
    danlu.train(str(tmp_path / "noise.npz"), epochs=2, out=str(tmp_path / "run"))
    ledger = Ledger.read(tmp_path / "run" / "doctor.jsonl")
    assert ledger.last("loss.kind") == "half_mse"
    assert max(skills(ledger, "train")) < 0.3  # targets without any relation to the inputs


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_outputs_of_training_are_seen(precision: str, tmp_path: Path) -> None:
    """The loop lets them go before it tells the loss; without them the first loss of bad weights means nothing."""
    settings = {"model": "mlp", "model.init": "normal:2", "epochs": 2, "precision": precision, "device": "cpu"}
    run = danlu.train("digits", out=str(tmp_path / "run"), **settings)
    ledger = Ledger.read(tmp_path / "run" / "doctor.jsonl")
    assert ledger.last("output.count") == 10
    assert ledger.has("label.contradicted", "train")
    assert run.summary["findings"][0]["code"] == "model.bad_init"
