"""A table of one's own, as csv or jsonl: a column of epochs or steps and a loss."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from danlu.doctor.curves.columns import is_loss
from danlu.doctor.curves.log import Curves, Reader, curves_of_rows
from danlu.doctor.curves.tables import header, json_lines, rows

AXES = ("step", "global_step", "steps", "iteration", "iter", "iterations", "epoch", "epochs")  # finest first
JSON_LINES = (".jsonl", ".ndjson", ".json", ".log", ".txt")


def look(path: Path) -> str | None:
    """Evidence of any log: a column of epochs or steps, and a loss."""
    names = header(path) or _keys(path)
    axis, losses = _axis(names), [name for name in names if is_loss(name)]
    return f"columns {axis} and {losses[0]}" if axis and losses else None


def read(path: Path) -> tuple[str, Curves]:
    """Curves by the finest axis that the table has."""
    names = header(path)
    axis = _axis(names or _keys(path))
    plain = axis if axis is None or axis.lower() != "epochs" else "epoch"
    unit = "epoch" if (plain or "").lower().startswith("epoch") else "step"
    others = [name for name in (names or _keys(path)) if name.lower() in AXES]
    records = rows(path) if _axis(names) else json_lines(path)
    return unit, curves_of_rows(records, axis or "", others)


def _axis(names: Iterable[str]) -> str | None:
    low = {name.lower(): name for name in reversed(list(names))}
    return next((low[axis] for axis in AXES if axis in low), None)


def _keys(path: Path) -> list[str]:
    if path.suffix.lower() not in JSON_LINES:
        return []
    return list(dict.fromkeys(key for one in json_lines(path, 200) for key in one))


READER = Reader("table", "csv or jsonl with a column of epochs or steps and a loss", look, read, order=90)
