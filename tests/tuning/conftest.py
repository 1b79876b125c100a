"""One finished search on a few digits, shared and read-only."""

from __future__ import annotations

import pytest
from rich.console import Console

import danlu
from danlu.tuning.result import TuningResult

QUIET = Console(quiet=True)
TINY = {"model": "linear", "data.limit": 200, "epochs": 3, "batch_size": 50, "device": "cpu", "precision": "fp32"}
TINY |= {"channels_last": False}


@pytest.fixture(scope="session")
def searched(tmp_path_factory) -> TuningResult:
    out = tmp_path_factory.mktemp("search") / "study"
    return danlu.tune("digits", search="lr,weight_decay", trials=3, top=1, seeds=2, out=out, console=QUIET, **TINY)
