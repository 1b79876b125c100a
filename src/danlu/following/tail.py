"""Rows of metrics.jsonl while another process appends to it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class Tail:
    """Reads a file of JSON lines from where the last reading ended; a line that is being written is left for later.

    A file that was replaced, as when a run resumes from its checkpoint, is read again from its start.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        self._inode, self._offset = -1, 0

    def poll(self) -> bool:
        """Read new lines; return whether the rows have changed."""
        try:
            file = self.path.open("rb")
        except OSError:
            changed = bool(self.rows)
            self.rows, self._inode, self._offset = [], -1, 0
            return changed
        with file:
            found = os.fstat(file.fileno())
            replaced = found.st_ino != self._inode or found.st_size < self._offset
            if replaced:
                self.rows, self._inode, self._offset = [], found.st_ino, 0
            file.seek(self._offset)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue  # edited by hand; the report lists it
            if isinstance(row, dict) and "kind" in row:
                self.rows.append(row)
        return replaced or bool(whole)

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """Rows of epochs."""
        return [row for row in self.rows if row["kind"] == "epoch"]
