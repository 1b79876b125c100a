"""The parts of the doctor's time: together they are the whole, and each instrument that asks has one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from danlu.doctor import budget, instruments


def test_parts_make_up_the_whole() -> None:
    assert sum(budget.INSTRUMENT_FRACTIONS.values()) == pytest.approx(1.0)


def test_every_instrument_that_asks_has_a_part() -> None:
    asked = set()
    for path in Path(instruments.__file__).parent.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        names = re.findall(r'^    name = "(\w+)"', text, re.MULTILINE)
        if "budget.may(" in text or "watched.may(" in text:
            asked |= set(names)
        if "watched.may(" in text and "not call.grad:" not in text:
            asked |= {f"{name}/val" for name in names}
    assert {"labels", "labels/val", "gradients", "modes"} <= asked
    assert asked <= set(budget.INSTRUMENT_FRACTIONS)
