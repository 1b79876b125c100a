"""Notes on the input columns of a table that are of little use, and those that are left out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from danlu.message import message

if TYPE_CHECKING:
    import pandas

MIN_COUNTED = 20  # rows
DATE = re.compile(r"^\d{4}[-/]\d{1,2}[-/]\d{1,2}|^\d{1,2}[./]\d{1,2}[./]\d{4}")


def remarked(inputs: Any, notes: list[str]) -> pandas.DataFrame:
    """Add notes about columns of little use, drop row numbers, and replace infinities by missing values."""
    import pandas

    for name in list(inputs.columns):
        column = inputs[name]
        if name.startswith("Unnamed: ") and (column.isna().all() or column.is_monotonic_increasing):
            inputs = inputs.drop(columns=name)  # row numbers written by pandas, or a separator at the end of lines
            notes.append(
                message(
                    "data.note.column_without_name_used",
                    "column {number} without a name is not used: it is empty or numbers the rows",
                    number=int(name[9:]) + 1,
                )
            )
            continue
        present = column.dropna()
        if _numbers_rows(present):
            text = "column {name!r} numbers the rows, which tells nothing about others: remove it from the file"
            notes.append(message("data.note.column_numbers_rows", text, name=name))
        if present.nunique() <= 1:
            what = message("data.problem.no_value", "no value")
            if len(present):
                what = message("data.note.only", "only {value}", value=str(present.iloc[0]))
            notes.append(message("data.note.column", "column {name!r} has {what}", name=name, what=what))
        elif not pandas.api.types.is_numeric_dtype(column):
            distinct = present.nunique()
            if DATE.match(str(present.iloc[0])):
                notes.append(
                    message(
                        "data.note.column_looks_like_dates",
                        "column {name!r} looks like dates; it is read as text",
                        name=name,
                    )
                )
            elif distinct > 50 and distinct > 0.5 * len(present):
                notes.append(
                    message(
                        "data.note.column_different_texts_looks",
                        "column {name!r} has {distinct} different texts and looks like an identifier of the row",
                        name=name,
                        distinct=distinct,
                    )
                )
        elif not pandas.api.types.is_bool_dtype(column) and (bad := np.isinf(column.to_numpy(dtype=float))).any():
            inputs[name] = column.mask(bad)
            notes.append(
                message(
                    "data.note.column_infinite_values_treated",
                    "column {name!r} has {count} infinite {count:value|values}, treated as missing",
                    name=name,
                    count=int(bad.sum()),
                )
            )
    return inputs


def _numbers_rows(column: Any) -> bool:
    """Return whether a column counts the rows from 0 or 1, of which some may be missing."""
    rising = column.dtype.kind == "i" and column.is_monotonic_increasing and column.is_unique
    return bool(rising and len(column) > MIN_COUNTED and column.iloc[0] < 2 and column.iloc[-1] < 1.5 * len(column))
