"""Tables and pages over several runs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

import danlu
from danlu.cli import main
from danlu.config import dump_yaml, with_values
from danlu.run.folder import Run


@pytest.fixture
def two(digits_run, tmp_path) -> Path:
    """A folder with a finished run, and one that was killed in its third epoch with another learning rate."""
    for name in ("1", "2"):
        shutil.copytree(digits_run.folder, tmp_path / name)
    killed = Run(tmp_path / "2")
    killed.write_text("config.yaml", dump_yaml(with_values(killed.config, {"lr": 0.5})))
    for name in ("summary.json", "report.html"):
        (tmp_path / "2" / name).unlink()
    rows = (tmp_path / "2" / "metrics.jsonl").read_text().splitlines()
    kept = [row for row in rows if json.loads(row)["epoch"] <= 2]
    killed.write_text("metrics.jsonl", "\n".join(kept) + "\n")
    return tmp_path


def test_runs_lists_finished_and_killed_runs(two, digits_run) -> None:
    found = danlu.runs(two)
    first, second = found.runs
    assert (first.state, second.state) == ("finished", "stopped")
    assert first.val == digits_run.metrics.val.accuracy
    assert first.test == digits_run.metrics.test.accuracy
    epochs = Run(two / "2").record.of("epoch")
    assert second.val == max(row["val.accuracy"] for row in epochs)
    assert (second.epochs, second.test) == (2, None)
    assert found.best == first.run
    assert (first.best, second.best) == (True, False)


def test_links_in_circles_and_a_damaged_run_hide_no_other(two) -> None:
    (two / "inside").mkdir()
    (two / "inside" / "up").symlink_to(two)
    (two / "inside" / "self").symlink_to("self")
    (two / "odd").mkdir()
    (two / "odd" / "config.yaml").write_text(":::[")
    assert [(Path(row.run).name, row.state) for row in danlu.runs(two).runs] == [
        ("1", "finished"),
        ("2", "stopped"),
        ("odd", "damaged"),
    ]
    assert [Path(row.run).name for row in danlu.runs(two, where="lr<9").runs] == ["1", "2"]


def test_the_best_run_is_that_of_each_data_set(two) -> None:
    """Accuracies on different data are not compared; a single run on its data is not called the best."""
    for name in ("3", "4"):
        shutil.copytree(two / ("1" if name == "3" else "2"), two / name)
        other = Run(two / name)
        other.write_text("config.yaml", dump_yaml(with_values(other.config, {"data.path": "photos"})))
    found = danlu.runs(two)
    assert [Path(row.run).name for row in found.runs if row.best] == ["1", "3"]
    assert found.best is None
    shutil.rmtree(two / "4")
    assert [Path(row.run).name for row in danlu.runs(two).runs if row.best] == ["1"]


def test_a_run_in_use_is_running(two) -> None:
    run = Run(two / "2")
    with run.locked():
        assert danlu.runs(two).runs[1].state == "running"
    assert danlu.runs(two).runs[1].state == "stopped"


def test_runs_are_sorted_and_filtered(two) -> None:
    assert [Path(row.run).name for row in danlu.runs(two, sort="-epochs").runs] == ["1", "2"]
    assert [Path(row.run).name for row in danlu.runs(two, sort="epochs").runs] == ["2", "1"]
    assert [Path(row.run).name for row in danlu.runs(two, sort="test").runs] == ["1", "2"]  # None at the end
    assert [Path(row.run).name for row in danlu.runs(two, where="lr>=0.5,model=mlp").runs] == ["2"]
    assert danlu.runs(two, where="model=lenet").runs == []


def test_compare_shows_the_same_test_images_where_the_runs_differ_first(digits_run, tmp_path) -> None:
    quick = {"model": "linear", "epochs": 1, "augment": "none", "device": "cpu", "doctor.budget": 0.0}
    other = danlu.train("digits", out=str(tmp_path / "quick"), **quick)
    found = danlu.compare(digits_run, other, out=tmp_path / "page.html", images=40)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    shown = page.split('id="images"')[1].split("</section>")[0]
    figures = shown.split("<figure>")[1:]
    assert len(figures) == found.images == 40
    wrong = [one.count('class="predicted"') for one in figures]
    places = [{1: 0, 2: 1, 0: 2}[count] for count in wrong]  # some runs wrong, all wrong, none
    assert places == sorted(places)
    assert places[0] == 0, "a linear model of one epoch is wrong where the other is right"
    compared, all_right, none_right, some = map(int, re.findall(r"\d+", shown.split("<p class=lead>")[1])[:4])
    copied = danlu.load(shutil.copytree(digits_run.folder, tmp_path / "copy"))  # evaluating changes summary.json
    right = [round(one.evaluate(part="test").metrics["test"]["accuracy"] * 270) for one in (copied, other)]
    assert compared == all_right + none_right + some == 270
    assert 2 * all_right + some == sum(right)


def test_runs_without_images_or_of_other_tasks_say_why(digits_run, houses_run, drawn_run, tmp_path, capsys) -> None:
    page = str(tmp_path / "page.html")
    digits, houses, drawn = (
        shutil.copytree(run.folder, tmp_path / str(i)) for i, run in enumerate((digits_run, houses_run, drawn_run))
    )
    found = danlu.compare(digits_run, houses_run, out=page)
    assert "have different tasks or classes" in str(found.images_note)
    assert "do not read images" in str(danlu.compare(houses_run, houses, out=page).images_note)
    assert danlu.compare(drawn_run, drawn, out=page, images=2).images == 2, "objects are drawn for each run"
    assert danlu.compare(digits_run, digits, out=page, images=0).images == 0
    assert main(["compare", str(digits_run.folder), str(digits_run.folder), "--images", "all"]) == 2
    assert "--images must be an integer from 0 to 100, got 'all'" in capsys.readouterr().err


def test_compare_shows_the_settings_that_differ(two, digits_run, monkeypatch) -> None:
    monkeypatch.chdir(two)
    found = danlu.compare("1", "2")
    assert found.settings == {"optim.lr": [digits_run.config.optim.lr, 0.5]}
    assert found.metrics["test.accuracy"] == [digits_run.metrics.test.accuracy, None]
    page = Path("compare_1_2.html").read_text(encoding="utf-8")
    figures = json.loads(page.split('id="figures">')[1].split("</script>")[0])
    lengths = [len(line["x"]) for line in figures["accuracy"]["data"]]
    assert lengths == [len(digits_run.record.of("epoch")), 2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("runs nowhere", "FOLDER must be a folder of runs, got 'nowhere'"),
        ("runs . --sort size", "--sort must be one of run, state"),
        ("runs . --where lr", "--where must be conditions such as model=lenet,lr<0.01, got 'lr'"),
        (
            "runs . --where modell=x",
            "--where must be conditions on columns or settings, got 'modell'; did you mean 'model",
        ),
        ("compare 1", "RUN must be at least two runs, got 1"),
        ("compare 1 1", "RUN must be different runs, got '1'"),
        ("compare 1 3", "RUN must be a run folder (one that holds config.yaml), got '3'"),
    ],
)
def test_wrong_input_is_one_sentence(words, said, two, monkeypatch, capsys) -> None:
    monkeypatch.chdir(two)
    assert main(words.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"danlu: {said}")
    assert error.count("\n") == 1


def test_tags_are_shown_and_select_runs(two, capsys) -> None:
    run = Run(two / "2")
    run.write_text("config.yaml", dump_yaml(with_values(run.config, {"tags": "baseline,small"})))
    assert [row.tags for row in danlu.runs(two).runs] == [(), ("baseline", "small")]
    for condition, names in (("tags=small", ["2"]), ("tags=baseline", ["2"]), ("tags=base", []), ("tags<small", [])):
        assert [Path(row.run).name for row in danlu.runs(two, where=condition).runs] == names
    assert main(["runs", str(two)]) == 0
    assert "baseline,small" in capsys.readouterr().out
