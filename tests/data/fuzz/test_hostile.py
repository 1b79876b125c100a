"""Damaged and hostile files in every format: a sentence or a set, in bounded time and memory, and nothing from outside."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hostile import FORMATS, attempt, mutated
from hostile_sets import SETS

SHORT, LONG = 24, 200

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="measures by /proc")


def test_mutated_sets_of_every_format(tmp_path: Path) -> None:
    outcomes = [mutated(seed, tmp_path) for seed in range(max(SHORT, len(FORMATS)))]
    assert not [str(one) for one in outcomes if one.wrong]
    assert {one.read for one in outcomes} == {True, False}


@pytest.mark.parametrize("name", SETS)
def test_sets_made_to_harm(name: str, tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    outcome = attempt(name, root, SETS[name](root))
    assert not outcome.wrong


@pytest.mark.slow
@pytest.mark.parametrize("start", range(1000, 1000 + LONG, 50))
def test_200_mutated_sets(start: int, tmp_path: Path) -> None:
    outcomes = [mutated(seed, tmp_path) for seed in range(start, start + 50)]
    print(f"{sum(one.read for one in outcomes)} read, at most {max(one.seconds for one in outcomes):.1f} s, "
          f"{max(one.mib for one in outcomes):.0f} MiB")  # fmt: skip
    assert not [str(one) for one in outcomes if one.wrong]
