"""Advice does not lead in a circle: what an earlier run on the same data had is known, and not proposed again."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from rich.console import Console

import danlu
from danlu.advice.earlier import EarlierRun, earlier_runs
from danlu.advice.fixes import fixes, fixes_of_run
from danlu.config import Config, with_values
from danlu.doctor.finding import Finding
from danlu.run.folder import Run

QUICK = {"model": "mlp", "epochs": 2, "data.limit": 100, "device": "cpu", "console": Console(quiet=True)}
RUN = {
    "data.size": 28, "data.colour": "grey", "task": "classify", "model.name": "resnet20", "epochs": 10, "batch_size": 32,
    "optim.name": "adamw", "optim.lr": 3e-3, "optim.weight_decay": 0.01, "loss.name": "cross-entropy",
    "augment.preset": "light", "schedule.name": "one-cycle",
}  # fmt: skip


def finding(code: str) -> Finding:
    return Finding(code, "note", 0.5, "", {}, remedy="Train longer.")


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A run, one with another learning rate, and one with another optimiser; the first is deleted before the third."""
    runs = tmp_path_factory.mktemp("runs")
    danlu.train("digits", out=str(runs / "1"), lr=1e-3, **QUICK)
    danlu.train("digits", out=str(runs / "2"), lr=2e-3, **QUICK)
    shutil.rmtree(runs / "1")
    danlu.train("iris", out=str(runs / "other"), epochs=1, console=Console(quiet=True))
    danlu.train("digits", out=str(runs / "3"), lr=3e-3, optimizer="adam", **QUICK)
    return runs


def test_a_run_remembers_the_runs_before_it_on_the_same_data_and_theirs(three):
    found = {one.run.rpartition("/")[2]: one for one in earlier_runs(Run(three / "3"))}
    assert set(found) == {"1", "2"}
    assert found["2"].settings["optim.lr"] == 2e-3
    assert found["1"].settings["optim.lr"] == 1e-3
    assert found["1"].settings["optim.name"] == "adamw"
    assert found["1"].monitor == "accuracy"
    assert found["1"].samples == 270


def test_settings_of_an_earlier_run_that_was_no_better_are_not_proposed(three):
    run = Run(three / "3")
    config, summary = run.config, run.summary
    back = with_values(config, {"optim.name": "adam"})
    before = [replace(one, reached=0.0) for one in earlier_runs(run)]
    fix = fixes(back, 100, earlier=before)(finding("optim.slow_convergence")).remedy
    assert "adamw" not in fix or "was tried in" in fix
    better = replace(before[0], reached=1.0)
    low = replace(summary, metrics=replace(summary.metrics, val=replace(summary.metrics.val, accuracy=0.5)))
    assert better.is_better_than(low)
    assert not replace(better, reached=0.52).is_better_than(low), "270 samples: by chance"
    assert fixes_of_run(run, config, 100, "en", summary)(finding("data.leak")).remedy == "Train longer."


def test_slow_convergence_of_the_defaults_is_answered_by_more_epochs_and_not_by_another_optimiser():
    default = with_values(Config(), RUN | {"optim.name": "nesterov", "optim.lr": 0.025, "optim.weight_decay": 5e-4})
    assert fixes(default, 126)(finding("optim.slow_convergence")).remedy == "Try --epochs 20."
    other = with_values(Config(), RUN)
    assert "--optimizer nesterov" in fixes(other, 126)(finding("optim.slow_convergence")).remedy
    was = EarlierRun(
        "runs/1", {"optim.name": "nesterov", "optim.lr": 0.025, "optim.weight_decay": 5e-4}, "accuracy", 0.5, 27
    )
    assert fixes(other, 126, earlier=[was])(finding("optim.slow_convergence")).remedy == "Try --epochs 20."


def test_what_was_tried_is_named_where_nothing_else_is_left():
    config = with_values(Config(), RUN)
    was = EarlierRun("runs/1", {"epochs": 20}, "accuracy", 0.5, 27)
    remedy = fixes(config, 126, earlier=[was])(finding("fit.stopped_early")).remedy
    assert remedy == "--epochs 20 was tried in runs/1 and was no better. Train longer."


def test_two_findings_of_one_run_do_not_move_a_setting_in_opposite_directions():
    fix = fixes(with_values(Config(), RUN), 126)
    assert "--augment strong" in fix(finding("fit.overfitting")).remedy
    assert "--augment" not in fix(finding("fit.regularisation_too_strong")).remedy
    other = fixes(with_values(Config(), RUN), 126)
    assert "--augment none" in other(finding("fit.regularisation_too_strong")).remedy
    assert "--augment" not in other(finding("fit.overfitting")).remedy
