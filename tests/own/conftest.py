"""Quick trainings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import danlu
from danlu.inference.loaded_run import LoadedRun


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., LoadedRun]:
    """danlu.train, silent, for one epoch, into a folder of its own."""
    made = []

    def quick(data: Any, **settings: Any) -> LoadedRun:
        made.append(data)
        values = {"epochs": 1, "out": tmp_path / f"run{len(made)}", "device": "cpu"} | settings
        return danlu.train(data, console=Console(quiet=True), **values)

    return quick
