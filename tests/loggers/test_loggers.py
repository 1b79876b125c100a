"""Loggers are read back, and never stop a training."""

from __future__ import annotations

import importlib.util
import json
import sqlite3
import struct
import sys

import pytest
from rich.console import Console

import danlu
from danlu.cli import main
from danlu.doctor.curves.readers import tensorboard as events
from danlu.doctor.curves.readers import wandb as offline
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
        danlu.Refusal, match=r"^log mlflow needs the package mlflow; install it with `pip install danlu\[mlflow\]`"
    ):
        danlu.train("digits", out=tmp_path / "run", log="mlflow", **TINY)
    assert not (tmp_path / "run").exists()


def test_a_missing_package_is_one_sentence_on_the_command_line(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(table, "find_spec", lambda name: None)
    assert main(["train", "digits", "--log", "mlflow"]) == 2
    assert capsys.readouterr().err.startswith("danlu: --log mlflow needs the package mlflow; install it with")


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


def trained_twice(tmp_path, name: str):
    """A run of two epochs that is resumed for a third, and its steps with the validation accuracy."""
    quiet = Console(quiet=True)
    settings = TINY | {"epochs": 2, "keep_state": True, "log": name}
    danlu.train("digits", out=tmp_path / "run", console=quiet, **settings)
    run = danlu.train(resume=tmp_path / "run", epochs=3, console=quiet)
    return run, [(row["step"], row["val.accuracy"]) for row in run.record.of("epoch")]


def test_mlflow_is_read_back_by_its_client(tmp_path, monkeypatch) -> None:
    pytest.importorskip("mlflow", reason="pip install danlu[mlflow]")
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    run, expected = trained_twice(tmp_path, "mlflow")
    client, number = MlflowClient(tracking_uri=uri), run.read_json("mlflow.json", default={})["run_id"]
    assert [(one.step, one.value) for one in client.get_metric_history(number, "val/accuracy")] == expected
    assert client.get_run(number).data.params["model.name"] == "linear"
    assert client.get_run(number).data.metrics["best/accuracy"] == run.metrics.val.accuracy


def test_wandb_writes_offline_runs_of_one_id(tmp_path, monkeypatch) -> None:
    pytest.importorskip("wandb", reason="pip install danlu[wandb]")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    run, expected = trained_twice(tmp_path, "wandb")
    files = sorted((run.folder / "wandb").glob("offline-run-*/*.wandb"))
    assert len({file.name for file in files}) == 1
    points = [point for file in files for point in offline.read(file)[1]["val/accuracy"]]
    assert [(point.x, point.value) for point in points] == expected


def test_trackio_is_read_back_from_its_database(tmp_path, monkeypatch) -> None:
    pytest.importorskip("trackio", reason="pip install danlu[trackio]")
    (tmp_path / "trackio").mkdir()
    for name, module in list(sys.modules.items()):  # each has read $TRACKIO_DIR at its import
        if name.startswith("trackio") and hasattr(module, "TRACKIO_DIR"):
            monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path / "trackio")
    run, expected = trained_twice(tmp_path, "trackio")
    name = run.read_json("trackio.json", default={})["name"]
    (file,) = (tmp_path / "trackio").glob("danlu*.db")
    with sqlite3.connect(file) as database:
        rows = list(database.execute("select step, metrics from metrics where run_name = ? order by id", (name,)))
        kept = list(database.execute("select config from configs where run_name = ?", (name,)))
    found = [(step, values["val/accuracy"]) for step, text in rows if "val/accuracy" in (values := json.loads(text))]
    assert found == expected
    assert json.loads(kept[0][0])["model.name"] == "linear"
