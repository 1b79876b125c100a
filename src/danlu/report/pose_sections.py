"""Report sections for poses in space, from summary["evaluation"] of `tasks/pose.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from danlu.message import translated
from danlu.pose.drawing import AXES, EDGES
from danlu.report.charts import axis, layout
from danlu.report.evaluation import metrics_card, side_by_side
from danlu.report.markup import (
    Figures,
    card,
    chart,
    clip,
    escape,
    file_name,
    is_number,
    name_cell,
    number,
    number_cell,
    percent,
    table,
)

TRUE, FOUND = "#2f9e44", "#e8590c"  # colours of true and estimated boxes
AXIS_COLOURS = ("#e12828", "#1eaa32", "#2846eb")  # x, y, z
BINS = 40


def poses_section(summary: Mapping[str, Any], figures: Figures) -> str:
    """Metrics, errors of each object, and their histograms."""
    found = summary.get("evaluation") or {}
    titles = {
        "rotation": translated("report.pose.rotation", "Rotation error in degrees"),
        "translation": translated("report.pose.translation", "Translation error in metres"),
        "centre": translated("report.pose.centre", "Error of the projected centre in pixels"),
        "depth": translated("report.pose.depth", "Relative depth error"),
    }
    note = translated(
        "report.pose.histograms", "Objects with an estimate; rotation is the smallest over the symmetries."
    )
    cards = [
        card(
            title, chart(_histogram(found.get("pose_errors") or [], key, title), figures, f"pose-{key}", 280), note=note
        )
        for key, title in titles.items()
    ]
    return "".join(
        (
            side_by_side(metrics_card(summary.get("metrics") or {}), _per_object(found.get("per_object") or [])),
            side_by_side(cards[0], cards[1]),
            side_by_side(cards[2], cards[3]),
            _symmetry_card(found.get("pose_errors") or [], figures),
        )
    )


def _histogram(rows: Sequence[Mapping[str, Any]], key: str, title: str) -> dict[str, Any] | None:
    """Overlaid histograms of one error, a trace per object; None without values."""
    data = [
        {"type": "histogram", "x": values, "name": str(row.get("name", "")), "opacity": 0.6, "nbinsx": BINS}
        for row in rows
        if (values := [v for v in row.get(key) or [] if is_number(v)])
    ]
    if not data:
        return None
    return {"data": data, "layout": layout(axis(title), axis(), barmode="overlay", showlegend=True)}


def _symmetry_card(rows: Sequence[Mapping[str, Any]], figures: Figures) -> str:
    """Rotation errors of symmetric objects to the pose of the data and to the nearest pose that looks the same."""
    title = translated("report.pose.with_symmetries", "Rotation error with and without symmetries")
    given = translated("report.pose.to_given", "to the given pose")
    nearest = translated("report.pose.to_nearest", "to the nearest that looks the same")
    data = [
        {"type": "histogram", "x": values, "name": f"{row.get('name', '')}: {words}", "opacity": 0.6, "nbinsx": BINS}
        for row in rows
        if row.get("symmetric")
        for key, words in (("rotation_given", given), ("rotation", nearest))
        if (values := [v for v in row.get(key) or [] if is_number(v)])
    ]
    if not data:
        return ""
    degrees = axis(translated("report.pose.degrees", "Degrees"), range=[0, 180])
    drawn = {"data": data, "layout": layout(degrees, axis(), barmode="overlay", showlegend=True)}
    note = translated(
        "report.pose.symmetry_note",
        "Peaks of the first away from 0 are turns that leave the object unchanged: 90 and 180 degrees for a cube. The "
        "network cannot know which of them the data name.",
    )
    return card(title, chart(drawn, figures, "pose-symmetry", 300), note=note)


def _per_object(rows: Sequence[Mapping[str, Any]]) -> str:
    head = [
        translated("report.pose.object", "Object"),
        translated("report.objects", "Objects"),
        translated("report.pose.symmetries", "Symmetries"),
        "ADD(-S) < 0.1 d",
        translated("report.pose.degrees", "Degrees"),
        translated("report.pose.pixels", "Centre, px"),
        translated("report.pose.depth_short", "Depth"),
    ]
    cells = [
        [
            name_cell(row.get("name", "")),
            number_cell(v := row.get("objects"), number(v)),
            number_cell(v := row.get("symmetries"), number(v)),
            number_cell(v := row.get("add_s_01d"), percent(v, 1), bar=v if is_number(v) else 0),
            number_cell(v := row.get("rotation"), f"{v:.1f}" if is_number(v) else "-"),
            number_cell(v := row.get("centre"), f"{v:.2f}" if is_number(v) else "-"),
            number_cell(v := row.get("depth"), percent(v, 1)),
        ]
        for row in rows
    ]
    note = translated(
        "report.pose.add_note", "ADD of objects without symmetry, ADD-S of the others; mean errors of estimates."
    )
    title = translated("report.pose.per_object", "Object by object")
    return card(title, table(head, cells, numbers=6, kind="sortable") if cells else "", note=note)


def pose_examples_section(examples: Sequence[Mapping[str, Any]]) -> str:
    """Images with the boxes of the models at the true and the estimated pose; the largest errors first."""
    shown = "".join(_example(one) for one in examples)
    if not shown:
        return ""
    true = translated("report.pose.true", "true pose")
    found = translated("report.pose.found", "estimated pose, with axes x (red), y (green), z (blue)")
    legend = (
        f'<p class="legend"><span style="color:{TRUE}">{escape(true)}</span> '
        f'<span style="color:{FOUND}">{escape(found)}</span></p>'
    )
    return f'{legend}<div class="gallery">{shown}</div>'


def _example(one: Mapping[str, Any]) -> str:
    uri, size = one.get("image"), one.get("size") or [0, 0]
    if not (isinstance(uri, str) and uri.startswith("data:image/") and all(is_number(s) and s > 0 for s in size)):
        return ""
    height, width = size
    lines, words = [], []
    for drawn in one.get("objects") or []:
        lines += _lines(drawn.get("true"), EDGES, TRUE, width)
        lines += _lines(drawn.get("found"), EDGES, FOUND, width)
        for edge, colour in zip(AXES, AXIS_COLOURS):
            lines += _lines(drawn.get("found"), [edge], colour, 2 * width)
        error = drawn.get("error")
        missed = translated("report.pose.missed", "no estimate")
        words.append(f"{drawn.get('class', '')} {missed if 'found' not in drawn else f'{error:.2f} d'}")
    image = f'<image href="{escape(uri)}" width="{width}" height="{height}" preserveAspectRatio="none"/>'
    name, errors = str(one.get("name", "")), translated("report.comma", ", ").join(words)
    return (
        f'<figure title="{escape(name)}"><svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(errors)}">'
        f"{image}{''.join(lines)}</svg>{_votes(one, image, width, height)}<figcaption>{escape(clip(errors, 90))}"
        f'<span class="file">{file_name(name, 60)}</span></figcaption></figure>'
    )


def _votes(one: Mapping[str, Any], image: str, width: float, height: float) -> str:
    """The image under the votes for centres of objects, for networks that vote; nothing for values of another form."""
    votes = one.get("votes") or {}
    uri, area = votes.get("map"), votes.get("area")
    if not (isinstance(uri, str) and uri.startswith("data:image/png;base64,") and isinstance(area, list)):
        return ""
    if len(area) != 4 or not all(is_number(v) for v in area):
        return ""
    x1, y1, x2, y2 = area
    title = translated("report.pose.votes", "votes of the pixels for centres")
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>'
        f"{image}"
        f'<image href="{escape(uri)}" x="{x1:g}" y="{y1:g}" width="{x2 - x1:g}" height="{y2 - y1:g}" '
        f'preserveAspectRatio="none"/></svg>'
    )


def _lines(points: Any, edges: Sequence[tuple[int, int]], colour: str, width: float) -> list[str]:
    """SVG lines between points; none for values of another form."""
    if not isinstance(points, list) or len(points) != 12 or not all(is_number(v) for p in points for v in p):
        return []
    thickness = max(width / 220, 0.4)
    return [
        f'<line x1="{points[i][0]:g}" y1="{points[i][1]:g}" x2="{points[j][0]:g}" y2="{points[j][1]:g}" '
        f'stroke="{colour}" stroke-width="{thickness:.2f}"/>'
        for i, j in edges
    ]
