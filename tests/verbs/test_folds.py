"""k-fold cross validation (claim E1): every sample validates once, the test part stays out, one model is kept."""

import statistics

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

import danlu
from danlu.prepare import prepare
from danlu.verbs import train as train_module

SETTINGS = {
    "folds": 3,
    "model": "mlp",
    "model.width": (24,),
    "epochs": 4,
    "augment": "none",
    "precision": "fp32",
    "channels_last": False,
    "device": "cpu",
}
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Refit -> the run, trained once."""
    found = {}

    def of(refit: str):
        if refit not in found:
            out = tmp_path_factory.mktemp("folds") / refit
            found[refit] = danlu.train("digits", refit=refit, out=str(out), console=QUIET, **SETTINGS)
        return found[refit]

    return of


def fold_runs(run):
    return [danlu.load(run.folder / f"fold-{n}") for n in range(3)]


@pytest.mark.parametrize("refit", ["all", "best", "ensemble"])
def test_the_mean_and_the_deviation_are_those_of_the_folds(refit, runs):
    summary = runs(refit).summary
    assert summary["refit"] == refit
    values = [fold.summary["metrics"]["val"] for fold in fold_runs(runs(refit))]
    assert [row["val"] for row in summary["folds"]] == values
    for name in ("loss", "accuracy"):
        each = [row[name] for row in values]
        assert len(set(each)) > 1
        assert summary["fold_mean"][name] == pytest.approx(statistics.mean(each))
        assert summary["fold_std"][name] == pytest.approx(statistics.stdev(each))


@pytest.mark.parametrize("refit", ["all", "best", "ensemble"])
def test_the_test_part_is_looked_at_once_and_by_the_kept_model_only(refit, runs):
    run = runs(refit)
    assert run.summary["test_looks"] == 1
    assert run.summary["metrics"]["test"]["accuracy"] > 0.8
    for fold in fold_runs(run):
        assert fold.summary["test_looks"] == 0
        assert fold.summary["metrics"]["test"] == {}


@pytest.mark.parametrize("refit", ["all", "best", "ensemble"])
def test_every_sample_validates_once_and_none_is_tested_that_was_seen(refit, runs):
    run = runs(refit)
    kept = prepare(run.config).split
    parts = [prepare(fold.config).split for fold in fold_runs(run)]
    validated = torch.cat([part.val for part in parts])
    assert len(validated) == len(validated.unique())
    for part in parts:
        assert not set(part.train.tolist()) & set(part.val.tolist())
        seen = set(part.train.tolist()) | set(part.val.tolist())
        assert not seen & set(kept.test.tolist())
        assert len(seen) + len(kept.test) == 1797
    assert set(validated.tolist()) | set(kept.test.tolist()) == set(range(1797))


def test_all_trains_once_more_on_everything_for_the_mean_of_the_best_epochs(runs):
    run = runs("all")
    refit = danlu.load(run.folder / "refit")
    epochs = round(statistics.mean(fold.summary["best_epoch"] for fold in fold_runs(run)))
    assert refit.summary["epochs"] == epochs == run.summary["epochs"]
    assert prepare(refit.config).split.val.numel() == 0
    assert run.weights().read_bytes() == refit.weights().read_bytes()


def test_best_keeps_the_fold_with_the_best_figure(runs):
    run = runs("best")
    folds = fold_runs(run)
    best = max(folds, key=lambda fold: fold.summary["metrics"]["val"]["accuracy"])
    assert run.weights().read_bytes() == best.weights().read_bytes()


def test_an_ensemble_says_the_mean_of_its_members_probabilities(runs):
    run = runs("ensemble")
    assert run.signature.members == 3
    inputs = torch.randn(20, 1, 8, 8)
    with torch.no_grad():
        members = torch.stack([fold.model(inputs).softmax(1) for fold in fold_runs(run)])
        together = danlu.load(run.folder).model(inputs).softmax(1)
    torch.testing.assert_close(together, members.mean(0))
    assert len(load_file(run.weights())) == 3 * len(load_file(fold_runs(run)[0].weights()))


@pytest.mark.parametrize("refit", ["all", "best", "ensemble"])
def test_evaluating_again_gives_the_figures_again_and_counts(refit, runs):
    run = runs(refit)
    looks = run.summary["test_looks"]
    again = danlu.evaluate(run)
    assert again["metrics"]["test"] == pytest.approx(run.summary["metrics"]["test"], abs=1e-6)
    assert again["test_looks"] == looks + 1
    run.write_json("summary.json", run.summary | {"test_looks": looks})


@pytest.mark.parametrize("stop_at", [1, 3])
def test_an_interrupted_cross_validation_goes_on(stop_at, runs, tmp_path, monkeypatch):
    """What is finished is kept, what is not is trained, and the result is the same."""
    real, count = train_module.train_one, iter(range(9))

    def until(*args):
        if next(count) == stop_at:
            raise danlu.Failure("the disk is full")
        return real(*args)

    monkeypatch.setattr(train_module, "train_one", until)
    with pytest.raises(danlu.Failure):
        danlu.train("digits", out=str(tmp_path / "run"), console=QUIET, **SETTINGS)
    monkeypatch.setattr(train_module, "train_one", real)
    before = [p.stat().st_mtime_ns for p in sorted(tmp_path.glob("run/fold-*/weights/*"))]
    run = danlu.train(resume=tmp_path / "run", console=QUIET)
    after = [p.stat().st_mtime_ns for p in sorted(tmp_path.glob("run/fold-*/weights/*"))]
    assert after[: len(before)] == before
    assert run.summary["metrics"] == runs("all").summary["metrics"]
    assert run.summary["folds"] == runs("all").summary["folds"]
    assert run.weights().read_bytes() == runs("all").weights().read_bytes()


@pytest.mark.parametrize("refit", ["all", "best", "ensemble"])
def test_numbers_as_well(refit, houses, tmp_path):
    settings = {"model": "linear", "epochs": 30, "target": "price", "device": "cpu", "folds": 2, "refit": refit}
    run = danlu.train(houses, out=str(tmp_path / "run"), console=QUIET, **settings)
    assert run.summary["metrics"]["test"]["r2"] > 0.85
    assert {*run.summary["fold_mean"]} == {"loss", "r2", "mae", "rmse"}
