"""Small charts: round ticks, spikes kept when thinning, zero on a logarithmic axis, escaped texts."""

from __future__ import annotations

import math
import re

import pytest

from danlu.doctor.presentation.axis import Axis, format_number, smooth, thinned
from danlu.doctor.presentation.plot import Chain, Curves, Line, Row, Rows, render


@pytest.mark.parametrize(
    ("values", "log", "expected"),
    [
        ([0, 1], False, [0, 0.5, 1.0]),
        ([0, 97], False, [0, 50, 100]),
        ([1e-9, 1], True, [1e-9, 1e-6, 1e-3, 1]),
        ([3e-15, 1e-4], True, [1e-15, 1e-12, 1e-9, 1e-6]),
    ],
)
def test_ticks_are_round_and_within(values: list[float], log: bool, expected: list[float]) -> None:
    axis = Axis.over(values, log, zero=not log)
    ticks = axis.ticks(3 if not log else 4)
    assert ticks == pytest.approx([t for t in expected if 0 <= axis.at(t) <= 1])
    assert len(ticks) >= 2


def test_an_axis_holds_its_values_and_begins_at_zero() -> None:
    assert Axis.over([2.0, 2.3], zero=True).low == 0
    flat = Axis.over([5.0, 5.0])
    assert 0 < flat.at(5.0) < 1
    assert Axis.over([math.nan, math.inf]).at(0.5) == pytest.approx(0.5)


@pytest.mark.parametrize("values", [[-1e22, -1e22], [1e-3, -1.7e308, 1.7e308], [-3.5e21, 45.0]])
def test_huge_values_have_ticks(values: list[float]) -> None:
    axis = Axis.over(values)
    assert len(axis.ticks(4)) >= 2
    assert all(math.isfinite(axis.at(tick)) for tick in axis.ticks(4))


def test_thinning_keeps_every_spike_and_every_gap() -> None:
    points = [(float(i), 1.0) for i in range(10_000)]
    points[7001] = (7001.0, 50.0)
    points[9999] = (9999.0, math.nan)
    few = thinned(points)
    assert len(few) < 400
    assert (7001.0, 50.0) in few
    assert any(math.isnan(y) for _, y in few)
    assert [x for x, _ in few] == sorted(x for x, _ in few)


def test_smoothed_curve_is_the_mean() -> None:
    points = [(float(i), 2.0 + (-1) ** i) for i in range(400)]
    course = smooth(points, 40)
    assert len(course) == 40
    assert all(y == pytest.approx(2.0) for _, y in course)


@pytest.mark.parametrize(
    ("value", "expected"), [(0, "0"), (1e-10, "10⁻¹⁰"), (2.5e-5, "2.5·10⁻⁵"), (0.05, "0.05"), (12345.0, "12,345")]
)
def test_numbers_are_short(value: float, expected: str) -> None:
    assert format_number(value) == expected
    assert format_number(0.1234, percent=True) == "12.3 %"


def test_a_broken_curve_stays_broken_and_a_mark_stands_where_it_should() -> None:
    points = [(0.0, 1.0), (1.0, 2.0), (2.0, math.nan), (3.0, 1.0), (4.0, 1.5)]
    page = render(Curves("Loss", "step", "loss", [Line("loss", points)], marks=[(2.0, "NaN")], rings=[(1.0, 2.0)]))
    path = re.search(r'class="line a" d="([^"]+)"', page)
    assert path is not None
    assert path[1].count("M") == 2
    assert 'class="mark" d="M50.00 0v100"' in page


def test_zero_has_a_place_on_a_logarithmic_axis_of_rows() -> None:
    page = render(Rows("Spread", "fraction", [Row("a", 0.0, bad=True), Row("b", 1e-3)], log=True))
    assert '<span class="value bad">0</span>' in page
    assert [float(left) for left in re.findall(r'class="dot a" style="left:([\d.]+)%', page)] == sorted(
        float(left) for left in re.findall(r'class="dot a" style="left:([\d.]+)%', page)
    )


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", '"><img src=x onerror=y>', "a\udcff"])
def test_names_are_shown_and_never_run(hostile: str) -> None:
    figures = (
        Curves(
            hostile, hostile, hostile, [Line(hostile, [(0, 1), (1, 2)]), Line(hostile, [(0, 1)])], marks=[(0, hostile)]
        ),
        Rows(hostile, hostile, [Row(hostile, 1.0, 2.0)], keys=[hostile, hostile], level=(1.0, hostile)),
        Chain(hostile, [(hostile, hostile, True)]),
    )
    for figure in figures:
        page = render(figure)
        assert "<script" not in page
        assert "<img" not in page
        page.encode("utf-8")


def test_a_tick_below_the_least_value_keeps_its_place() -> None:
    """Values of 1.2e-3 to 1: the tick 1e-3 lies in the margin, a little below the curve's lowest point."""
    points = [(float(i), 10 ** (-2.92 + 2.92 * i / 9)) for i in range(10)]
    page = render(Curves("Loss", "step", "loss", [Line("loss", points)], log=True))
    heights = {label: float(at) for at, label in re.findall(r'<i style="bottom:([\d.]+)%">([^<]+)</i>', page)}
    path = re.search(r'class="line a" d="M0.00 ([\d.]+)', page)
    assert path is not None
    assert 0 < heights["0.001"] < 100 - float(path[1])
    gaps = [heights["0.01"] - heights["0.001"], heights["0.1"] - heights["0.01"], heights["1"] - heights["0.1"]]
    assert gaps == pytest.approx([gaps[0]] * 3, abs=0.02)
