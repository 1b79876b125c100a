"""Training from Python on scikit-learn's digits, a folder of colour images and a table with missing values."""

import json
import shlex
import shutil

import pandas
import pytest
from rich.console import Console

import danlu
from danlu import cli
from danlu.cli import main

PUBLIC = ["run", "task", "model", "epochs", "metrics", "seconds", "samples_per_second", "findings"]


def test_digits_are_learnt(digits_run):
    summary = digits_run.summary
    assert summary["task"] == "classify"
    assert summary["model"] == "mlp"
    assert summary["epochs"] == 12
    assert summary["metrics"]["test"]["accuracy"] > 0.94
    assert summary["test_looks"] == 1
    assert [*summary["metrics"]] == ["train", "val", "test"]
    assert {*summary["metrics"]["test"]} == {"loss", "accuracy", "top5", "f1", "ece"}
    assert sum(summary["data"]["counts"].values()) == 1797
    assert digits_run.findings == []
    assert digits_run.signature.classes == tuple("0123456789")


def test_training_on_a_folder_of_images(coloured_run):
    assert coloured_run.summary["metrics"]["test"]["accuracy"] == 1
    assert coloured_run.signature.classes == ("blue", "green", "red")
    assert coloured_run.signature.input_shape == [3, 16, 16]
    shown = coloured_run.summary
    assert shown["augmented"]
    assert all(uri.startswith("data:image/") for uri in shown["augmented"])


def test_training_on_a_table_with_missing_values_and_text(houses_run):
    test = houses_run.summary["metrics"]["test"]
    assert {*test} == {"loss", "r2", "mae", "rmse"}
    assert test["r2"] > 0.9
    assert test["mae"] < 30  # prices run from 100 to 700; the gaps cost some
    assert houses_run.signature.target_names == ("price",)


@pytest.mark.parametrize(("split", "why"), [("group:rooms", "groups of rows"), ("time:rooms", "the time of a row")])
def test_the_column_that_a_split_goes_by_is_no_input(split, why, houses, tmp_path):
    """As the groups of scikit-learn are none: a network that knows them by heart is worth nothing on others."""
    settings = {"model": "linear", "epochs": 1, "target": "price", "device": "cpu"}
    run = danlu.train(houses, out=str(tmp_path / "run"), **{"data.split": split}, **settings)
    assert [column["name"] for column in run.signature.columns["columns"]] == ["area", "place"]
    (note,) = [one for one in run.signature.columns["notes"] if "'rooms'" in one]
    assert why in note
    frame = pandas.read_csv(houses).head(5)
    with_it, without = (run.predict(rows) for rows in (frame, frame.drop(columns="rooms")))
    assert with_it == without


def test_choices_have_reasons(digits_run):
    choices = {choice["key"]: choice for choice in digits_run.summary["choices"]}
    assert {"data.size", "batch_size", "optim.name", "optim.lr", "schedule.name"} <= {*choices}
    assert "model.name" not in choices  # the user chose it
    assert all(choice["reason"] for choice in choices.values())
    config = digits_run.config
    assert config.optim.lr == choices["optim.lr"]["value"]


def test_the_command_prints_one_object_and_nothing_else(tmp_path, capfd):
    argv = shlex.split("train digits --model softmax --epochs 2 --data.limit 100 --device cpu --json")
    assert cli.main([*argv, "--out", str(tmp_path / "run")]) == 0
    out, err = capfd.readouterr()
    assert [*json.loads(out)] == PUBLIC
    assert "epoch 2/2" in err
    assert out.count("\n") == 1


def test_lines_for_a_person_name_the_report(tmp_path, capfd):
    argv = shlex.split("train digits --model softmax --epochs 2 --data.limit 100 --device cpu")
    assert cli.main([*argv, "--out", str(tmp_path / "run")]) == 0
    out, _ = capfd.readouterr()
    assert f"report: {tmp_path / 'run' / 'report.html'}" in out
    assert "reason" in out
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "epoch 1/2" in log
    assert "test  loss" in log


def test_many_data_problems_are_logged_and_the_first_printed(drawn_coco, tmp_path, capfd):
    content = json.loads((drawn_coco / "annotations.json").read_text())
    for one in content["annotations"][:50]:
        one["bbox"][0] -= 1000
    shutil.copytree(drawn_coco / "images", tmp_path / "data" / "images")
    (tmp_path / "data" / "annotations.json").write_text(json.dumps(content))
    plain = "--model yolo-nano --epochs 1 --size 64 --precision fp32 --channels-last false --device cpu --on-bad skip"
    assert cli.main(["train", str(tmp_path / "data"), "--out", str(tmp_path / "run"), *plain.split()]) == 0
    out = capfd.readouterr().out
    assert out.count("skipped annotations.json") == 20
    assert "... and 30 more such lines: `danlu data` prints them all" in out
    assert (tmp_path / "run" / "log.txt").read_text().count("skipped annotations.json") == 50


def test_runs_are_numbered_when_no_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {"model": "softmax", "epochs": 1, "data.limit": 50, "device": "cpu", "console": Console(quiet=True)}
    names = [danlu.train("digits", **settings).name for _ in range(2)]
    assert names == ["runs/1", "runs/2"]


def test_settings_may_be_nested_dotted_or_short(tmp_path):
    settings = {"optim": {"momentum": 0.5, "name": "momentum"}, "schedule.name": "constant", "lr": 0.03, "epochs": 1}
    settings |= {"model": "softmax", "data.limit": 50, "device": "cpu", "console": Console(quiet=True)}
    config = danlu.train("digits", out=str(tmp_path / "run"), **settings).config
    assert (config.optim.momentum, config.optim.name, config.optim.lr) == (0.5, "momentum", 0.03)
    assert config.schedule.name == "constant"


@pytest.mark.parametrize("loss", ["cross-entropy", "focal", "perceptron"])
def test_every_loss_of_classes_learns(loss, tmp_path):
    settings = {"model": "softmax", "epochs": 5, "device": "cpu", "console": Console(quiet=True), "loss": loss}
    run = danlu.train("digits", out=str(tmp_path / "run"), **settings)
    assert run.summary["metrics"]["test"]["accuracy"] > 0.85


@pytest.mark.parametrize("loss", ["squared", "absolute", "huber"])
def test_every_loss_of_numbers_learns(loss, houses, tmp_path):
    settings = {"model": "linear", "epochs": 20, "device": "cpu", "console": Console(quiet=True), "target": "price"}
    run = danlu.train(houses, out=str(tmp_path / "run"), loss=loss, **settings)
    assert run.summary["metrics"]["test"]["r2"] > 0.85


def test_training_on_nothing_is_refused():
    with pytest.raises(danlu.Refusal, match="try `danlu train digits`"):
        danlu.train(console=Console(quiet=True))


def test_resume_stands_alone(digits_run):
    with pytest.raises(danlu.Refusal, match=r"^resume must be used without DATA and config"):
        danlu.train("digits", resume=digits_run.folder)


def test_a_finished_run_answers_in_the_language_of_the_terminal(digits_run, monkeypatch, capsys):
    for asked, said in ((None, "has finished already"), ("zh", "已经完成")):
        monkeypatch.delenv("DANLU_LANG", raising=False)
        if asked:
            monkeypatch.setenv("DANLU_LANG", asked)
        assert main(["train", "--resume", str(digits_run.folder)]) == 0
        assert said in capsys.readouterr().out
