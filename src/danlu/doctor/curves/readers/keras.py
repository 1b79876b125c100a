"""Keras: History.history as json (name -> list of values), and the csv file of CSVLogger."""

from __future__ import annotations

from pathlib import Path

from danlu.doctor.curves.log import Collector, Curves, Reader, as_number, curves_of_rows
from danlu.doctor.curves.tables import header, json_of, rows

RATES = ("lr", "learning_rate")


def look(path: Path) -> str | None:
    """Evidence of Keras: the columns of CSVLogger, or a json object with a list of losses."""
    names = header(path)
    if names:
        measured = {name for name in names[1:] if name not in RATES}
        plain = {name for name in measured if not name.startswith("val_")}
        twins = {f"val_{name}" for name in plain}
        known = names[0] == "epoch" and "loss" in plain and len(plain) > 1 and measured <= plain | twins
        known = known and (names[1:] == sorted(names[1:]) or twins <= measured)
        return "columns epoch, loss and metrics, with val_ before those of validation" if known else None
    found = json_of(path)
    return "key loss with a list of numbers" if isinstance(found, dict) and _is_series(found.get("loss")) else None


def read(path: Path) -> tuple[str, Curves]:
    """Curves by epoch, from the csv file or the json object."""
    if header(path):
        curves = curves_of_rows(rows(path), "epoch")
    else:
        collector = Collector()
        for name, values in json_of(path).items():
            for epoch, value in enumerate(values if isinstance(values, list) else ()):
                collector.add(name, epoch, value)
        curves = collector.curves
    return "epoch", curves


def _is_series(values: object) -> bool:
    return isinstance(values, list) and len(values) > 0 and all(as_number(one) is not None for one in values)


READER = Reader("Keras", "History.history as json, or the csv of CSVLogger", look, read, order=40)
