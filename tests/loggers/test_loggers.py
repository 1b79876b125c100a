"""Loggers are read back, and never stop a training."""

from __future__ import annotations

import importlib.util
import struct

import pytest
from rich.console import Console

import danlu
from danlu.doctor.curves.readers import tensorboard as events
from danlu.loggers import table, watcher
from danlu.run.record import Record

TINY = {"model": "linear", "data.limit": 200, "epochs": 3, "batch_size": 50, "device": "cpu", "precision": "fp32"}


def single(value: float) -> float:
    """The nearest float32."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


class Kept:
    """A logger that keeps what it is given."""

    def __init__(self, run, step: int) -> None:
        self.rows, self.end = [], None
        Kept.last = self

    def log(self, values, step: int) -> None:
        self.rows.append((step, dict(values)))

    def finish(self, settings, best) -> None:
        self.end = (dict(settings), dict(best))


class Broken(Kept):
    """A logger whose server is gone."""

    def log(self, values, step: int) -> None:
        raise ConnectionError("no route to\nhost")


def trained(logger, tmp_path, monkeypatch):
    """A run that is logged by a class of this file, and the lines it printed."""
    monkeypatch.setattr(watcher, "open_logger", lambda name, run, step: logger(run, step))
    monkeypatch.setattr(table, "find_spec", lambda name: True)
    console = Console(record=True, file=open("/dev/null", "w"), width=200)  # noqa: SIM115
    run = danlu.train("digits", out=tmp_path / "run", console=console, log="tensorboard", **TINY)
    return run, console.export_text()


def test_every_epoch_and_the_settings_are_logged_once(tmp_path, monkeypatch) -> None:
    run, _ = trained(Kept, tmp_path, monkeypatch)
    epochs = Record.read(run.folder / "metrics.jsonl").of("epoch")
    logged = [(step, values) for step, values in Kept.last.rows if "val/accuracy" in values]
    assert [step for step, _ in logged] == [row["step"] for row in epochs]
    assert [values["val/accuracy"] for _, values in logged] == [row["val.accuracy"] for row in epochs]
    settings, best = Kept.last.end
    assert settings["model.name"] == "linear"
    assert best["val/accuracy"] == run.metrics.val.accuracy


def test_a_failing_logger_warns_once_and_the_training_goes_on(tmp_path, monkeypatch) -> None:
    run, printed = trained(Broken, tmp_path, monkeypatch)
    assert printed.count("--log tensorboard is not used any more: ConnectionError: no route to host") == 1
    assert run.summary.epochs == 3


def test_a_missing_package_is_refused_before_the_training(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(table, "find_spec", lambda name: None)
    with pytest.raises(
        danlu.Refusal, match=r"--log mlflow needs the package mlflow; install it with `pip install danlu\[mlflow\]`"
    ):
        danlu.train("digits", out=tmp_path / "run", log="mlflow", **TINY)
    assert not (tmp_path / "run").exists()


def test_an_unknown_logger_is_refused(tmp_path) -> None:
    with pytest.raises(danlu.Refusal, match="tensorbord"):
        danlu.train("digits", out=tmp_path / "run", log="tensorbord", **TINY)


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="pip install danlu[tensorboard]")
def test_tensorboard_is_read_back_by_its_own_reader(tmp_path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = danlu.train("digits", out=tmp_path / "run", console=Console(quiet=True), log="tensorboard", **TINY)
    epochs = run.record.of("epoch")
    expected = [(row["step"], single(row["val.accuracy"])) for row in epochs]
    found = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    assert [(one.step, one.value) for one in found.Scalars("val/accuracy")] == expected
    _, curves = events.read(run.folder / "tensorboard")
    assert [(point.x, point.value) for point in curves["val/accuracy"]] == expected


def test_mlflow_is_read_back_by_its_client(tmp_path, monkeypatch) -> None:
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    run = danlu.train("digits", out=tmp_path / "run", console=Console(quiet=True), log="mlflow", **TINY)
    number = run.read_json("mlflow.json", default={})["run_id"]
    history = MlflowClient(tracking_uri=uri).get_metric_history(number, "val/accuracy")
    assert [(one.step, one.value) for one in history] == [
        (row["step"], row["val.accuracy"]) for row in run.record.of("epoch")
    ]


def test_wandb_writes_an_offline_run(tmp_path) -> None:
    pytest.importorskip("wandb")
    run = danlu.train("digits", out=tmp_path / "run", console=Console(quiet=True), log="wandb", **TINY)
    assert list((run.folder / "wandb").glob("offline-run-*/*.wandb"))
