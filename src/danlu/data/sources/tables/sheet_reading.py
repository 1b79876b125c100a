"""Parts of reading tables that name images: the column of labels, and notes on columns that are not used."""

from __future__ import annotations

from collections.abc import Sequence

from danlu.data.files.survey import Survey
from danlu.data.sources.tables.sheets import Sheet, sheets_of
from danlu.data.sources.tables.split_columns import fold_column, numbered_splits
from danlu.message import message
from danlu.refuse import NOTHING, refusal

RAGGED = message("data.problem.many_fields_header", "not as many fields as the header")  # of a line that is no row


def label_column(sheet: Sheet, target: str | None) -> int:
    """Number of the column of labels, or of the one that --target names. Raises Refusal where there is none."""
    if target is None and sheet.label is not None:
        return sheet.label
    names = [name.lower() for name in sheet.header]
    if target is None or target.lower() not in names:
        wanted = message("data.wanted.labelled_csv_column", "a column of {path}", path=sheet.file.path)
        raise refusal("--target", wanted, NOTHING if target is None else target, near=sheet.header)
    return names.index(target.lower())


def of_any_column(data: Survey) -> list[Sheet]:
    """Tables whose column of labels only --target tells."""
    return sheets_of(data, "unclear") or sheets_of(data, "unread")


def fold_notes(sheets: Sequence[Sheet]) -> Sequence[str]:
    """A note on each column of folds, and of splits that are numbers, which are not used."""
    text = "the column {column} of {file} numbers folds and is not used: --folds {count} makes folds of its own"
    found = [(sheet, fold) for sheet in sheets if (fold := fold_column(sheet.header, sheet.rows)) is not None]
    notes = [
        message("data.note.fold_column", text, column=column, file=sheet.file.relative, count=count)
        for sheet, (column, count) in found
    ]
    text = "the column {column} of {file} is not used: {values} do not name the splits; write train, val and test"
    for sheet in sheets:
        if sheet.split_column is None and (other := numbered_splits(sheet.header, sheet.rows)) is not None:
            values = {"column": other[0], "file": sheet.file.relative, "values": other[1]}
            notes.append(message("data.note.numbered_splits", text, **values))
    return notes
