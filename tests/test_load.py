"""benchmarks/load.py: what is over a bound is named, and a small load of each kind is within its bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
SMALL = 0.02


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import load

    return load


def test_slope_of_memory(load: Any) -> None:
    assert load.slope([(epoch, 500 + 2.0 * epoch) for epoch in range(5, 40)]) == pytest.approx(2)
    assert load.slope([(5, 500.0), (5, 600.0)]) == 0  # one epoch has no slope
    assert load.slope([]) == 0


def test_a_row_names_the_bounds_that_it_exceeds(load: Any, tmp_path: Path) -> None:
    row = load.Row("many", "train x", seconds=31, max_seconds=30, mib=900, max_mib=1_000, wall=40).judge()
    assert row.faults == ["over 30 s"]
    (tmp_path / "summary.json").write_bytes(bytes(3 << 20))
    load.note_size(row, tmp_path / "summary.json", 2)
    load.note_size(row, tmp_path / "report.html", 8)
    assert row.faults == ["over 30 s", "summary.json is over 2 MiB", "no report.html"]
    assert row.notes == ["summary.json 3.00 MiB (bound 2)"]
    assert load.table([row]).splitlines()[-1] == (
        "| many | `danlu train x` | 31.0 (30) | 40.0 | 900 (1,000) | summary.json 3.00 MiB (bound 2) "
        "| over 30 s; summary.json is over 2 MiB; no report.html |"
    )


def test_a_command_that_fails_is_a_fault(load: Any, tmp_path: Path) -> None:
    row = load.measured("none", "describe nothing", tmp_path, 60, 2_000)
    assert row.faults
    assert row.faults[0].startswith("exit code 2: danlu: DATA must be")
    assert row.seconds > 0
    assert row.mib > 10


@pytest.mark.slow
@pytest.mark.parametrize("name", ["files", "classes", "table", "image", "predictions", "slope", "races"])
def test_small_loads_are_within_their_bounds(load: Any, name: str, tmp_path: Path) -> None:
    rows = list(load.LOADS[name](tmp_path, SMALL))
    assert rows
    assert not any(row.faults for row in rows), load.table(rows)
