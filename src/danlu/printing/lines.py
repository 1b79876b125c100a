"""Single lines for the terminal and the log of a run."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from danlu.message import printable_line
from danlu.run.folder import Run


def print_line(console: Console, line: str, style: str | None = None) -> None:
    """Print text without markup and highlighting; the terminal wraps long lines, so that they can be copied whole."""
    console.print(Text(printable_line(line)), style=style, soft_wrap=True)


def print_and_log(console: Console, run: Run, line: str) -> None:
    """Print a line and append it to the log of the run."""
    print_line(console, line)
    run.log(line)
