"""A note on runs whose config.yaml was edited: it may be, but not without notice."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from danlu.message import translated
from danlu.printing.lines import print_line
from danlu.run.folder import Run

ARGUMENTS = ("run", "runs", "target")  # of commands, that name runs


def print_if_edited(console: Console, run: Run) -> None:
    """Print a note if the config.yaml of a run is not as danlu wrote it."""
    if run.edited:
        text = "note: {path} was edited since danlu wrote it; it is read as it is now"
        print_line(console, translated("printing.edited", text, path=run.folder / "config.yaml"))


def print_edited(console: Console, values: Mapping[str, Any]) -> None:
    """Print a note for each run that is named by the arguments of a command."""
    for argument in ARGUMENTS:
        named = values.get(argument) or []
        for name in [named] if isinstance(named, str) else named:
            with suppress(OSError, ValueError):  # a word that is no path, which the command itself refuses
                print_if_edited(console, Run(Path(name)))
