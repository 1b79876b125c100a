"""The record of a run: rows of named numbers appended during training, one JSON object per line."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from danlu.message import message
from danlu.refuse import Failure, Refusal, refusal, system_reason
from danlu.run.atomic import write_atomically
from danlu.run.checksums import check, expect, listed_size
from danlu.run.quantities import VOCABULARY
from danlu.user_objects import current

PUT_BACK = message("run.do.put_back", "put the file back as it was, or train it again")


class Record:
    """Rows `{"kind": "epoch" | "step", "epoch": 3, "step": 1290, "train.loss": 0.12, ...}` in the order of training.

    Args:
        path: File that mirrors the rows; None keeps them in memory only (processes of rank above 0).
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        self.checksum = 0  # CRC-32 of the lines of all rows

    def add(self, kind: Literal["epoch", "step"], *, epoch: int, step: int, values: Mapping[str, float]) -> None:
        """Append one row, in memory and to the file.

        Raises:
            KeyError: A name missing from `danlu.run.quantities.VOCABULARY`, which is a bug, but for the user's metrics.
            Failure: The file could not be written.
        """
        for name in values:
            if name not in VOCABULARY and current().metrics is None:
                raise KeyError(f"{name!r} is not in danlu.run.quantities.VOCABULARY")
        row = {"kind": kind, "epoch": epoch, "step": step, **{k: _json_number(v) for k, v in values.items()}}
        self.rows.append(row)
        self.checksum = zlib.crc32(_line(row), self.checksum)
        if self.path is not None:
            try:
                with self.path.open("ab") as file:
                    file.write(_line(row))
            except OSError as error:
                raise Failure(
                    message(
                        "run.refuse.could_written",
                        "{path} could not be written: {strerror}",
                        path=self.path,
                        strerror=system_reason(error),
                    )
                ) from None

    def cut(self, count: int, checksum: int | None = None) -> None:
        """Keep the first `count` rows, in memory and on disk, when a run resumes from a checkpoint.

        Args:
            count: Number of rows when the checkpoint was made.
            checksum: Checksum of the record at that time, None to accept any rows.

        Raises:
            Refusal: Rows are missing, or were changed since.
            Failure: The file could not be written.
        """
        lines = [_line(row) for row in self.rows[:count]]
        found = zlib.crc32(b"".join(lines))
        if len(lines) < count:
            raise Refusal(
                message(
                    "run.refuse.rows_checkpoint_made_after",
                    "{path} has {lines} rows, but the checkpoint was made after {count}; {put_back}",
                    path=self.path,
                    lines=len(lines),
                    count=count,
                    put_back=PUT_BACK,
                )
            )
        if checksum is not None and found != checksum:
            raise Refusal(
                message(
                    "run.refuse.damaged_first_rows_differ",
                    "{path} is damaged: its first {count} rows differ from the checkpoint's; {put_back}",
                    path=self.path,
                    count=count,
                    put_back=PUT_BACK,
                )
            )
        self.rows, self.checksum = self.rows[:count], found
        if self.path is not None:
            content = b"".join(lines)
            expect(self.path, content)
            write_atomically(self.path, lambda path: path.write_bytes(content))

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the rows of one kind, "epoch" or "step"."""
        return [row for row in self.rows if row["kind"] == kind]

    @classmethod
    def read(cls, path: Path) -> Record:
        """Read a record from a file; a missing file is an empty record.

        A last line truncated by a kill is dropped, and what a power cut has left after the rows that are listed.

        Raises:
            Refusal: An unreadable file, or any other malformed line.
        """
        record = cls(path)
        try:
            content = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise Refusal(
                message(
                    "run.refuse.readable_text", "{path} must be readable text: {error}", path=path, error=str(error)
                )
            ) from None
        check(path, content)
        lines, size = content.splitlines(), listed_size(path)
        listed = len(content[:size].splitlines())  # all, if the record has no line in checksums.txt
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                if number > listed or (number == len(lines) and line.startswith(b"{")):
                    break
                row = None
            if not isinstance(row, dict) or not {"kind", "epoch", "step"} <= row.keys():
                raise refusal(
                    f"{path} line {number}",
                    message("run.wanted.json_object_kind_epoch", "one JSON object with kind, epoch and step"),
                    repr(line[:40])[2:-1],
                )
            record.rows.append(row)
            record.checksum = zlib.crc32(_line(row), record.checksum)
        return record


def _line(row: Mapping[str, Any]) -> bytes:
    return (json.dumps(row) + "\n").encode()


def _json_number(value: float) -> float | None:
    """Replace NaN and infinity, which JSON lacks, by null."""
    return value if math.isfinite(value) else None
