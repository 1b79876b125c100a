"""Fractions of the doctor's time budget: they sum to one, and each budgeted instrument has one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from danlu.doctor import instruments
from danlu.doctor.observation import budget


def test_parts_make_up_the_whole() -> None:
    assert sum(budget.INSTRUMENT_FRACTIONS.values()) == pytest.approx(1.0)


def test_each_budgeted_instrument_has_a_fraction() -> None:
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


def test_scheduled_steps_depend_on_their_number_alone_and_become_rare() -> None:
    steps = [step for step in range(1, 1025) if budget.is_scheduled(step)]
    assert steps[:20] == [*range(1, 17), 20, 24, 28, 32]
    assert [step for step in steps if step > 256] == [320, 384, 448, 512, 640, 768, 896, 1024]
    spent = budget.Budget(0.03)
    spent.charge("gradients", 100.0, 50)
    assert spent.may("gradients", 64)
    assert not spent.may("gradients", 65)
    assert not spent.may("labels/val", 64)


def test_expensive_instruments_measure_at_every_second_of_the_first_steps() -> None:
    steps = [step for step in range(1, 33) if budget.is_scheduled(step, "activations")]
    assert steps == [2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32]


def test_a_third_of_the_fraction_is_allowed_after_the_first_half_minute(monkeypatch) -> None:
    now = 100.0
    monkeypatch.setattr(budget, "perf_counter", lambda: now)
    account = budget.Budget(0.03)
    now += 30
    assert account.remaining == pytest.approx(0.9)
    now += 100
    assert account.remaining == pytest.approx(1.9)
    account.charge("hooks", 2.0, 1)  # of the first step, as any other
    now += 2.0
    assert account.remaining == pytest.approx(-0.1)


def test_validation_has_some_time_at_the_start(monkeypatch) -> None:
    monkeypatch.setattr(budget, "perf_counter", lambda: 100.0)
    account = budget.Budget(0.03)
    account.charge("labels/val", 0.005, 20, measured=True)
    assert account.may("labels/val", 21)
    account.charge("labels/val", 0.015, 21, measured=True)
    assert not account.may("labels/val", 22)
    assert not account.may("labels", 21)
