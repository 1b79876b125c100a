"""Searches: the trials, the winner, interruptions, several processes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock, Timeout
from rich.console import Console

import danlu
from danlu.cli import main
from danlu.config import load_yaml
from danlu.engine.saving import Interrupted
from danlu.message import speaking
from danlu.run.folder import Run
from danlu.tuning.dimension import Dimension
from danlu.tuning.journal import open_journal
from danlu.tuning.search import Clock, run_trials
from danlu.tuning.space import find_key
from danlu.tuning.study import StudyFolder

QUIET = Console(quiet=True)
TINY = {"model": "linear", "data.limit": 200, "epochs": 3, "batch_size": 50, "device": "cpu", "precision": "fp32"}
TINY |= {"channels_last": False}


def test_trial_0_has_danlus_own_settings(searched) -> None:
    first = searched.trials[0]
    own = Run(Path(searched.folder) / "trials" / "0").config
    assert first.source == "defaults"
    assert first.settings["optim.lr"] == own.optim.lr
    assert own.model.name == "linear"
    assert [one.number for one in searched.trials] == [0, 1, 2]
    assert len({one.settings["optim.lr"] for one in searched.trials}) == 3


def test_no_trial_uses_the_test_set_and_the_winner_does_once(searched) -> None:
    for number in range(3):
        summary = Run(Path(searched.folder) / "trials" / str(number)).summary
        assert summary.test_looks == 0
        assert not summary.metrics.test
        assert summary.metrics.val
    assert Run(Path(searched.run)).summary.test_looks == 1


def test_a_trial_says_that_its_weights_were_removed(searched) -> None:
    with pytest.raises(
        danlu.Refusal, match=r"best.safetensors is missing .a search removes those of its trials.* trains it again"
    ):
        danlu.load(Path(searched.folder) / "trials" / "0").predict("digits")


def test_the_command_repeats_the_winner_bit_for_bit(searched, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    words = searched.command.split()
    assert words[:3] == ["danlu", "train", "--config"]
    assert main([*words[1:], "--out", "again", "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert metrics["val"][searched.metric] == searched.value
    assert metrics["test"][searched.metric] == searched.test


def test_the_winner_has_the_best_mean_over_new_seeds(searched) -> None:
    means = [one.mean for one in searched.finalists]
    assert means == sorted(means, reverse=True)
    assert [one.own for one in searched.finalists].count(True) == 1  # danlu's own settings are compared in any case
    assert searched.finalists[0].seeds == [1, 2]
    assert load_yaml(searched.config).seed == 1
    assert load_yaml(searched.config).data.seed == 0  # the split stays that of the search


def test_a_search_that_goes_on_says_that_it_has_seen_the_test_set(searched, tmp_path) -> None:
    """The same end again is no further use; one with another seed is."""
    assert searched.test_looks == 1
    folder = tmp_path / "search"
    shutil.copytree(searched.folder, folder)
    again = danlu.tune(resume=str(folder), top=1, seeds=2)
    assert (again.test_looks, [str(note) for note in again.notes if "test set" in note]) == (1, [])
    for _ in range(2):
        further = danlu.tune(resume=str(folder), top=1, seeds=3)
        assert further.test_looks == 2
        assert any("the test set was used 2 times" in note for note in further.notes)


def test_ranges_are_told_in_the_language_of_the_command() -> None:
    wide = Dimension("optim.lr", None, low=1e-4, high=0.1, log=True)
    words = Dimension("augment.preset", None, choices=("none", "light"))
    with speaking("zh"):
        assert (str(wide.describe()), str(words.describe())) == ("0.0001 到 0.1（对数）", "none、light")


def test_the_page_has_the_figures_and_the_trials(searched) -> None:
    page = Path(searched.page).read_text(encoding="utf-8")
    figures = json.loads(page.split('id="figures">')[1].split("</script>")[0])
    assert {"history", "parallel", "slices"} <= figures.keys()
    assert searched.command.replace("'", "&#x27;") in page
    assert page.count("<tr>") >= 3 + len(searched.trials)


def test_a_trial_of_a_dead_process_is_continued_with_its_settings(searched, tmp_path) -> None:
    """Asked for, never told: as a SIGKILL leaves it. The next process takes it before any new one."""
    study = StudyFolder.create(str(tmp_path / "study"), StudyFolder.open(searched.folder).settings)
    study.enqueue([study.settings.defaults or {}], source="defaults")
    claim = study.next_trial()
    other = StudyFolder.open(tmp_path / "study")
    second = other.next_trial()  # the first is alive: another one is handed out
    assert (claim.trial.number, second.trial.number) == (0, 1)
    assert second.params["optim.lr"] != claim.params["optim.lr"]
    assert other.trained_elsewhere() == 2
    second.release()
    again = StudyFolder.open(tmp_path / "study").next_trial()
    assert (again.trial.number, again.params) == (1, second.params)
    again.release()
    claim.release()
    run_trials(StudyFolder.open(tmp_path / "study"), Clock(None, 1), lambda line: None)
    finished = StudyFolder.open(tmp_path / "study").finished()
    assert [one.number for one in finished] == [0, 1, 2]
    assert [one.value for one in finished] == [one.value for one in searched.trials]  # as without the kills


def test_a_cut_last_line_of_the_journal_is_dropped(tmp_path) -> None:
    journal = open_journal(tmp_path, "high", "none", 3)
    journal.ask()
    with (tmp_path / "journal.log").open("ab") as file:
        file.write(b'{"op_code":4,"worker')
    again = open_journal(tmp_path, "high", "none", 3)
    again.ask()
    assert len(open_journal(tmp_path, "high", "none", 3).trials) == 2


def test_a_trial_that_diverges_ends_with_its_reason(tmp_path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text("lr: [0.01, 1.0e+30]\n")
    found = danlu.tune(
        "digits", space=space, method="grid", trials=2, top=1, seeds=2, out=tmp_path / "s", console=QUIET,
        optimizer="sgd", **TINY | {"model": "mlp"},
    )  # fmt: skip
    ended = [one for one in found.trials if one.settings["optim.lr"] == 1e30]
    assert ended
    assert "loss is" in str(ended[0].why) or "error" in str(ended[0].why)
    assert ended[0].state == "pruned"
    assert [one.source for one in found.trials] == [None, None]  # danlu's own learning rate is not in the list
    assert found.best.get("optim.lr") != 1e30


def test_an_interrupted_search_names_its_own_command(tmp_path) -> None:
    """The command of the trial that was interrupted would continue this trial alone, outside the search."""

    def interrupting(outputs, targets) -> float:
        os.kill(os.getpid(), signal.SIGTERM)
        return 0.0

    with pytest.raises(Interrupted, match=f"go on with `danlu tune --resume {tmp_path / 's'} --metrics"):
        danlu.tune("digits", search="lr", trials=2, out=tmp_path / "s", console=QUIET, metrics=interrupting, **TINY)


@pytest.mark.slow
def test_a_search_resumes_after_sigkill_with_nothing_lost(tmp_path) -> None:
    flags = (
        "digits --model linear --data.limit 200 --epochs 3 --batch-size 50 --device cpu --search lr --seeds 2 --top 1"
    )
    command = [sys.executable, "-m", "danlu", "tune", *flags.split(), "--trials", "4", "--out"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run([*command, str(whole)], check=True, capture_output=True)
    process = subprocess.Popen([*command, str(killed)], stdout=subprocess.DEVNULL)
    while not (killed / "trials" / "2" / "metrics.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    resume = [sys.executable, "-m", "danlu", "tune", "--resume", str(killed), "--seeds", "2", "--top", "1", "--json"]
    done = subprocess.run(resume, check=True, capture_output=True, text=True)
    found, expected = json.loads(done.stdout), json.loads((whole / "tuning.json").read_text())
    assert [(one["settings"], one["value"]) for one in found["trials"]] == [
        (one["settings"], one["value"]) for one in expected["trials"]
    ]
    assert (found["value"], found["test"]) == (expected["value"], expected["test"])


def test_a_process_that_leaves_does_not_hold_the_end_of_the_search(searched, tmp_path, monkeypatch) -> None:
    """Another process may end the last trial while this one looks: then that one must train the best again."""
    study = StudyFolder.create(str(tmp_path / "study"), StudyFolder.open(searched.folder).settings)
    study.enqueue([study.settings.defaults or {}], source="defaults")
    free = []

    def one_is_at_work(self: StudyFolder) -> int:
        lock = self.claim("final")
        free.append(lock is not None)
        if lock is not None:
            lock.release()
        return 1

    monkeypatch.setattr(StudyFolder, "trained_elsewhere", one_is_at_work)
    left = danlu.tune(resume=study.folder, trials=1, console=QUIET)
    assert free == [True]
    assert (left.page, [one.number for one in left.trials]) == (None, [0])


@pytest.mark.slow
def test_a_second_process_joins_and_finishes_what_a_killed_one_left(tmp_path) -> None:
    """Real processes: every trial is trained once, whole, and the one that lives ends the search."""
    folder, trials = tmp_path / "study", 6
    flags = "digits --model linear --data.limit 200 --epochs 3 --batch-size 50 --device cpu --search lr --prune none"
    first = [sys.executable, "-m", "danlu", "tune", *flags.split(), "--trials", str(trials), "--out", str(folder)]
    second = [sys.executable, "-m", "danlu", "tune", "--resume", str(folder), "--top", "1", "--seeds", "2", "--json"]
    killed = subprocess.Popen(first, stdout=subprocess.DEVNULL)
    _wait_for(folder / "trials" / "0" / "metrics.jsonl", killed)
    _stop_in_a_trial(killed, folder)
    joined = subprocess.Popen(second, stdout=subprocess.PIPE, text=True)
    _wait_for(folder / "trials" / str(trials - 2) / "metrics.jsonl", joined)  # it trains what the other does not hold
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    said, _ = joined.communicate(timeout=280)
    found = json.loads(said)
    assert joined.returncode == 0
    assert [(one["number"], one["state"], one["epochs"]) for one in found["trials"]] == [
        (number, "complete", 3) for number in range(trials)
    ]
    for number in range(trials):
        rows = Run(folder / "trials" / str(number)).record.of("epoch")
        assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert (folder / "tuning.html").exists()
    assert found["test"] is not None


def _wait_for(path: Path, process: subprocess.Popen) -> None:
    while not path.exists():
        assert process.poll() is None
        time.sleep(0.02)


def _stop_in_a_trial(process: subprocess.Popen, folder: Path) -> None:
    """Stop a process while it trains, outside the locks that the others need."""
    while True:
        os.kill(process.pid, signal.SIGSTOP)
        locks = [FileLock(folder / name, timeout=0) for name in (".journal.lock", "claims/hand-out")]
        with contextlib.suppress(Timeout):
            for lock in locks:
                with lock:
                    pass
            if StudyFolder.open(folder).trained_elsewhere() == 1:
                return
        os.kill(process.pid, signal.SIGCONT)
        assert process.poll() is None
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", " must be a YAML mapping from settings to ranges or lists, got an empty file"),
        ("lrr: [1, 2]", " must be names of settings, got 'lrr'; did you mean 'lr'?"),
        ("lr: [fast, slow]", ": lr has a value that does not fit: optim.lr must be a number, got 'fast'"),
        ("lr: {low: 1, high: 0.1}", ": lr must be a range with low < high"),
        ("lr: [0.1", ""),
    ],
)
def test_a_wrong_space_names_the_file_and_the_place(text, said, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("space.yaml").write_text(text)
    assert main(["tune", "digits", "--space", "space.yaml"]) == 2
    error = capsys.readouterr().err
    assert f"space.yaml{said}" in error
    assert error.count("\n") == 1
    assert [one.name for one in tmp_path.iterdir()] == ["space.yaml"]


def test_a_folder_that_is_taken_is_refused_before_the_data_are_read(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("danlu.tuning.tune.prepare", lambda config: pytest.fail("the data are read"))
    (tmp_path / "taken").write_text("")
    assert main(["tune", "digits", "--out", str(tmp_path)]) == 2
    assert "--out must be a new or empty folder" in capsys.readouterr().err
    assert find_key("learning_rate", "--search") == "optim.lr"  # its name elsewhere


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("digits --method bayes", "--method must be one of tpe, random, grid, sobol, cmaes, gp, got 'bayes'"),
        ("digits --search lr,momentun", "--search must be names of settings, got 'momentun'; did you mean"),
        ("digits --search data.val", "--search must be settings that a search may change, got 'data.val'"),
        (
            "digits --search lr --model linear --search dropout",
            "--search must be settings that linear has, got 'dropout'",
        ),
        ("digits --trials 0", "--trials must be an integer of at least 1, got '0'"),
        ("digits --budget soon", "--budget must be a number of minutes greater than 0, got 'soon'"),
        ("digits --prune hard", "--prune must be one of median, halving, none, got 'hard'"),
        ("digits --folds 3", "--folds must be omitted with tune"),
        ("digits --live", "--live must be omitted with tune, got True; `danlu live FOLDER/trials` follows"),
        ("--resume nowhere", "--resume must be the folder of a search"),
        ("--lang zh --resume nowhere", "--resume 要求：一次搜索的文件夹"),
        ("--lang zh digits --method bayes", "--method 要求：tpe、random、grid、"),
        ("digits --search lr,learning_rate", "--search must be different settings, got 'learning_rate'"),
        ("digits --space missing.yaml", "--space must be a readable YAML file, got missing.yaml"),
        ("digits --search lr,dropuot", "--search must be names of settings, got 'dropuot'; did you mean 'dropout'"),
        ("digits --search ,", "--search must be names of settings, got ''; choose from augment, batch_size, "),
        ("digits --search clip_norm", "--search has no usual range for clip_norm; give one in a file"),
    ],
)
def test_wrong_input_is_one_sentence(words, said, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["tune", *words.split()]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"danlu: {said}")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
