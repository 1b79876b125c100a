"""The run folder: created once, locked while written, files written atomically."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from danlu.config import Config, dump_yaml, with_values
from danlu.refuse import Failure, Refusal
from danlu.run.atomic import write_atomically
from danlu.run.folder import Run, runs_beside
from danlu.run.stage import RunStage


@pytest.fixture
def run(tmp_path):
    made = Run.create(str(tmp_path / "run"))
    made.write_text("config.yaml", dump_yaml(Config()))
    yield made
    made.unlock()


def test_folders_are_numbered_and_never_shared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = [Run.create(None) for _ in range(3)]
    assert [r.name for r in runs] == ["runs/1", "runs/2", "runs/3"]
    os.makedirs("runs/12/weights")
    os.makedirs("runs/notes")
    assert Run.create(None).name == "runs/13"


def test_round_trip_of_written_values(run):
    config = with_values(Config(), {"lr": 0.25, "data.path": "ćwierć"})
    run.write_text("config.yaml", dump_yaml(config))
    run.write_json("summary.json", {"class": "猫", "n": [1, None]})
    run.write_json("findings.json", [{"code": "x"}])
    again = Run.open(run.folder)
    assert again.config == config
    assert again.read_json("summary.json", default={}) == {"class": "猫", "n": [1, None]}
    assert again.findings == [{"code": "x"}]
    assert "猫" in (run.folder / "summary.json").read_text(encoding="utf-8")


def test_missing_files_read_as_empty(run):
    assert (run.summary, run.findings, run.record.rows) == ({}, [], [])


def test_a_broken_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")

    def half(part):
        part.write_text("ne")
        raise OSError(28, "No space left on device")

    with pytest.raises(Failure, match=r"a\.json could not be written: no space left on device; what was saved before"):
        write_atomically(path, half)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_an_interrupted_write_leaves_no_part(tmp_path):
    def stopped(part):
        part.write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a", stopped)
    assert os.listdir(tmp_path) == []


def test_a_locked_run_is_refused_to_others(run):
    with pytest.raises(Refusal, match="in use by another process"):
        Run.open(run.folder).lock()
    run.unlock()
    second = Run.open(run.folder)
    second.lock()
    second.unlock()


def test_dead_process_releases_its_lock(run):
    run.unlock()
    code = "import os, sys; from danlu.run.folder import Run; Run.open(sys.argv[1]).lock(); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code, str(run.folder)], check=False).returncode == 9
    run.lock()


def test_folder_with_a_run_is_not_reused(run):
    run.weights("last").write_bytes(b"learnt")
    run.unlock()
    with pytest.raises(Refusal, match="holds a run; resume it with `danlu train --resume"):
        Run.create(run.name)


def test_open_names_the_nearest_run(run):
    with pytest.raises(Refusal, match=r"did you mean '.*/run'"):
        Run.open(run.folder.with_name("rum"))


def test_open_names_the_runs_of_a_folder_that_holds_some(run):
    with pytest.raises(Refusal, match=r"did you mean '.*/run'"):
        Run.open(run.folder.parent)


def test_withdraw_removes_a_fresh_folder_and_keeps_a_trained_one(run):
    weights = run.weights("best")
    weights.write_bytes(b"learnt")
    run.withdraw()
    assert weights.exists()
    weights.unlink()
    run.withdraw()
    assert not run.folder.exists()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("summary.json", "{", "must be readable JSON"),
        ("summary.json", "[]", "must be JSON with an object, got 'list'"),
        ("findings.json", "{}", "must be JSON with a list, got 'dict'"),
    ],
)
def test_damaged_files_are_named(run, name, content, says):
    (run.folder / name).write_text(content)
    with pytest.raises(Refusal, match=f"{name} {says}"):
        getattr(run, name.removesuffix(".json"))


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path):
    Run(tmp_path / "nowhere").log("hello")
    Run(tmp_path).log("hello\n")
    assert (tmp_path / "log.txt").read_text() == "hello\n"


def test_a_run_killed_while_it_read_its_data_can_be_taken_or_resumed(tmp_path):
    out = tmp_path / "run"
    run = Run.create(str(out))
    run.write_text("config.yaml", dump_yaml(with_values(Config(), {"data.path": "digits"})))
    (out / ".summary.json.part").write_text("{")
    run.write_text("earlier.json", "[]")
    run.unlock()  # as the kernel does
    assert run.stage is RunStage.ASKED
    again = Run.create(str(out))
    assert not (out / ".summary.json.part").exists()
    again.withdraw()
    again.unlock()
    assert list(out.iterdir()) == []  # the folder itself was there before


def test_a_run_killed_while_its_first_file_was_written_can_be_taken(tmp_path):
    run = Run.create(str(tmp_path / "run"))
    (run.folder / ".config.yaml.part").write_text("model")
    run.unlock()  # as the kernel does
    Run.create(str(run.folder)).unlock()
    assert not (run.folder / ".config.yaml.part").exists()


def test_withdraw_removes_only_the_folders_that_were_made_for_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = Run.create("a/b/c")
    (tmp_path / "a" / "notes.txt").write_text("mine")
    run.withdraw()
    assert os.listdir("a") == ["notes.txt"]
    Run.create(None).withdraw()
    assert sorted(os.listdir()) == ["a"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_that_outlives_its_parent_holds_no_lock(run):
    run.unlock()
    code = (
        "import os, sys, time; from danlu.run.folder import Run; Run.open(sys.argv[1]).lock()\n"
        "if os.fork() == 0: time.sleep(30)\n"
        "print('locked', flush=True); os._exit(9)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(run.folder)], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"locked\n"
        process.wait()
        run.lock()
        process.stdout.close()


def test_runs_are_suggested_from_inside_beside_and_the_default_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in ("runs/1", "photos", "more/a"):
        Path(place).mkdir(parents=True)
    assert runs_beside(Path("photos")) == []
    Path("runs/1/config.yaml").write_text("{}")
    assert runs_beside(Path("photos")) == ["runs/1"]
    assert runs_beside(Path("missing/one")) == ["runs/1"]
    Path("more/a/config.yaml").write_text("{}")
    assert runs_beside(Path("more")) == ["more/a"]
    assert runs_beside(Path("more/b")) == ["more/a"]
