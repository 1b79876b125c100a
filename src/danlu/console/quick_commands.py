"""Commands that only read the files of runs, so that they print before torch could be imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console

from danlu.history.printed import print_runs
from danlu.history.runs import runs


def runs_command(values: dict[str, Any], console: Console) -> tuple[Any, int]:
    found = runs(**values)
    print_runs(console, found)
    return found.to_json(), 0


QUICK_COMMANDS: dict[str, Callable[[dict[str, Any], Console], tuple[Any, int]]] = {"runs": runs_command}
