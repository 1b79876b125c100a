import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score, log_loss, r2_score

import danlu
from danlu import cli
from danlu.engine.device import make_fabric
from danlu.preparation.assemble import evaluation_batches
from danlu.preparation.prepare import prepare


@pytest.fixture
def copy(digits_run, tmp_path):
    """A run that may be changed."""
    shutil.copytree(digits_run.folder, tmp_path / "copy")
    return danlu.load(tmp_path / "copy")


def whole(run, part: str):
    """Inputs as the network takes them, and targets, of one part of a run's own data."""
    prepared = prepare(run.config)
    fabric = make_fabric(torch.device("cpu"))
    batches = list(evaluation_batches(prepared, getattr(prepared.split, part), fabric).epoch())
    return torch.cat([b.inputs for b in batches]), torch.cat([b.targets for b in batches])


def test_the_figures_of_the_summary_come_back_and_agree_with_scikit_learn(copy):
    found = danlu.evaluate(copy)
    assert found["metrics"]["test"] == pytest.approx(copy.summary["metrics"]["test"], abs=1e-6)
    inputs, targets = whole(copy, "test")
    with torch.no_grad():
        probabilities = copy.model(inputs).softmax(1).numpy()
    test = found["metrics"]["test"]
    assert test["accuracy"] == pytest.approx(accuracy_score(targets, probabilities.argmax(1)))
    assert test["f1"] == pytest.approx(f1_score(targets, probabilities.argmax(1), average="macro"))
    assert test["loss"] == pytest.approx(log_loss(targets, probabilities), rel=1e-4)
    assert found["samples"] == len(targets)


def test_evaluations_on_the_test_set_are_counted_and_reported(copy, capfd):
    looks = copy.summary["test_looks"]  # of the run that tests share; another one may have evaluated it
    assert danlu.evaluate(copy)["test_looks"] == looks + 1
    assert danlu.evaluate(copy, part="val")["test_looks"] is None
    assert cli.main(["eval", copy.name]) == 0
    assert f"evaluation {looks + 2} on the test set" in capfd.readouterr().out
    assert copy.summary["test_looks"] == looks + 2


def test_every_split_can_be_evaluated(copy):
    train = danlu.evaluate(copy, part="train")
    assert train["samples"] == copy.summary["data"]["counts"]["train"]
    assert train["metrics"]["train"]["accuracy"] > 0.97
    assert train["metrics"]["test"] == {}


def test_other_weights_of_an_open_run(copy):
    """Asked for by name they are used, whatever the run was opened with."""
    torch.manual_seed(0)
    best, last = copy.weights("best"), copy.weights("last")
    signature = copy.signature
    from danlu.engine.checkpoint import save_weights
    from danlu.preparation.networks import network

    save_weights(last, network(signature), signature)
    assert best.read_bytes() != last.read_bytes()
    assert danlu.evaluate(copy, part="val", weights="last")["metrics"]["val"]["accuracy"] < 0.5
    assert danlu.evaluate(copy, part="val")["metrics"]["val"]["accuracy"] > 0.9
    opened = danlu.load(copy, "last")
    assert opened.evaluate(part="val")["metrics"]["val"]["accuracy"] < 0.5


def test_other_images_with_fewer_classes(coloured_run, coloured, tmp_path):
    for name in ("green", "red"):
        shutil.copytree(coloured / name, tmp_path / "data" / name)
    found = danlu.evaluate(coloured_run, tmp_path / "data")
    assert found["samples"] == 48
    assert found["metrics"]["test"]["accuracy"] == 1
    assert found["test_looks"] is None


def test_images_of_an_unknown_class_are_refused(coloured_run, coloured, tmp_path):
    shutil.copytree(coloured / "red", tmp_path / "data" / "redd")
    shutil.copytree(coloured / "green", tmp_path / "data" / "green")
    with pytest.raises(danlu.Refusal, match="one that the run was trained on, got 'redd'; did you mean 'red'"):
        danlu.evaluate(coloured_run, tmp_path / "data")


def test_a_table_again(houses_run):
    inputs, targets = whole(houses_run, "val")
    with torch.no_grad():
        outputs = houses_run.model(inputs)
    found = danlu.evaluate(houses_run, part="val")["metrics"]["val"]
    assert found["r2"] == pytest.approx(r2_score(targets, outputs), abs=1e-4)


def test_mirrored_views_are_averaged_where_training_mirrored(coloured_run):
    assert danlu.evaluate(coloured_run, part="val", tta=True)["metrics"]["val"]["accuracy"] == 1


def test_wrong_parts_and_places(copy, tmp_path):
    with pytest.raises(danlu.Refusal, match="did you mean 'val'"):
        danlu.evaluate(copy, part="vall")
    with pytest.raises(danlu.Refusal, match="omitted if other DATA are given"):
        danlu.evaluate(copy, "digits", part="val")
    with pytest.raises(danlu.Refusal, match="RUN must be a run folder"):
        danlu.evaluate(tmp_path / "nothing")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(danlu.Refusal):
        danlu.evaluate(copy, tmp_path / "a.png")


def test_the_command_prints_one_object(copy, capfd):
    assert cli.main(["eval", copy.name, "--part", "val", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["metrics"]["val"]["accuracy"] > 0.9


def test_data_that_hold_the_training_samples_are_named(copy, capsys):
    assert danlu.evaluate(copy, "digits").trained_on is True
    assert "trained_on" not in danlu.evaluate(copy).to_json()
    assert cli.main(["evaluate", str(copy.folder), "digits"]) == 0
    said = capsys.readouterr().out
    assert f"note: {copy.folder} was trained on most of these samples" in said
    page = (copy.folder / "evaluation.html").read_text(encoding="utf-8")
    assert "was trained on most of these samples" in page
    assert 'class="interval"' not in page
    assert "wrong predictions: " in said or "samples are right" in said
