"""`Log`: the curves of one training as a tool wrote them; `Reader`: how one format is recognised and read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class Point(NamedTuple):
    """One value of a curve. x: step or epoch, on the axis of the log."""

    x: float
    value: float


Curve = list[Point]
Curves = Mapping[str, Curve]  # name as the tool wrote it -> points, in the order of the file


@dataclass(frozen=True)
class Log:
    """The curves of one training.

    format: name of the tool. path: file or folder that was read. evidence: what the format was recognised by.
    axis: "step" or "epoch", the unit of x.
    """

    format: str
    path: Path
    evidence: str
    axis: str
    curves: Curves


@dataclass(frozen=True)
class Reader:
    """One format of logs.

    name: name of the tool, as shown. description: its files. order: readers with a lower order are asked first, so that
    formats with names of their own come before general tables. look: evidence that a path holds this format, or None;
    it reads the contents, not only the name. read: the axis of the log and its curves; called only where `look` gave
    evidence. files, folders: whether the format is one file, or a folder of files, or either.
    """

    name: str
    description: str
    look: Callable[[Path], str | None]
    read: Callable[[Path], tuple[str, Curves]]
    order: int = 50
    files: bool = True
    folders: bool = False


@dataclass
class Collector:
    """Collects values by name and x, and makes curves of them."""

    curves: dict[str, Curve] = field(default_factory=dict)

    def add(self, name: str, x: float, value: object) -> None:
        """Add a value; values that are not numbers are ignored."""
        number = as_number(value)
        if number is not None:
            self.curves.setdefault(name, []).append(Point(x, number))


def as_number(value: object) -> float | None:
    """A number, or a text that is one (NaN and infinity too); None for anything else, as for an empty cell."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def curves_of_rows(rows: Iterable[Mapping[str, object]], axis: str, without: Iterable[str] = ()) -> dict[str, Curve]:
    """Curves of a table with one row per record, whose cells may be missing.

    axis: name of the column of x; "" numbers the rows. A row without x takes that of the row before. without: columns
    that are no curves.
    """
    collector, x, left_out = Collector(), 0.0, {axis, *without}
    for number, row in enumerate(rows):
        found = as_number(row.get(axis)) if axis else float(number)
        x = x if found is None or not math.isfinite(found) else found
        for name, value in row.items():
            if name not in left_out:
                collector.add(name, x, value)
    return collector.curves
