"""Planted faults: independent halves, healthy runs that learn, harmful faults, and baselines as published."""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[1] / "benchmarks" / "faults"
SHARDS = 40  # parts of the slow test of all cases


@pytest.fixture
def gym(monkeypatch: pytest.MonkeyPatch):
    """Import a module of benchmarks/faults by name."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for file in FOLDER.glob("*.py"):
        sys.modules.pop(file.stem, None)


def test_halves_share_neither_data_with_architecture_nor_names(gym) -> None:
    setups = gym("setups").SETUPS
    names = Counter(setup.name for setup in setups)
    assert set(names.values()) == {1}
    cases = gym("cases").cases()
    assert set(Counter((case.half, case.name) for case in cases).values()) == {1}
    seeds = {half: {case.twin.seed for case in cases if case.half == half} for half in ("tuned", "untuned")}
    assert seeds["tuned"].isdisjoint(seeds["untuned"])


def test_each_code_is_planted_in_both_halves_without_any_downloaded_data(gym, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DANLU_DATA", "/nowhere")
    cases, faults = gym("cases"), gym("faults").FAULTS
    assert len(faults) >= 45
    for half in ("tuned", "untuned"):
        found = cases.cases(half)
        absent = {fault.code for fault in faults.values()} - {case.codes[0] for case in found if case.codes}
        # The untuned half needs MNIST for its transformer, and MNIST or CIFAR-10 for convolutions without shortcuts.
        assert absent <= {"optim.no_warmup", "data.axes_scrambled"}
        assert sum(case.kind == "healthy" for case in found) >= sum(case.kind != "healthy" for case in found)


def test_a_planted_fault_is_really_in_the_run(gym) -> None:
    faults, setups = gym("faults").FAULTS, {setup.name: setup for setup in gym("setups").SETUPS}
    base = setups["digits_mlp2"].but(epochs=1)
    still = base.but(optim=replace(base.optim, lr=0.0))
    for setup, times in ((still, 1), (faults["no zero_grad"].plant(still, None), 2)):
        loop = setup.make()
        batch = next(iter(loop.train_loader))
        loop.train_step(*batch)
        first = loop.model[-1].bias.grad.clone()
        loop.train_step(*batch)
        torch.testing.assert_close(loop.model[-1].bias.grad, times * first)
    noisy = faults["label noise"].plant(base, 0.4).make().data
    assert (noisy.y != base.make().data.y).float().mean().item() == pytest.approx(0.4, abs=0.01)
    leaky = faults["leak"].plant(base, (1.0, 0)).make().data
    assert (leaky.x_val.flatten(1)[:, None] == leaky.x.flatten(1)).all(2).any(1).all()


def test_a_run_is_the_same_each_time(gym) -> None:
    base = gym("setups").SETUPS[0].but(epochs=2)
    assert base.make().run() == base.make().run()


def test_baselines_report_as_in_their_papers(gym) -> None:
    faults, setups = gym("faults").FAULTS, {setup.name: setup for setup in gym("setups").SETUPS}
    baselines = gym("baselines")

    def codes(watcher, name: str, value) -> set[str]:
        held = []
        watch = lambda *arguments: held.append(watcher(*arguments)) or held[0]  # noqa: E731
        faults[name].plant(setups["digits_mlp2"].but(epochs=5), value).make().run(watch)
        return {finding.code for finding in held[0].findings}

    assert codes(baselines.AutoTrainer, "negative biases", (1.0, -10.0)) == {"activation.dead_relu"}
    assert codes(baselines.AutoTrainer, "NaN in a sample", 3) == {"gradient.exploding"}
    assert "data.not_normalised" in codes(baselines.Umlaut, "raw scale", (64.0, 128.0))
    assert "model.output_mismatch" in codes(
        baselines.Umlaut, "softmax before cross entropy", lambda: torch.nn.Softmax(dim=1)
    )


def test_quick_and_sample_are_fixed_subsets(gym) -> None:
    cases = gym("cases")
    every = cases.cases("tuned")
    fixed, third = cases.quick(every), cases.sample(every, 1 / 3, seed=1)
    assert [case.name for case in fixed] == [case.name for case in cases.quick(cases.cases("tuned"))]
    assert {case.codes[0] for case in fixed if case.codes} == {case.codes[0] for case in every if case.codes}
    assert [case.name for case in third] == [case.name for case in cases.sample(every, 1 / 3, seed=1)]
    assert [case.name for case in third] != [case.name for case in cases.sample(every, 1 / 3, seed=2)]
    assert len(third) == pytest.approx(len(every) / 3, abs=2)


def test_bounds_notice_a_missing_finding_and_false_alarms(gym) -> None:
    bounds, outcome = gym("bounds"), gym("score").Outcome

    def run(planted: str, found: str):
        said = ((found, "error"),) if found else ()
        codes = (planted,) if planted else ()
        return outcome("danlu", "a run", "tuned", "fault" if planted else "healthy", codes, codes, said, 1.0)

    good = [run(f"loop.{letter}", f"loop.{letter}") for letter in "abcdefghij" for _ in range(4)] + [run("", "")] * 40
    assert bounds.broken(good) == []
    silent = [run(one.planted[0], "") if one.planted == ("loop.a",) else one for one in good[:4]] + good[4:]
    assert any("loop.a" in sentence for sentence in bounds.broken(silent))
    assert any("false alarms" in sentence for sentence in bounds.broken(good + [run("", "loop.a")] * 4))


def test_each_program_trains_and_every_fault_of_it_is_planted(gym) -> None:
    programs, cases = gym("programs"), gym("cases").cases("tuned")
    kinds = {name for name, _ in programs.PLANTED}
    assert kinds == set(programs.KINDS)
    for name, fault in programs.PLANTED:
        planted = next(case for case in cases if case.name == f"{name}: {fault} / program")
        assert planted.build().fault == fault
        assert planted.twin.fault == ""
    for program in programs.PROGRAMS.values():
        if program.half == "tuned" and program.name in ("policy gradient", "contrast"):
            course = program.make().kind(program, lambda *arguments: nullcontext())
            assert 0 <= next(course) <= 1


@pytest.mark.slow
def test_the_doctor_names_the_fault_of_a_program_and_nothing_without_it(gym) -> None:
    programs, examine, cases = gym("programs"), gym("score").examine, gym("cases").cases("tuned")
    named = {case.name: case for case in cases}
    sound = examine("danlu", named["healthy: contrast / 0"])
    assert not sound.false_alarm
    faulty = examine("danlu", named["contrast: no zero_grad / program"])
    assert faulty.right_first
    assert len(programs.PROGRAMS) == 2 * len(programs.KINDS)


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(SHARDS))
def test_healthy_runs_learn_and_faults_do_harm(gym, shard: int) -> None:
    verify = gym("verify")
    objections = {case.name: verify.objection(case) for case in gym("cases").cases()[shard::SHARDS]}
    assert not {name: reason for name, reason in objections.items() if reason}
