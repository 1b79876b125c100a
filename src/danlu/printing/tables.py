"""Tables for the terminal, at any width."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from danlu.message import printable_line

COLUMN_GAP = 2  # terminal cells
MIN_ROOM = 8  # cells beyond the headings for the columns beside a name
MAX_WIDTH = 10_000  # cells, of a table in a file


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


def print_with_names(
    console: Console, headings: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()
) -> None:
    """Print a table whose first column holds names, such as those of files, which are never broken.

    The other columns wrap. Where the longest name leaves no room for them, each name is on a line of its own, with the
    other cells below it. Output that is no terminal has lines of any length, for grep.
    """
    names = [printable_line(row[0]) for row in rows]
    rest = sum(cell_len(printable_line(heading)) + COLUMN_GAP for heading in headings[1:])
    fits = max(map(cell_len, names), default=0) + COLUMN_GAP + rest + MIN_ROOM <= console.width
    if fits or not console.is_terminal:
        table = plain_table(headings, right, whole=(headings[0],) if console.is_terminal else headings)
        for row in rows:
            table.add_row(*row)
        print_whole(console, table)
        return
    for name, row in zip(names, rows):
        console.print(Text(name), soft_wrap=True)
        console.print(Padding(Text(printable_line("  ".join(filter(None, row[1:])))), (0, 0, 0, COLUMN_GAP)))


def print_whole(console: Console, table: PlainTable) -> None:
    """Print a table; where the output is no terminal, with lines as long as the cells, so that no name is broken."""
    kept, console.width = console.width, console.width if console.is_terminal else MAX_WIDTH
    try:
        console.print(table)
    finally:
        console.width = kept


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
