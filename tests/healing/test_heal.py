"""Healing with real trainings: a planted bad setting is fixed, a healthy run is unchanged."""

from __future__ import annotations

import json
import math
import time
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console
from scipy.stats import ttest_rel

import danlu
from danlu.cli import main
from danlu.config import load_yaml, resolve
from danlu.healing.trials import OutOfTime, Trials
from danlu.metrics.paired_test import paired_test
from danlu.python_calls import on_command_line
from danlu.run.folder import Run

QUIET = Console(quiet=True)
PLAIN = {"device": "cpu", "precision": "fp32", "channels_last": False, "augment": "none", "model": "mlp"}


def trained(out: Path, **settings) -> Path:
    with suppress(danlu.Failure):  # a loss that is not finite is what some of these are about
        danlu.train("digits", out=str(out), console=QUIET, **PLAIN | settings)
    return out


def kept(result: dict) -> list[dict]:
    return [attempt for attempt in result["attempts"] if attempt["kept"]]


def test_lr_far_too_low_is_found_and_raised(tmp_path, capsys):
    run = trained(tmp_path / "run", lr=3e-6, epochs=4, **{"data.limit": 400})
    capsys.readouterr()
    assert main(["doctor", str(run), "--heal", "--seeds", "2", "--json"]) == 0
    out, said = capsys.readouterr()
    result = json.loads(out)["healing"]
    kept_file = json.loads((run / "heal.json").read_text())
    kept_file.pop("messages")  # for translations
    assert result == kept_file
    first = result["attempts"][0]
    assert first["finding"] == "optim.lr_too_low"
    assert first["kept"]
    assert result["settings"]["optim.lr"] > 1e-3
    assert result["after"] > result["before"] + 0.2
    assert first["difference"] == pytest.approx(first["after"] - first["before"])
    assert 0 < first["noise"] < first["difference"]
    assert result["command"] == f"danlu train --config {run}/config.yaml --optim.lr {result['settings']['optim.lr']:g}"
    assert result["command"] in said
    assert "difference" in said, "the table, and what to paste"
    page = (run / "report.html").read_text()
    assert 'id="healing"' in page
    assert result["command"] in page
    # With and without the change: real runs, of the same seeds, on the same split, for the same epochs.
    trials = {name: load_yaml(run / "heal" / name / "config.yaml") for name in ("0/seed-0", "0/seed-1", "1/seed-1")}
    assert {(one.data.seed, one.epochs) for one in trials.values()} == {(0, 4)}
    assert [one.seed for one in trials.values()] == [0, 1, 1]
    assert not list((run / "heal").rglob("*.safetensors")), "a trial's weights are of no use"


def test_healthy_run_is_not_healed(digits_run):
    result = danlu.heal(digits_run.folder, seeds=2, budget=20)
    assert result["settings"] == {}
    assert result["command"] is None
    assert not kept(result)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bad", "fixed"),
    [
        ({"lr": 3.0}, "optim.lr"),
        ({"optim.weight_decay": 10.0}, "optim.weight_decay"),
        ({"model.init": "zero"}, "model.init"),
        ({"optim.name": "momentum", "lr": 50.0}, "optim.lr"),
    ],
    ids=["rate", "decay", "zero weights", "loss not finite"],
)
def test_healing_fixes_the_planted_fault(tmp_path, bad, fixed):
    run = trained(tmp_path / "run", epochs=8, **bad)
    result = danlu.heal(run, budget=120)
    assert fixed in result["settings"]
    assert result["after"] > 0.9
    again = danlu.train(config=run / "config.yaml", out=str(tmp_path / "again"), console=QUIET, **result["settings"])
    assert again.summary["metrics"]["test"]["accuracy"] > 0.9


def test_no_change_is_tried_without_time_and_all_are_named(tmp_path):
    run = trained(tmp_path / "run", lr=3e-6, epochs=4, **{"data.limit": 400})
    result = danlu.heal(run, seeds=2, budget=1e-3)
    assert result["attempts"] == []
    assert result["stopped"] == "the budget of 0.001 s is used up"
    assert "optim.lr_too_low" in {one["finding"] for one in result["not_tried"]}
    opened = Run.open(run)
    trials = Trials(opened, resolve(opened.config), run / "heal", 2, QUIET, deadline=time.perf_counter())
    with pytest.raises(OutOfTime):  # within its first epoch
        trials._train({}, run / "heal" / "0" / "seed-0")
    assert not list((run / "heal").rglob("*.safetensors"))


@pytest.mark.slow
def test_a_short_budget_shortens_the_trials(tmp_path):
    run = trained(tmp_path / "run", lr=3e-6, epochs=40)
    result = danlu.heal(run, seeds=2, budget=8)
    assert result["seconds"] <= 8
    assert not list((run / "heal").rglob("earlier.json"))
    assert 5 <= result["epochs"] < 40
    assert "of 40 epochs" in result["trials"]


