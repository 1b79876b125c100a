"""Loss landscape of a run, and its page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from rich.console import Console

import danlu
from danlu.analysis import landscape as verb
from danlu.cli import main


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    monkeypatch.setattr(verb, "POINTS", 7)
    monkeypatch.setattr(verb, "MAX_SAMPLES", 256)


def figures(page: str) -> dict:
    return json.loads(re.search(r'id="figures">(.*?)</script>', page, re.S)[1])


def test_random_directions_show_a_minimum_and_the_way_there(digits_run, capsys):
    capsys.readouterr()
    assert main(["doctor", str(digits_run.folder), "--landscape", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["landscape"]
    drawn = figures((digits_run.folder / "landscape.html").read_text())
    losses = drawn["surface"]["data"][0]["customdata"]
    assert losses[3][3] == pytest.approx(found["loss"]) == min(map(min, losses)), "the weights lie in the middle"
    way = drawn["path"]["data"][1]
    assert way["x"][1] == way["y"][1] == 0.0
    assert found["samples"] == 256
    field = drawn["path"]["data"][0]
    assert min(field["x"]) <= min(way["x"])
    assert max(way["x"]) <= max(field["x"])
    assert max(map(max, field["customdata"])) > 1.5, "the first weights guess"
    assert "regenerated from the seed" in found["path_note"]


def test_eigenvectors_come_by_their_curvature(houses_run):
    found = danlu.landscape(houses_run, directions="eigenvectors")
    assert found.directions == "eigenvectors"
    assert found.samples > 0
    assert set(found.to_json()) == {"page", "directions", "samples", "loss", "path", "path_note"}
    drawn = figures(Path(found.page).read_text(encoding="utf-8"))["plane"]["data"][0]
    along = {"first": drawn["customdata"][3], "second": [row[3] for row in drawn["customdata"]]}
    bends = {name: line[0] + line[6] - 2 * line[3] for name, line in along.items()}
    assert bends["first"] > bends["second"] > 0, "the first direction is that of greatest curvature"


def test_wrong_input_is_refused(digits_run, tmp_path, capsys):
    for command, says in (
        (["doctor", str(tmp_path), "--landscape"], "RUN must be a run folder"),
        (["doctor", str(digits_run.folder), "--landscape", "--directions", "up"], "--directions must be random or"),
        (["doctor", str(digits_run.folder), "--directions", "random"], "--directions must be omitted"),
    ):
        capsys.readouterr()
        assert main(command) == 2
        assert says in capsys.readouterr().err


def test_kept_weights_are_the_path(tmp_path):
    settings = {"model": "mlp", "epochs": 6, "device": "cpu", "lr": 0.05, "optimizer": "momentum", "save_path": 3}
    run = danlu.train("digits", out=str(tmp_path / "run"), console=Console(quiet=True), **settings)
    assert list(run.snapshots()) == [2, 4, 6]
    found = danlu.landscape(run)
    names = list(found.path)
    assert names[0] == "first"
    assert names[-1] == "last"
    assert {"epoch 2", "epoch 4"} & {*names}
    assert found.path["best"] == [0.0, 0.0]
    assert str(len(names) - 3) in str(found.path_note)
    way = figures(Path(found.page).read_text(encoding="utf-8"))["path"]["data"][1]
    assert way["customdata"] == names
    distances = [sum(v * v for v in found.path[name]) for name in ("first", "epoch 2") if name in found.path]
    assert distances == sorted(distances, reverse=True), "later weights are nearer to the best"
