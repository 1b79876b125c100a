"""Small charts as HTML: curves, one row for each layer or class, and chains of layers. They need only a browser.

A chart stretches to its width while strokes, dots and text keep their size: lines are an SVG without fixed aspect, text
is HTML over it. Colours are variables of the style sheet findings.css.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from danlu.doctor.presentation.axis import Axis, Point, format_number, thinned
from danlu.message import Message, message
from danlu.message import as_html as text

MAX_ROWS = 14  # of a chart

Text = str | Message


@dataclass(frozen=True)
class Line:
    """A curve, interrupted where a value is not finite. faint: drawn in the background."""

    label: Text
    points: Sequence[Point]
    faint: bool = False


@dataclass(frozen=True)
class Curves:
    """Curves over steps, epochs or depth. x, y: names of the axes with their units.

    log: whether y is logarithmic; None: if the values span more than a factor of 50. percent: show y in percent.
    band: (low, high, label) of good values of y. stretch: (left, right, label) of a highlighted interval of x.
    levels: (y, label) of horizontal lines. marks: (x, label) of vertical lines. rings: highlighted points.
    ends: labels of the first and the last x in place of numbers. aside: note below the chart.
    """

    title: Text
    x: Text
    y: Text
    lines: Sequence[Line]
    log: bool | None = False
    percent: bool = False
    band: tuple[float, float, Text] | None = None
    stretch: tuple[float, float, Text] | None = None
    levels: Sequence[tuple[float, Text]] = ()
    marks: Sequence[tuple[float, Text]] = ()
    rings: Sequence[Point] = ()
    ends: tuple[str, str] | None = None
    aside: Text = ""


@dataclass(frozen=True)
class Row:
    """One bar or dot. other: a second value; low: start of the bar; bad: marked as the subject of the finding."""

    name: Text
    value: float
    other: float | None = None
    low: float | None = None
    bad: bool = False


@dataclass(frozen=True)
class Rows:
    """A value for each layer, class or count. axis: name and unit of the values; keys: names of value and other."""

    title: Text
    axis: Text
    rows: Sequence[Row]
    log: bool = False
    percent: bool = False
    band: tuple[float, float, Text] | None = None
    level: tuple[float, Text] | None = None
    keys: Sequence[Text] = ()
    more: int = 0  # omitted rows


@dataclass(frozen=True)
class Chain:
    """Layers in the order in which data flows through them: (name, kind, whether it is marked)."""

    title: Text
    links: Sequence[tuple[Text, str, bool]] = field(default_factory=tuple)


Figure = Curves | Rows | Chain


def render(figure: Figure) -> str:
    """The figure as HTML, in the current language."""
    if isinstance(figure, Curves):
        body, keys = _curves(figure), list(zip([line.label for line in figure.lines], _kinds(figure.lines)))
        body += f'<p class="aside">{text(figure.aside)}</p>' if figure.aside else ""
    elif isinstance(figure, Rows):
        body, keys = _rows(figure), list(zip(figure.keys, "ab"))
    else:
        body, keys = _chain(figure), []
    legend = "".join(f'<span class="key {kind}">{text(label)}</span>' for label, kind in keys if len(keys) > 1)
    return f'<figure class="proof"><figcaption>{text(figure.title)}{legend}</figcaption>{body}</figure>'


# Curves.


@dataclass(frozen=True)
class Field:
    """Coordinates of a chart: percent of the width from the left and of the height from the bottom."""

    points: Sequence[Point]
    across: Axis
    up: Axis
    floor: float  # lower values are drawn here, such as zero on a logarithmic axis

    @classmethod
    def of(cls, figure: Curves) -> Field:
        """Return the coordinates that show all points of a chart."""
        points = [p for line in figure.lines for p in line.points if math.isfinite(p[1])]
        log = _spans(points) if figure.log is None else figure.log
        floor = min((y for _, y in points if y > 0), default=1e-12) if log else -math.inf
        wanted = [y for _, y in points] + [y for y, _ in figure.levels] + [*(figure.band or ())[:2]]
        across = Axis.over([x for x, _ in points] + [x for x, _ in figure.marks], pad=0)
        return cls(points, across, Axis.over([max(y, floor) for y in wanted], log, zero=not log), floor)

    def left(self, x: float) -> float:
        """Distance of x from the left, in percent of the width."""
        return 100 * self.across.at(x)

    def high(self, y: float) -> float:
        """Distance of y from the bottom, in percent of the height."""
        return 100 * self.up.at(max(y, self.floor))

    def ticks(self) -> list[tuple[float, float]]:
        """(height in percent, value) of the y ticks."""
        return [(100 * self.up.at(t), t) for t in self.up.ticks(4)]

    def place(self, point: Point) -> str:
        """Return a point as "x y" of the SVG, with y from the top."""
        return f"{self.left(point[0]):.2f} {100 - self.high(point[1]):.2f}"

    def is_top_crowded(self, left: float) -> bool:
        """Return whether the curves cover the upper edge beside a mark but not the lower one."""
        near = [self.high(y) for x, y in self.points if abs(self.left(x) - left) < 25]
        return bool(near) and max(near) > 80 and min(near) > 20

    def has_room_below(self, high: float) -> bool:
        """Return whether the label of a level, at the right end, has more room below its line than above it."""
        near = [self.high(y) for x, y in self.points if self.left(x) > 70]
        over = sum(at >= high - 1 for at in near) > 0.5 * len(near)
        return high > 82 or (over and high > 14)


def _curves(figure: Curves) -> str:
    field = Field.of(figure)
    shapes, words = _background(figure, field)
    for line, kind in zip(figure.lines, _kinds(figure.lines)):
        path = "".join(_path(part, field.place) for part in _unbroken(thinned(line.points)))
        shapes += f'<path class="line {kind}" d="{path}"/>'
        if not line.faint and len(line.points) <= 30:
            dots = "".join(f"M{field.place(p)}h0" for p in line.points if math.isfinite(p[1]))
            shapes += f'<path class="dots {kind}" d="{dots}"/>'
    more, said = _annotations(figure, field)
    labels = [(at, format_number(t, figure.percent)) for at, t in field.ticks()]
    gutter = max((len(label) for _, label in labels), default=1)
    side = "".join(f'<i style="bottom:{at:.2f}%">{label}</i>' for at, label in labels)
    below = [(0.0, figure.ends[0]), (100.0, figure.ends[1])] if figure.ends else _x_labels(field.across)
    feet = "".join(_x_label(at, label) for at, label in below)
    return (
        f'<div class="plot" style="--gutter:{gutter}ch"><b class="up">{text(figure.y)}</b>'
        f'<div class="side">{side}</div>'
        f'<div class="field"><svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" '
        f'aria-label="{text(figure.title)}">{shapes}{more}</svg>{words}{said}</div>'
        f'<div class="feet{" named" if figure.ends else ""}">{feet}</div><b class="across">{text(figure.x)}</b></div>'
    )


def _background(figure: Curves, field: Field) -> tuple[str, str]:
    """Grid, band and highlighted interval behind the curves, and their labels."""
    shapes = "".join(f'<path class="grid" d="M0 {100 - at:.2f}h100"/>' for at, _ in field.ticks())
    words = ""
    if figure.band:
        low, high = (min(100.0, max(0.0, field.high(v))) for v in figure.band[:2])
        shapes += f'<path class="band" d="M0 {100 - high:.2f}h100V{100 - low:.2f}H0z"/>'
        words += _field_label(figure.band[2], 1, high, "good below left")
    if figure.stretch:
        left, right = (min(100.0, max(0.0, field.left(v))) for v in figure.stretch[:2])
        shapes += f'<path class="stretch" d="M{left:.2f} 0H{right:.2f}V100H{left:.2f}z"/>'
        words += _field_label(figure.stretch[2], (left + right) / 2, 0, "above middle")
    return shapes, words


def _annotations(figure: Curves, field: Field) -> tuple[str, str]:
    """Levels, marks and rings over the curves, and their labels."""
    shapes = words = ""
    for value, label in figure.levels:
        high = field.high(value)
        shapes += f'<path class="level" d="M0 {100 - high:.2f}h100"/>'
        words += _field_label(label, 100, high, "right " + ("below" if field.has_room_below(high) else "above"))
    for at, label in figure.marks:
        left = field.left(at)
        shapes += f'<path class="mark" d="M{left:.2f} 0v100"/>'
        low = field.is_top_crowded(left)
        kind = f"alarm {'above' if low else 'below'} {'right' if left > 50 else 'left'}"
        words += _field_label(label, left, 0 if low else 100, kind)
    rings = "".join(f"M{field.place(p)}h0" for p in figure.rings)
    shapes += f'<path class="ring" d="{rings}"/><path class="hole" d="{rings}"/>' if rings else ""
    return shapes, words


def _spans(points: Sequence[Point]) -> bool:
    values = [y for _, y in points]
    return bool(values) and min(values) > 0 and max(values) > 50 * min(values)


def _kinds(lines: Sequence[Line]) -> list[str]:
    """Colour classes: a and b alternating, faint for background lines."""
    kinds, count = [], 0
    for line in lines:
        kinds.append("faint" if line.faint else "ab"[count % 2])
        count += not line.faint
    return kinds


def _unbroken(points: Sequence[Point]) -> list[list[Point]]:
    parts: list[list[Point]] = [[]]
    for point in points:
        if math.isfinite(point[1]):
            parts[-1].append(point)
        elif parts[-1]:
            parts.append([])
    return [part for part in parts if part]


def _path(points: Sequence[Point], place: Callable[[Point], str]) -> str:
    return "M" + "L".join(place(point) for point in points)


def _x_labels(across: Axis) -> list[tuple[float, Text]]:
    """Labels of the x axis: the first step, the last, and round ones between."""
    ends = [(0.0, format_number(round(across.low))), (100.0, format_number(round(across.high)))]
    between = [(100 * across.at(t), format_number(t)) for t in across.ticks(4) if t == round(t)]
    return [ends[0], *((at, label) for at, label in between if 12 < at < 86), ends[1]]


def _x_label(at: float, label: Text) -> str:
    kind = "first" if at < 4 else "last" if at > 96 else ""
    return f'<i class="{kind}" style="left:{at:.2f}%">{text(label)}</i>'


def _field_label(label: Text, left: float, up: float, kind: str) -> str:
    """A label on the field, at percentages of its width and height from the lower left corner."""
    return f'<em class="{kind}" style="left:{left:.2f}%;bottom:{up:.2f}%">{text(label)}</em>' if label else ""


# Rows.


def _rows(figure: Rows) -> str:
    values = [v for row in figure.rows for v in (row.value, row.other, row.low) if v is not None and math.isfinite(v)]
    floor = _floor(values) if figure.log else -math.inf
    wanted = [max(v, floor) for v in values] + [*(figure.band or ())[:2]] + [*(figure.level or ())[:1]]
    axis = Axis.over(wanted, figure.log, zero=not figure.log)

    def at(value: float) -> float:
        return 100 * min(1.0, max(0.0, axis.at(max(value, floor))))

    behind = ""
    if figure.band:
        low, high = at(figure.band[0]), at(figure.band[1])
        behind += f'<u class="band" style="left:{low:.2f}%;width:{high - low:.2f}%"></u>'
    if figure.level:
        behind += f'<u class="level" style="left:{at(figure.level[0]):.2f}%"></u>'
    lines = "".join(_row(row, at, behind, figure) for row in figure.rows)
    note = figure.band[2] if figure.band else figure.level[1] if figure.level else ""
    kind = "good" if figure.band else "quiet"
    feet = "".join(_x_label(100 * axis.at(t), format_number(t, figure.percent)) for t in axis.ticks(3))
    rest = (
        f"<span>{text(message('doctor.chart.more_rows', '{count} more', count=figure.more))}</span>"
        if figure.more
        else "<span></span>"
    )
    said = f'<em class="{kind}">{text(note)}</em>' if note else ""
    return (
        f'<div class="rows">{lines}{rest}<div class="feet">{feet}</div><span></span></div>'
        f'<p class="under">{said}<b>{text(figure.axis)}</b></p>'
    )


def _floor(values: Sequence[float]) -> float:
    """Position of zero on a logarithmic axis: a tenth of the smallest positive value."""
    least = min((v for v in values if v > 0), default=1.0)
    return least / 10 if min(values, default=1.0) <= 0 else least


def _row(row: Row, at: Callable[[float], float], behind: str, figure: Rows) -> str:
    bad = " bad" if row.bad else ""
    marks = ""
    for value, kind in ((row.value, "a"), (row.other, "b")):
        if value is None or not math.isfinite(value):
            continue
        start = at(row.low if row.low is not None and kind == "a" else 0.0) if not figure.log else 0.0
        end = at(value)
        if figure.log:
            marks += f'<u class="stem" style="width:{end:.2f}%"></u>'
            marks += f'<u class="dot {kind}" style="left:{end:.2f}%"></u>'
        else:
            left, width = min(start, end), abs(end - start)
            marks += f'<u class="bar {kind}" style="left:{left:.2f}%;width:max(2px,{width:.2f}%)"></u>'
    if row.low is not None:
        shown = f"{format_number(row.low, figure.percent)} … {format_number(row.value, figure.percent)}"
    else:
        shown = " / ".join(format_number(v, figure.percent) for v in (row.value, row.other) if v is not None)
    two = " two" if row.other is not None and not figure.log else ""
    return (
        f'<span class="name{bad}" title="{text(row.name)}"><bdi>{text(row.name)}</bdi></span>'
        f'<div class="track{two}{bad}">{behind}{marks}</div><span class="value{bad}">{shown}</span>'
    )


# Chain.


def _chain(figure: Chain) -> str:
    links = "".join(
        f"<li{' class=bad' if bad else ''}><b>{text(name)}</b><span>{text(note)}</span></li>"
        for name, note, bad in figure.links
    )
    return f'<ol class="chain">{links}</ol>'
