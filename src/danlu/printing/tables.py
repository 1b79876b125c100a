"""The one look of the tables that verbs print, at any width of the terminal."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

GAP = 2  # signs between columns, of which a Chinese one takes two


def plain_table(headings: Sequence[str], right: Collection[str] = (), whole: Collection[str] = ()) -> Table:
    """An empty table whose cells fold where the line is too short.

    right, whole: the headings of columns that are set flush right, and of those (of short cells) that never fold.
    """
    table = Table(box=None, padding=(0, GAP, 0, 0), header_style="bold")
    for heading in headings:
        side = "right" if heading in right else "left"
        table.add_column(heading, overflow="fold", min_width=cell_len(heading), justify=side, no_wrap=heading in whole)
    return table


def print_in_parts(
    console: Console, headings: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()
) -> None:
    """Columns that the line is too short for come in further tables, each of which begins with the first column."""
    widths = [max(map(cell_len, column)) + GAP for column in zip(headings, *rows)]
    widths[0] = min(widths[0], console.width // 2)  # it may fold
    parts, part = list[list[int]](), [0]
    for k in range(1, len(headings)):
        if len(part) > 1 and sum(widths[i] for i in [*part, k]) > console.width:
            parts.append(part)
            part = [0]
        part = [*part, k]
    for indices in [*parts, part]:
        table = plain_table([headings[i] for i in indices], right)
        for row in rows:
            table.add_row(*(Text(row[i]) for i in indices))
        console.print(table)
