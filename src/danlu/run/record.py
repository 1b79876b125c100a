"""The record of a run: rows of named numbers appended during training, one JSON object per line."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from danlu.refuse import Failure, Refusal, refusal
from danlu.run.quantities import VOCABULARY
from danlu.user_objects import current


class Record:
    """Rows `{"kind": "epoch" | "step", "epoch": 3, "step": 1290, "train.loss": 0.12, ...}` in the order of training.

    Args:
        path: File that mirrors the rows; None keeps them in memory only (processes of rank above 0).
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []

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
        if self.path is not None:
            try:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
            except OSError as error:
                raise Failure(f"{self.path} could not be written: {error.strerror}") from None

    def cut(self, count: int) -> None:
        """Keep the first `count` rows, in memory and on disk, when a run resumes from a checkpoint."""
        self.rows = self.rows[:count]
        if self.path is not None:
            temporary = self.path.with_name(self.path.name + ".part")
            try:
                temporary.write_text("".join(json.dumps(row) + "\n" for row in self.rows), encoding="utf-8")
                temporary.replace(self.path)
            except OSError as error:
                raise Failure(f"{self.path} could not be written: {error.strerror}") from None

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the rows of one kind, "epoch" or "step"."""
        return [row for row in self.rows if row["kind"] == kind]

    @classmethod
    def read(cls, path: Path) -> Record:
        """Read a record from a file; a missing file is an empty record.

        A last line truncated by a kill is dropped.

        Raises:
            Refusal: An unreadable file, or any other malformed line.
        """
        record = cls(path)
        try:
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        except (OSError, UnicodeDecodeError) as error:
            raise Refusal(f"{path} must be readable text: {error}") from None
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                if number == len(lines):
                    break
                row = None
            if not isinstance(row, dict) or not {"kind", "epoch", "step"} <= row.keys():
                raise refusal(f"{path} line {number}", "one JSON object with kind, epoch and step", line[:40])
            record.rows.append(row)
        return record


def _json_number(value: float) -> float | None:
    """Replace NaN and infinity, which JSON lacks, by null."""
    return value if math.isfinite(value) else None
