"""checksums.txt: what is listed, in which order, and what a kill or a full disk between two writes leaves."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from danlu.refuse import Failure, Refusal
from danlu.run import folder
from danlu.run.checksums import FILE, check, expect, expect_beginning, is_intact
from danlu.run.folder import Run


def test_a_flipped_byte_is_named_with_the_way_back(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.write_json("summary.json", {"accuracy": 0.5})
    (tmp_path / "summary.json").write_text('{\n "accuracy": 0.6\n}\n')
    with pytest.raises(
        Refusal, match=r"summary\.json is damaged.*put the file back as it was, or delete .*checksums\.txt"
    ):
        run.read_json("summary.json", default={})
    (tmp_path / FILE).unlink()
    assert run.read_json("summary.json", default={}) == {"accuracy": 0.6}


def test_a_kill_between_the_two_writes_leaves_the_old_content_intact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path)
    run.write_json("summary.json", {"epochs": 1})

    def killed(path: Path, write: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(folder, "write_atomically", killed)
    with pytest.raises(KeyboardInterrupt):
        run.write_json("summary.json", {"epochs": 2})
    assert run.read_json("summary.json", default={}) == {"epochs": 1}


def test_a_file_without_a_line_is_not_checked(tmp_path: Path) -> None:
    expect(tmp_path / "summary.json", b"{}")
    check(tmp_path / "findings.json", b"[]")
    with pytest.raises(Refusal):
        check(tmp_path / "summary.json", b"[]")


def test_a_growing_file_is_checked_up_to_its_last_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for content in (b"one\n", b"one\ntwo\n"):
        expect_beginning(path, zlib.crc32(content), len(content))
    assert is_intact(path, b"one\ntwo\nthree\n")
    for damaged in (b"one\ntwa\nthree\n", b"one\n", b""):
        assert not is_intact(path, damaged)
    expect(path, b"one\n")  # cut back to an earlier checkpoint
    assert is_intact(path, b"one\n2\n")


def test_a_line_that_was_cut_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    expect(path, b"old")
    listed = tmp_path / FILE
    listed.write_bytes(listed.read_bytes() + b"0123abcd 9 summ")
    expect(path, b"new")
    assert is_intact(path, b"old")
    assert is_intact(path, b"new")
    assert not is_intact(path, b"other")


def test_a_folder_that_cannot_be_written_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(Failure, match=r"checksums\.txt could not be written"):
        expect(tmp_path / "summary.json", b"{}")


def test_config_yaml_may_be_edited(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.write_text("config.yaml", "epochs: 3\n")
    assert not run.edited
    (tmp_path / "config.yaml").write_text("epochs: 4\n")
    assert run.edited
    assert run.config.epochs == 4
