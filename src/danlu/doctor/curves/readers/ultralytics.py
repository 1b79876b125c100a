"""Ultralytics: results.csv with train/..., val/..., metrics/... and lr/... by epoch."""

from __future__ import annotations

from pathlib import Path

from danlu.doctor.curves.log import Curves, Reader, curves_of_rows
from danlu.doctor.curves.tables import header, rows


def look(path: Path) -> str | None:
    """Evidence of results.csv: a loss under train/, and a column under metrics/ or lr/."""
    names = header(path)
    losses = [name for name in names if name.startswith("train/") and name.endswith("loss")]
    others = [name for name in names if name.startswith(("metrics/", "lr/", "x/lr"))]
    return f"columns {losses[0]} and {others[0]}" if losses and others else None


def read(path: Path) -> tuple[str, Curves]:
    """Curves by epoch of all columns but the time."""
    curves = curves_of_rows(rows(path), "epoch", ("time",))
    return "epoch", curves


READER = Reader("Ultralytics", "results.csv", look, read, order=10)
