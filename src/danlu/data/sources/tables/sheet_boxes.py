"""Values of the boxes in the rows of a table that names images, and the sizes of the images."""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence

import numpy as np

from danlu.data.sources.labelled_images.box_forms import are_fractions
from danlu.data.sources.tables.sheets import SIZE_COLUMNS, Sheet
from danlu.data.sources.tables.text_tables import DECIMAL_COMMA, numbers


def box_of_row(sheet: Sheet, row: Sequence[str]) -> tuple[float, float, float, float] | None:
    """The box x1, y1, x2, y2 of a row; None if its columns hold no four numbers."""
    values = [row[i] for i in sheet.box]
    if not values:
        return None
    if len(values) == 1:
        try:
            found = ast.literal_eval(values[0].strip() or "()")
            values = [str(value) for value in found]
        except (ValueError, SyntaxError, TypeError):
            values = values[0].split()
    values = [value.replace(",", ".") if DECIMAL_COMMA.fullmatch(value.strip()) else value for value in values]
    found = numbers(values) if len(values) == 4 else None
    if found is None:
        return None
    a, b, c, d = found.tolist()
    if sheet.form == "centred":
        return a - c / 2, b - d / 2, a + c / 2, b + d / 2
    return (a, b, a + c, b + d) if sheet.form == "sized" else (a, b, c, d)


def has_fractions(sheet: Sheet) -> bool:
    """Return whether the coordinates are fractions of the images."""
    found = [box for row in sheet.rows if (box := box_of_row(sheet, row)) is not None]
    boxes = np.array(found).reshape(-1, 4)
    if sheet.form == "sized":  # of sizes the far corners may lie beyond 1, where x and y are those of the centre
        boxes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    return are_fractions(boxes)


def size_of(sheet: Sheet, row: Sequence[str]) -> tuple[int, int] | None:
    """The size (height, width) of a row's image; None if no columns hold it."""
    for height, width in SIZE_COLUMNS:
        if height in sheet.header and width in sheet.header:
            i, j = sheet.header.index(height), sheet.header.index(width)
            if not {i, j} & set(sheet.box):
                found = numbers([row[i], row[j]])
                if found is not None and found.min() > 0 and math.isfinite(found.sum()):
                    return int(found[0]), int(found[1])
    return None
