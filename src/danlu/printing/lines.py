"""Single lines for the terminal and the log of a run."""

from __future__ import annotations

from rich.console import Console

from danlu.run.folder import Run


def print_line(console: Console, line: str, style: str | None = None) -> None:
    """Print text without markup and highlighting; the terminal wraps long lines, so that they can be copied whole."""
    console.print(str(line), style=style, highlight=False, markup=False, soft_wrap=True)


def print_and_log(console: Console, run: Run, line: str) -> None:
    """Print a line and append it to the log of the run."""
    print_line(console, line)
    run.log(line)
