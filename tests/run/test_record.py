"""Rows are written as they are added, read back equal, and survive a kill in the middle of a line."""

import json
import zlib

import pytest

from danlu.refuse import Failure, Refusal
from danlu.run.checksums import expect_beginning
from danlu.run.record import Record


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.jsonl"


def fill(record, epochs=3):
    for epoch in range(1, epochs + 1):
        record.add("step", epoch=epoch, step=epoch * 10, values={"train.loss": 1 / epoch, "lr": 0.1})
        record.add("epoch", epoch=epoch, step=epoch * 10, values={"val.accuracy": 0.5})
    return record


def test_rows_come_back(path):
    written = fill(Record(path))
    assert Record.read(path).rows == written.rows
    assert [row["epoch"] for row in written.of("epoch")] == [1, 2, 3]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_without_a_path_nothing_is_written(path):
    assert len(fill(Record()).rows) == 6
    assert not path.exists()


def test_unknown_names_are_a_mistake_of_the_program(path):
    with pytest.raises(KeyError, match=r"train\.los"):
        Record(path).add("step", epoch=1, step=1, values={"train.los": 1.0})
    assert not path.exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_nonfinite_numbers_become_null(path, value):
    Record(path).add("step", epoch=1, step=1, values={"train.loss": value})
    assert Record.read(path).rows[0]["train.loss"] is None
    assert "NaN" not in path.read_text()


def test_cut_keeps_the_first_rows_here_and_on_disk(path):
    record = fill(Record(path))
    record.cut(3)
    assert len(record.rows) == 3
    assert Record.read(path).rows == record.rows
    record.add("epoch", epoch=9, step=9, values={})
    assert [row["epoch"] for row in Record.read(path).rows] == [1, 1, 2, 9]


def test_a_last_line_cut_short_is_dropped(path):
    whole = fill(Record(path)).rows
    path.write_text(path.read_text()[:-15])
    assert Record.read(path).rows == whole[:-1]


@pytest.mark.parametrize("line", ["{broken", "3", "[1]", '{"epoch": 1}', "null"])
def test_any_other_broken_line_is_refused(path, line):
    fill(Record(path))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line, *lines[3:]]))
    with pytest.raises(Refusal, match=r"metrics\.jsonl line 3 must be one JSON object"):
        Record.read(path)


@pytest.mark.parametrize("rows", [0, 4])
@pytest.mark.parametrize("tail", [bytes(600), b'{"kind": "st' + bytes(500), b"\xff\n" * 3])
def test_what_a_power_cut_leaves_after_the_listed_rows_is_dropped(path, rows, tail):
    whole = fill(Record(path)).rows[:rows]
    kept = b"".join(path.read_bytes().splitlines(keepends=True)[:rows])
    expect_beginning(path, zlib.crc32(kept), len(kept))
    path.write_bytes(kept + tail)
    assert Record.read(path).rows == whole


def test_no_file_is_an_empty_record(path):
    assert Record.read(path).rows == []


def test_unwritable_path_is_a_failure(tmp_path):
    with pytest.raises(Failure, match="could not be written"):
        fill(Record(tmp_path / "no" / "metrics.jsonl"))