def test_differences_are_judged_against_students_t():
    before, after = [0.90, 0.92, 0.91], [0.93, 0.94, 0.95]
    verdict = paired_test(before, after, high=True, min_gain=0.0)
    assert verdict.better
    assert verdict.difference == pytest.approx(0.03)
    for alpha in (0.05, 0.01):  # better exactly where scipy's paired test says so
        p = ttest_rel(after, before, alternative="greater").pvalue
        assert paired_test(before, after, high=True, min_gain=0.0, alpha=alpha).better == (p < alpha)
    assert not paired_test(before, after, high=False, min_gain=0.0).better
    assert not paired_test(before, after, high=True, min_gain=0.05).better, "less than one sample of validation"
    assert not paired_test(before, before, high=True, min_gain=0.0).better


def test_improvement_within_the_noise_is_inconclusive():
    for least in (0.001, 0.1):  # also where it is less than the smallest gain that counts: more seeds may show more
        assert paired_test([0.90, 0.92, 0.91], [0.90, 0.95, 0.92], high=True, min_gain=least).inconclusive
    for after in ([0.93, 0.95, 0.94], [0.90, 0.92, 0.91], [0.80, 0.82, 0.81]):
        assert not paired_test([0.90, 0.92, 0.91], after, high=True, min_gain=0.001).inconclusive, (
            "better, the same, worse"
        )


@pytest.mark.slow
def test_remedy_is_compared_on_equal_seeds(tmp_path):
    run = trained(tmp_path / "run", epochs=15, **{"model.dropout": 0.9})
    result = danlu.heal(run, budget=120)
    assert result["settings"]["model.dropout"] == 0.2
    for attempt in result["attempts"]:
        assert attempt["seeds"] in (3, 6, 12), "one look at three seeds, a second at three more, a third at six more"
        assert len(list((run / "heal" / "0").glob("seed-*"))) >= attempt["seeds"], "the run as it is has the same ones"
        if attempt["kept"]:
            assert attempt["difference"] > attempt["noise"]
            assert attempt["difference"] == pytest.approx(attempt["after"] - attempt["before"])


@pytest.mark.slow
def test_two_planted_faults_are_fixed_one_after_the_other(tmp_path):
    faults = {"optim.clip_norm": 1e-3, "model.dropout": 0.9}
    run = trained(tmp_path / "run", epochs=15, **{"optim.name": "momentum"}, **faults)
    result = danlu.heal(run, budget=200)
    first, second, *_ = remedies = kept(result)
    assert {first["finding"], second["finding"]} == {"optim.clipping_always", "fit.regularisation_too_strong"}
    assert second["before"] >= first["after"] - 0.05, "judged against what is kept, not against the run"
    assert second["after"] > first["after"] > first["before"]
    assert set(result["settings"]) == {key for attempt in remedies for key in attempt["change"]} >= set(faults)


def test_training_that_no_longer_fails_is_better():
    broken = [None, None, None]
    assert paired_test(broken, [0.5, 0.5, None], high=True, min_gain=0.0).better
    assert not paired_test([0.9, 0.9, 0.9], [None, 0.99, 0.99], high=True, min_gain=0.0).better
    same = paired_test(broken, broken, high=True, min_gain=0.0)
    assert not same.better
    assert same.difference is None
    assert not paired_test([None, None, 0.5], [None, None, 0.9], high=True, min_gain=0.0).better, (
        "the noise is unknown for one pair"
    )
    assert not math.isnan(paired_test([0.5, 0.5], [0.5, 0.5], high=True, min_gain=0.0).noise)


def refused(command: list[str], capsys) -> str:
    capsys.readouterr()
    assert main(command) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_wrong_input_is_refused_in_a_sentence(tmp_path, digits_run, capsys):
    run = str(digits_run.folder)
    assert "RUN must be a run folder" in refused(["doctor", str(tmp_path), "--heal"], capsys)
    assert "RUN must be a run folder" in refused(["doctor", "digits", "--heal"], capsys)
    assert "--seeds must be an integer from 2" in refused(["doctor", run, "--heal", "--seeds", "1"], capsys)
    assert "--seeds must be" in refused(["doctor", run, "--heal", "--seeds", "many"], capsys)
    assert "--budget must be a number of seconds" in refused(["doctor", run, "--heal", "--budget", "-3"], capsys)
    assert "--budget must be omitted without --heal" in refused(["doctor", run, "--budget", "3"], capsys)
    assert "did you mean '--heal'" in refused(["doctor", run, "--heall"], capsys)


def test_healing_of_another_loop_is_refused(tmp_path, capsys):
    (tmp_path / "doctor.jsonl").write_text("")
    for target in (tmp_path, tmp_path / "doctor.jsonl"):
        assert "not danlu's own" in refused(["doctor", str(target), "--heal"], capsys)


def test_a_run_without_the_doctor_cannot_be_healed(tmp_path, capsys):
    run = trained(tmp_path / "run", epochs=1, **{"doctor.budget": 0, "data.limit": 100})
    assert "trained without the doctor" in refused(["doctor", str(run), "--heal"], capsys)


def test_the_budget_counts_from_the_start_of_a_command(tmp_path):
    run = trained(tmp_path / "run", lr=3e-6, epochs=4, **{"data.limit": 400})
    with on_command_line():
        began = time.perf_counter()
        time.sleep(0.05)
        result = danlu.heal(run, seeds=2, budget=0.04)
        assert time.perf_counter() - began >= result["seconds"] > 0.05
    assert result["attempts"] == []
    assert result["stopped"] == "the budget of 0.04 s is used up"
