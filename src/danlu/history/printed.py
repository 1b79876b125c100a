"""Terminal output of `danlu runs` and `danlu compare`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from danlu.history.runs import RunsTable
from danlu.message import translated
from danlu.printing.lines import print_line
from danlu.printing.tables import plain_table, print_in_parts, print_whole
from danlu.report.markup import duration, metric_value, words
from danlu.run.names import metric_key

if TYPE_CHECKING:
    from danlu.history.compare import RunsComparison  # imports torch


def print_runs(console: Console, found: RunsTable) -> None:
    """One line a run; the best one is marked."""
    if not found.runs:
        print_line(console, translated("history.none", "no runs in {folder}", folder=found.folder))
        return
    numbers = ("epochs", "val", "test", "time", "findings")
    tags = ("tags",) if any(row.tags for row in found.runs) else ()
    heads = ("run", "state", "model", "data", *tags, "metric", *numbers)
    shown = {name: translated(f"history.column.{name}", name) for name in heads}
    right = {shown[name] for name in numbers}
    table = plain_table(list(shown.values()), right=right, whole=right)
    for row in found.runs:
        values = [metric_value(row.metric, value) for value in (row.val, row.test)]
        table.add_row(
            row.run + (" *" if row.best else ""),
            translated(f"history.state.{row.state}", row.state),
            row.model,
            row.data,
            *([",".join(row.tags)] if tags else ()),
            metric_key(row.metric),
            str(row.epochs),
            *values,
            duration(row.seconds),
            str(row.findings),
        )
    print_whole(console, table)
    if any(row.best for row in found.runs):
        print_line(console, translated("history.best", "* best on the validation set, of the runs on the same data"))


def print_runs_comparison(console: Console, found: RunsComparison) -> None:
    """Settings that differ and final metrics, one column a run, and the place of the page."""
    rows = [[key, *map(words, values)] for key, values in found.settings.items()]
    rows += [
        [name, *(metric_value(name.partition(".")[2], value) for value in values)]
        for name, values in found.metrics.items()
    ]
    print_in_parts(console, ["", *found.runs], rows)
    if found.images_note:
        print_line(console, str(found.images_note))
    print_line(console, translated("history.page", "page: {page}", page=found.page))
