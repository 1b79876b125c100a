"""Columns of tables that name the split of each row, by words or as flags, and columns that only look so."""

from __future__ import annotations

from collections.abc import Sequence

from danlu.data.dataset import TEST, TRAIN, UNASSIGNED, VAL
from danlu.data.sources.tables.box_columns import plain
from danlu.data.split_names import split_of

SPLIT_COLUMNS = {"split", "set", "subset", "dataset", "partition", "phase", "usage", "traintest", "fold"}
FOLD_COLUMNS = {"fold", "folds", "kfold", "cvfold", "foldid"}
# Plain names of columns of flags -> the splits of rows with the flag, and of those without.
FLAGS = {
    **dict.fromkeys(("isvalid", "isval", "isvalidation", "isvalidationset"), (VAL, TRAIN)),
    **dict.fromkeys(("istest", "istesting", "istestset"), (TEST, TRAIN)),
    **dict.fromkeys(("istrain", "istraining", "istrainset"), (TRAIN, TEST)),
}
MOST_SPLITS = (TRAIN, VAL, TEST, UNASSIGNED)
TRUE, FALSE = ("true", "1", "1.0", "yes"), ("false", "0", "0.0", "no")


def split_column(lower: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> int | None:
    """The column that names the split of each row."""
    for i, name in enumerate(lower):
        if plain(name) in FLAGS and rows and all(row[i].strip().lower() in TRUE + FALSE for row in rows):
            return i
        values = {row[i].strip() for row in rows} if plain(name) in SPLIT_COLUMNS else set()
        named = {value for value in values if value and value.upper() != "UNASSIGNED"}
        if named and all(split_of(value) != UNASSIGNED for value in named):
            return i
    return None


def split_of_value(column: str, value: str) -> int:
    """The split that a value of a split column names. column: its name."""
    if flagged := FLAGS.get(plain(column)):
        return flagged[value.strip().lower() not in TRUE]
    return split_of(value)


def numbered_splits(header: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[str, str] | None:
    """The name and values of a column of splits that are numbers, whose meaning is not written anywhere; else None."""
    for i, name in enumerate(header):
        values = {row[i].strip() for row in rows} if plain(name) in SPLIT_COLUMNS - FOLD_COLUMNS else set()
        if 1 < len(values) <= len(MOST_SPLITS) and all(value.isdecimal() for value in values):
            return name, ", ".join(sorted(values))
    return None


def fold_column(header: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[str, int] | None:
    """The name of a column that numbers the folds of a cross-validation, and their number; None without one."""
    for i, name in enumerate(header):
        values = {row[i].strip() for row in rows} if plain(name) in FOLD_COLUMNS else set()
        if len(values) > 1 and all(value.replace(".0", "").isdecimal() for value in values):
            return name, len(values)
    return None
