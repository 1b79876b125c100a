"""Axes with round ticks, short number labels, and thinning of long curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Point = tuple[float, float]
LARGEST = 1e300  # absolute value on an axis, so that differences of two are finite
MAX_POINTS = 240  # of a curve, each the minimum or maximum of its interval
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Axis:
    """Linear or logarithmic map from values to [0, 1]."""

    low: float
    high: float
    log: bool = False

    @classmethod
    def over(cls, values: Sequence[float], log: bool = False, zero: bool = False, pad: float = 0.06) -> Axis:
        """Fit an axis to the values with a margin. zero: start at zero where no value is negative."""
        finite = [min(max(v, -LARGEST), LARGEST) for v in values if math.isfinite(v)] or [0.0, 1.0]
        if log:
            finite = [math.log10(max(v, 1e-300)) for v in finite]
        low, high = min(finite), max(finite)
        if zero and low > 0:
            low = 0.0
        if high - low < 1e-12 * max(1.0, abs(high)):
            half = max(0.5, 1e-6 * abs(low))  # less would be lost in rounding where values are large
            low, high = (low - half, high + half) if log or low else (0.0, 1.0)
        room = pad * (high - low)
        return cls(low if zero and low == 0 else low - room, high + room, log)

    def at(self, value: float) -> float:
        """Return the place of a value between the ends of the axis, 0 to 1."""
        value = math.log10(max(value, 1e-300)) if self.log else value
        return (value - self.low) / (self.high - self.low)

    def ticks(self, wanted: int) -> list[float]:
        """Round values inside the axis, about `wanted` in number."""
        if self.log and self.high - self.low >= 1.3:
            step = max(1, math.ceil((self.high - self.low) / (wanted + 1)))
            return [10.0**k for k in range(math.ceil(self.low), math.floor(self.high) + 1) if k % step == 0]
        low, high = (10**self.low, 10**self.high) if self.log else (self.low, self.high)
        rough = (high - low) / wanted
        unit = 10 ** math.floor(math.log10(rough))
        step = min((m * unit for m in (1, 2, 5, 10) if m * unit >= rough), default=unit)
        return [float(f"{k * step:.10g}") for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def format_number(value: float, percent: bool = False) -> str:
    """Format a number as briefly as it can be read.

    >>> format_number(0.25, percent=True), format_number(1e-7), format_number(31250), format_number(0.0312)
    ('25 %', '10⁻⁷', '31,250', '0.0312')
    """
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "-∞"
    if percent:
        return f"{100 * value:.3g} %"
    if value and not 1e-3 <= abs(value) < 1e6:
        power = math.floor(math.log10(abs(value)) + 1e-9)
        digits = f"{value / 10**power:.2g}"
        head = "" if digits == "1" else f"{digits}·"
        return f"{head}10{str(power).translate(SUPERSCRIPT)}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def smooth(points: Sequence[Point], parts: int = 40) -> list[Point]:
    """Average the points of equal intervals; each mean is placed at the middle of its interval."""
    size = max(1, len(points) // parts)
    edges = [*range(0, len(points) - size + 1, size), len(points)] if points else []
    if len(edges) > 2 and edges[-1] - edges[-2] < size:
        del edges[-2]
    found = []
    for start, end in pairwise(edges):
        part = [p for p in points[start:end] if math.isfinite(p[1])]
        if part:
            found.append((sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)))
    return found


def thinned(points: Sequence[Point], most: int = MAX_POINTS) -> list[Point]:
    """Keep the minimum and the maximum of each interval, in order, so that spikes and gaps stay visible."""
    if len(points) <= most:
        return list(points)
    size = math.ceil(2 * len(points) / most)
    kept: list[Point] = []
    for start in range(0, len(points), size):
        part = list(points[start : start + size])
        finite = [p for p in part if math.isfinite(p[1])]
        if finite:
            ends = {min(finite, key=lambda p: p[1]), max(finite, key=lambda p: p[1])}
            kept += sorted(ends)
        if len(finite) < len(part):
            kept.append(next(p for p in part if not math.isfinite(p[1])))
    return kept
