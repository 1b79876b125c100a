"""k-fold cross-validation (claim E1): every sample validates once, the test set is held out, one model is kept."""

import shutil
import statistics

import numpy as np
import pandas
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from sklearn.metrics import r2_score

import danlu
from danlu.config import Config, dump_yaml, with_values
from danlu.preparation.prepare import prepare
from danlu.run.folder import Run
from danlu.training import folds as folds_module

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


def test_the_folds_of_a_run_are_no_earlier_attempts_of_each_other(runs):
    assert not list(runs("all").folder.rglob("earlier.json"))


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
def test_test_set_is_evaluated_once_by_the_kept_model(refit, runs):
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


def probabilities(run, images) -> np.ndarray:
    """Predicted probabilities (N, K)."""
    return np.array([[probability for _, probability in sorted(row["top"])] for row in run.predict(images, top=10)])


def test_an_ensemble_says_the_mean_of_its_members_probabilities(runs):
    run, folds = danlu.load(runs("ensemble").folder), fold_runs(runs("ensemble"))
    assert [signature for signature, _ in run.members] == [fold.signature for fold in folds]
    assert len({signature.mean for signature, _ in run.members}) == 3
    assert len(load_file(run.weights())) == 3 * len(load_file(folds[0].weights()))
    assert run.summary["parameters"] == 3 * folds[0].summary["parameters"]
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), np.uint8)
    expected = np.mean([probabilities(fold, images) for fold in folds], axis=0)
    np.testing.assert_allclose(probabilities(run, images), expected, atol=1e-5)
    with pytest.raises(danlu.Refusal, match="is an ensemble of 3 networks"):
        _ = run.model


@pytest.fixture(scope="module")
def rare(tmp_path_factory):
    """A table with places of one sample each, unknown to the fold that validates on it."""
    rng = np.random.default_rng(0)
    area, place = rng.uniform(30, 200, 90), np.where(np.arange(90) % 2, "bay", "hill").astype(object)
    place[:35:7] = [f"island {n}" for n in range(5)]
    area[rng.random(90) < 0.1] = np.nan
    price = 3 * np.nan_to_num(area, nan=60.0) + 500 * (place == "bay") + rng.normal(0, 20, 90)
    path = tmp_path_factory.mktemp("rare") / "rare.csv"
    pandas.DataFrame({"area": area, "place": place, "price": price}).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("refit", ["best", "ensemble"])
def test_every_kept_network_sees_a_table_in_its_own_encoding(refit, rare, tmp_path):
    settings = {"model": "linear", "epochs": 5, "target": "price", "device": "cpu", "folds": 3, "refit": refit}
    run = danlu.train(rare, out=str(tmp_path / "run"), console=QUIET, **settings)
    folds = fold_runs(run)
    assert len({str(fold.signature.columns) for fold in folds}) == 3
    assert len({fold.signature.inputs for fold in folds}) > 1  # some never saw an island that others did
    if refit == "best":
        values = [fold.summary["metrics"]["val"]["r2"] for fold in folds]
        folds = [folds[int(np.argmax(values))]]
    table = pandas.read_csv(rare)

    def said(one) -> np.ndarray:
        return np.array([row["value"] for row in one.predict(table)])

    expected = np.mean([said(fold) for fold in folds], axis=0)
    np.testing.assert_allclose(said(run), expected, rtol=1e-5)
    test = prepare(run.config).split.test.numpy()
    figure = r2_score(table["price"][test], expected[test])
    assert run.summary["metrics"]["test"]["r2"] == pytest.approx(figure, abs=1e-5)
    assert danlu.evaluate(run)["metrics"]["test"] == pytest.approx(run.summary["metrics"]["test"], abs=1e-6)
    assert danlu.evaluate(run, rare)["metrics"]["test"]["r2"] == pytest.approx(
        r2_score(table["price"], expected), abs=1e-5
    )


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
    """Finished folds are kept, the others are trained, and the result is the same."""
    real, count = folds_module.train_run, iter(range(9))

    def until(*args):
        if next(count) == stop_at:
            raise danlu.Failure("the disk is full")
        return real(*args)

    monkeypatch.setattr(folds_module, "train_run", until)
    with pytest.raises(danlu.Failure):
        danlu.train("digits", out=str(tmp_path / "run"), console=QUIET, **SETTINGS)
    monkeypatch.setattr(folds_module, "train_run", real)
    before = [p.stat().st_mtime_ns for p in sorted(tmp_path.glob("run/fold-*/weights/*"))]
    run = danlu.train(resume=tmp_path / "run", console=QUIET)
    after = [p.stat().st_mtime_ns for p in sorted(tmp_path.glob("run/fold-*/weights/*"))]
    assert after[: len(before)] == before
    assert run.summary["metrics"] == runs("all").summary["metrics"]
    assert run.summary["folds"] == runs("all").summary["folds"]
    assert run.weights().read_bytes() == runs("all").weights().read_bytes()


