"""A bug of danlu leaves one sentence and a report that can be sent as it is; what was trained stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from danlu.cli import main
from danlu.run.bug_report import bug_report, keep_report
from danlu.training import finish, train_run

TRAIN = "train digits --model softmax --epochs 1 --data.limit 100 --precision fp32 --channels-last false --out r"


pytestmark = pytest.mark.internal_errors


def broken(*args: object, **named: object) -> None:
    raise KeyError("colour")


def complete(text: str, command: str) -> None:
    lines = text[text.index("--- danlu bug report ---") :].splitlines()
    assert lines[1].startswith("versions: python 3")
    assert ", torch " in lines[1]
    assert lines[2] == f"command: danlu {command}"
    assert lines[3].startswith("place: danlu/training/")
    assert "Traceback (most recent call last):" in lines
    assert lines[-1] == "--- end of the bug report ---"
    assert any(line == "KeyError: 'colour'" for line in lines)


def test_a_bug_after_the_epochs_keeps_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(finish, "summarise", broken)
        assert main(TRAIN.split()) == 1
    sentence = "danlu: internal error: KeyError: 'colour'; please report it with the end of r/log.txt\n"
    assert capsys.readouterr().err == sentence
    complete(Path("r/log.txt").read_text(), TRAIN)
    assert Path("r/weights/last.safetensors").exists()
    assert main(["train", "--resume", "r"]) == 0
    assert Path("r/report.html").exists()


def test_a_bug_before_the_first_epoch_leaves_its_report_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train_run, "fit", broken)
    assert main(TRAIN.split()) == 1
    assert "please report it with the end of danlu-bug-report.txt" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["danlu-bug-report.txt"]
    complete(Path("danlu-bug-report.txt").read_text(), TRAIN)


def test_the_run_that_a_command_names_keeps_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    Path("a/config.yaml").write_text("")
    assert keep_report(KeyError("x"), ["report", "", "\0", "a"]) == Path("a/log.txt")
    assert keep_report(KeyError("x"), ["report", "b"]) == Path("danlu-bug-report.txt")
    assert "place: outside of danlu" in bug_report(KeyError("x"), ["report"])
