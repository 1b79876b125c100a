"""Rows of csv, json and jsonl files, read leniently: a log may be cut off while it is written."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

MAX_BYTES = 512 * 2**20  # larger files are no logs of curves


def header(path: Path) -> list[str]:
    """Names of the columns of a csv file, without surrounding blanks; empty if it is none."""
    if path.suffix.lower() not in (".csv", ".tsv", ".txt"):
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [cell.strip() for cell in next(csv.reader(islice(file, 1), delimiter=_delimiter(path)), [])]
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def rows(path: Path) -> list[dict[str, str]]:
    """Rows of a csv file by column. Repeated headers, as of a resumed run, and rows cut off at the end are left out."""
    names = header(path)
    with path.open(encoding="utf-8-sig", newline="", errors="replace") as file:
        lines = list(csv.reader((line.replace("\0", "") for line in islice(file, 1, None)), delimiter=_delimiter(path)))
    found = [dict(zip(names, map(str.strip, line))) for line in lines if len(line) == len(names)]
    return [row for row in found if list(row.values()) != names]


@lru_cache(maxsize=64)
def _delimiter(path: Path) -> str:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        first = file.readline(100_000)
    return max((",", "\t", ";"), key=first.count)


def json_of(path: Path) -> Any:
    """Contents of a json file; None if it is none."""
    if path.suffix.lower() != ".json":
        return None
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def json_lines(path: Path, most: int | None = None) -> list[Mapping[str, Any]]:
    """Objects of a jsonl file, one a line, at most `most`; empty if a line before the last is no object."""
    found: list[Mapping[str, Any]] = []
    try:
        with path.open(encoding="utf-8") as file:
            for line in islice(file, most):
                if not line.strip():
                    continue
                try:
                    one = json.loads(line)
                except ValueError:
                    return found  # cut off while it was written
                if not isinstance(one, dict):
                    return []
                found.append(one)
    except (OSError, UnicodeDecodeError, RecursionError):
        return []
    return found
