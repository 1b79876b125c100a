"""Lightning's CSVLogger: metrics.csv, where each row holds only some of the columns."""

from __future__ import annotations

from pathlib import Path

from danlu.doctor.curves.log import Curves, Reader, curves_of_rows
from danlu.doctor.curves.tables import header, rows


def look(path: Path) -> str | None:
    """Evidence of CSVLogger: columns epoch and step, and rows with empty cells."""
    names = header(path)
    if not {"epoch", "step"} <= set(names) or len(names) < 3:
        return None
    sparse = any("" in row.values() for row in rows(path)[:200])
    return "columns epoch and step, and rows with empty cells" if sparse else None


def read(path: Path) -> tuple[str, Curves]:
    """Curves by training step; the column of epochs is none."""
    return "step", curves_of_rows(rows(path), "step", ("epoch",))


READER = Reader("Lightning", "metrics.csv of CSVLogger", look, read, order=20)
