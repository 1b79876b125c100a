"""Tables for the terminal, at any width."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from danlu.message import printable_line

COLUMN_GAP = 2  # terminal cells


class PlainTable(Table):
    """A table whose cells are text as it is: no markup, and escapes for what is not printable."""

    def add_row(self, *cells: str) -> None:  # type: ignore[override]
        """Append a row."""
        super().add_row(*(Text(printable_line(cell)) for cell in cells))


def plain_table(headings: Sequence[str], right: Collection[str] = (), whole: Collection[str] = ()) -> PlainTable:
    """Create an empty table whose cells wrap when the terminal is too narrow.

    Args:
        headings: Column headings.
        right: Headings of right-aligned columns.
        whole: Headings of columns that never wrap.
    """
    table = PlainTable(box=None, padding=(0, COLUMN_GAP, 0, 0), header_style="bold")
    for heading in headings:
        side = "right" if heading in right else "left"
        table.add_column(
            Text(printable_line(heading)),
            overflow="fold",
            min_width=cell_len(heading),
            justify=side,
            no_wrap=heading in whole,
        )
    return table


def print_in_parts(
    console: Console, headings: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()
) -> None:
    """Print a table; columns beyond the width of the console go to further tables that repeat the first column."""
    headings, rows = [*map(printable_line, headings)], [[*map(printable_line, row)] for row in rows]
    columns: list[tuple[str, ...]] = list(zip(headings, *rows))
    widths = [max(map(cell_len, column)) + COLUMN_GAP for column in columns]
    widths[0] = min(widths[0], console.width // 2)  # the first column may wrap
    parts: list[list[int]] = [[0]]  # column indices of each table
    for k in range(1, len(headings)):
        if len(parts[-1]) > 1 and sum(widths[i] for i in [*parts[-1], k]) > console.width:
            parts.append([0])
        parts[-1].append(k)
    for indices in parts:
        table = plain_table([headings[i] for i in indices], right)
        for row in rows:
            table.add_row(*(row[i] for i in indices))
        console.print(table)
