"""Runs killed by SIGKILL at random moments, any number of times, end with the bits of an undisturbed run."""

from __future__ import annotations

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
TRIALS = 5  # of each kind


def test_a_small_run_survives_its_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import kills

    whole = kills.undisturbed("small", tmp_path)
    assert kills.trial("small", 1, whole, tmp_path).faults == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classify", "detect", "folds", "processes", "heal"])
def test_runs_survive_their_kills(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import kills

    whole = kills.undisturbed(kind, tmp_path)
    trials = [kills.trial(kind, seed, whole, tmp_path) for seed in range(TRIALS)]
    assert not any(trial.faults for trial in trials), kills.table(trials)
    assert sum(trial.kills for trial in trials) > 0