@pytest.mark.parametrize("files", [0, 1, 2, 3])
def test_a_stop_between_the_last_files_loses_no_fold(files, runs, tmp_path, monkeypatch):
    """However many of its last files the parent has written, going on trains nothing and ends with the same."""
    whole, folder = runs("all"), tmp_path / "run"
    shutil.copytree(whole.folder, folder)
    for name in ("summary.json", "findings.json", "report.html", "log.txt"):
        (folder / name).unlink()
    Run(folder).write_text("config.yaml", dump_yaml(with_values(Config(), {"data.path": "digits"} | SETTINGS)))
    real, left = Run.write_text, iter(range(files))

    def write(self, name, text):
        if self.folder == folder and next(left, None) is None:
            raise danlu.Failure("the disk is full")
        real(self, name, text)

    monkeypatch.setattr(Run, "write_text", write)
    with pytest.raises(danlu.Failure):
        danlu.train(resume=folder, console=QUIET)
    monkeypatch.setattr(Run, "write_text", real)
    run = danlu.train(resume=folder, console=QUIET)
    assert {path.name for path in folder.iterdir()} == {path.name for path in whole.folder.iterdir()}
    assert not run.state.exists()  # nothing was trained in the parent
    assert run.config == whole.config
    for key in ("folds", "fold_mean", "metrics", "epochs", "test_looks"):
        assert run.summary[key] == whole.summary[key]
    with pytest.raises(danlu.Refusal, match=r"^epochs must be omitted for a finished run over folds"):
        danlu.train(resume=folder, epochs=9, console=QUIET)


@pytest.mark.parametrize("refit", ["all", "ensemble"])
def test_numbers_as_well(refit, houses, tmp_path):
    settings = {"model": "linear", "epochs": 30, "target": "price", "device": "cpu", "folds": 2, "refit": refit}
    run = danlu.train(houses, out=str(tmp_path / "run"), console=QUIET, **settings)
    assert run.summary["metrics"]["test"]["r2"] > 0.85
    assert {*run.summary["fold_mean"]} == {"loss", "r2", "mae", "rmse"}


def test_an_ensemble_of_detectors_finds_what_its_members_confirm(drawn_coco, tmp_path):
    settings = {"size": 64, "epochs": 4, "batch_size": 8, "lr": 0.006, "augment": "none", "device": "cpu"}
    settings |= {"doctor.budget": 0.0, "optimizer": "adamw"}
    plain = {"precision": "fp32", "channels_last": False, "task": "detect", "out": str(tmp_path / "run")}
    run = danlu.train(drawn_coco, folds=2, refit="ensemble", console=QUIET, **settings, **plain)
    assert run.summary["test_looks"] == 1
    assert 0 <= run.summary["metrics"]["test"]["mAP50"] <= 1
    images = drawn_coco / "images"
    both = [danlu.load(run.folder / f"fold-{n}").predict(images, score=1e-4) for n in range(2)]
    found = run.predict(images, score=0.02)
    assert sum(len(row["objects"]) for row in found) > 0
    for row, *each in zip(found, *both):
        told = [{(one["class"], *one["box"]): one["score"] for one in member["objects"]} for member in each]
        for one in row["objects"]:
            scores = [of.get((one["class"], *one["box"])) for of in told]
            assert any(scores), "each box is that of a member"
            assert 0.02 <= one["score"] <= (max(s for s in scores if s) + 1) / 2
