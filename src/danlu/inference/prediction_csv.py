"""Predictions as a csv table: one row per image or table row, or one per object."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from danlu.inference.prediction import Prediction
from danlu.message import message
from danlu.refuse import blame, refusal

FORMULA_STARTS = tuple("=+-@\t\r\n")  # a cell of text that begins so is run as a formula by spreadsheets


def check_csv(file: str | Path) -> None:
    """Raise Refusal unless `file` is a name for a table in an existing folder; before the work, which takes long."""
    path = Path(file)
    if path.suffix.lower() != ".csv" or path.is_dir():
        raise refusal("--csv", message("inference.wanted.csv_file_write", "a .csv file to write"), str(file))
    if not path.parent.is_dir():
        raise refusal(
            "--csv", message("inference.wanted.file_existing_folder", "a file in an existing folder"), str(file)
        )


def write_csv(predictions: Sequence[Prediction], file: str | Path) -> Path:
    """Write a table of predictions, UTF-8 with a byte order mark, which spreadsheets need to recognise it.

    Columns: path, then class, confidence and the probability of each class; or labels and probabilities; or the value
    of each target; or class, score, left, top, right, bottom of each object; and error, of images that cannot be read.

    Raises:
        Refusal: The file cannot be written.
    """
    rows = [row for one in predictions for row in _rows(one)]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    try:
        with Path(file).open("w", newline="", encoding="utf-8-sig", errors="backslashreplace") as stream:
            table = csv.writer(stream)
            table.writerow(map(_cell, columns))
            table.writerows([_cell(row.get(column, "")) for column in columns] for row in rows)
    except OSError as error:
        raise blame(error, f"--csv {file}") from None
    return Path(file)


def _rows(one: Prediction) -> list[dict[str, Any]]:
    """Rows of one prediction, by column."""
    if one.error is not None:
        return [{"path": one.path, "error": one.error}]
    if one.objects is not None:
        sides = ("left", "top", "right", "bottom")
        return [
            {"path": one.path, "class": found.label, "score": found.score, **dict(zip(sides, found.box))}
            for found in one.objects
        ] or [{"path": one.path}]
    row: dict[str, Any] = {"path": one.path}
    if one.label is not None:
        row |= {"class": one.label, "confidence": one.confidence}
    if one.distance is not None:
        row |= {"distance": one.distance}
    if one.labels is not None:
        row |= {"labels": ";".join(name for name, _ in one.labels)}
    if one.value is not None:
        row |= {"value": one.value}
    return [row | dict(one.targets or {}) | {f"p({name})": value for name, value in (one.probabilities or {}).items()}]


def _cell(value: Any) -> Any:
    """A value for a cell; text that a spreadsheet would take for a formula begins with an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value
