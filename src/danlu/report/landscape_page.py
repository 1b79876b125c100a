"""Page of the loss landscape of a run: two planes in weight space, as contours and as a surface."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from danlu.doctor.curvature.landscape import Landscape
from danlu.message import message, speaking, translated
from danlu.report.charts import INK, MUTED, SURFACE, VAL, axis, layout
from danlu.report.document import document
from danlu.report.markup import Figure, Figures, card, chart, escape, number
from danlu.run.folder import Run

NAME = "landscape.html"
MAX_LOSS_RATIO = 1e3  # larger losses are clipped to this multiple of the smallest one
TITLES = {
    "random": message("report.landscape.random", "Random directions, scaled to the norms of the filters"),
    "eigenvectors": message("report.landscape.eigenvectors", "The two directions of greatest curvature"),
}
CHECKPOINTS = {
    "first": message("report.landscape.role.first", "first"),
    "best": message("report.landscape.role.best", "best"),
    "last": message("report.landscape.role.last", "last"),
}


def write_landscape(
    run: Run, plane: Landscape, course: Landscape, found: Mapping[str, Any], language: str = "en"
) -> Path:
    """Write landscape.html into the folder of a run.

    Args:
        run: Run to write to.
        plane: Losses around the best weights.
        course: Losses in the plane of the first, best and last weights.
        found: Summary: "directions", "samples", "loss", "path", "path_note" (see `danlu.analysis.landscape`).
        language: "en" or "zh".

    Returns:
        Path of the page.
    """
    with speaking(language):
        run.write_text(NAME, _page(run.name, plane, course, found))
    return run.folder / NAME


def _page(name: str, plane: Landscape, course: Landscape, found: Mapping[str, Any]) -> str:
    figures: Figures = {}
    unit = (
        translated("report.landscape.unit_norm", "norms of the weights")
        if found["directions"] == "random"
        else translated("report.landscape.unit_distance", "distance in weight space")
    )
    samples, loss = number(found["samples"]), number(found["loss"])
    axes = (
        translated("report.landscape.first", "first direction ({unit})", unit=unit),
        translated("report.landscape.second", "second direction ({unit})", unit=unit),
    )
    contours = chart(_contours(plane, {}, *axes), figures, "plane", 470)
    surface = chart(_surface(plane), figures, "surface", 470)
    places = {name: np.asarray(place) for name, place in found["path"].items()}
    names = (
        translated("report.landscape.away", "away from the best weights"),
        translated("report.landscape.across", "across"),
    )
    path = chart(_contours(course, places, *names), figures, "path", 520)
    note = translated("report.sentence", "{text}.", text=found["path_note"])
    body = (
        '<div class="grid">'
        + card(
            str(TITLES[str(found["directions"])]),
            contours,
            note=translated("report.landscape.plane_note", "Training loss around the best weights, which are at 0, 0."),
        )
        + card(
            translated("report.landscape.surface", "The same loss as a surface"),
            surface,
            note=translated("report.landscape.surface_note", "Drag to rotate."),
        )
        + "</div>"
        + card(translated("report.landscape.path", "Path of the optimiser"), path, note=note[:1].upper() + note[1:])
    )
    text = "Mean loss of {samples} training samples, without augmentation, in eval mode: {loss} at the best weights."
    title, lead = (
        translated("report.loss_landscape", "Loss landscape"),
        translated("report.landscape.lead", text, samples=samples, loss=loss),
    )
    head = (
        f'<div class="head"><p class="eyebrow">{escape(name)}</p><h1>{title}</h1>'
        f'<p class="lead">{escape(lead)}</p></div>'
    )
    return document(f"{title} · {name}", "", f"{head}<section>{body}</section>", figures)


def _logarithms(losses: np.ndarray) -> np.ndarray:
    """log10 of the losses; large and non-finite losses are clipped to `MAX_LOSS_RATIO` times the smallest."""
    finite = losses[np.isfinite(losses) & (losses > 0)]
    smallest = float(finite.min()) if finite.size else 1.0
    clean = np.where(np.isfinite(losses), losses, np.inf)
    return np.log10(np.clip(clean, max(smallest, 1e-12), MAX_LOSS_RATIO * max(smallest, 1e-12)))


def _scale(heights: np.ndarray) -> dict[str, Any]:
    """Ticks of a log10 axis at round losses (1, 2, 5, 10, ...), or evenly spaced if the range is too small for them."""
    low, high = float(heights.min()), float(heights.max())
    ticks = [m * 10.0**e for e in range(math.floor(low), math.ceil(high) + 1) for m in (1, 2, 5)]
    ticks = [tick for tick in ticks if low <= math.log10(tick) <= high]
    if len(ticks) < 3:
        ticks = (10 ** np.linspace(low, high, 5)).tolist()
    shown = ticks[:: -(-len(ticks) // 9)]
    return {"tickvals": [math.log10(tick) for tick in shown], "ticktext": [f"{tick:.4g}" for tick in shown]}


def _colours() -> dict[str, Any]:
    """Colour scale from strong (low loss) to faint (high loss)."""
    stops = [[0, "var(--train)"], [0.35, "var(--heat-right-1)"], [0.7, "var(--heat-right-0)"], [1, "var(--val-faint)"]]
    return {"colorscale": stops}


def _colour_bar(heights: np.ndarray) -> dict[str, Any]:
    title = {"text": translated("report.axis.loss", "loss"), "font": {"color": MUTED, "size": 12}}
    bar = {"title": title, "tickfont": {"color": MUTED, "size": 11}}
    return bar | {"thickness": 12, "outlinewidth": 0, "tickmode": "array"} | _scale(heights)


def _contours(drawn: Landscape, places: Mapping[str, np.ndarray], x_title: str, y_title: str) -> Figure:
    heights = _logarithms(drawn.losses)
    field = {"type": "contour", "x": drawn.x.tolist(), "y": drawn.y.tolist(), "z": heights.round(5).tolist()}
    field |= {"contours": {"coloring": "heatmap", "showlines": True}, "line": {"width": 0.6, "color": MUTED}}
    field |= {"ncontours": 24, "colorbar": _colour_bar(heights), "customdata": drawn.losses.tolist()} | _colours()
    field["hovertemplate"] = (
        "%{x:.3g}, %{y:.3g}<br>" + translated("report.hover.loss", "loss %{customdata:.4g}") + "<extra></extra>"
    )
    data = [field]
    if places:
        order = list(places)
        x, y = ([float(places[name][i]) for name in order] for i in (0, 1))
        marks = {"color": SURFACE, "size": 11, "line": {"color": VAL, "width": 2.5}}
        way = {"type": "scatter", "mode": "lines+markers+text", "x": x, "y": y, "line": {"color": VAL, "width": 2}}
        way |= {"text": _labels(order, x, y), "textposition": "top center", "textfont": {"color": INK, "size": 12}}
        marks["size"] = [11 if name in CHECKPOINTS else 6 for name in order]
        data.append(way | {"marker": marks, "customdata": order, "hovertemplate": "%{customdata}<extra></extra>"})
    else:
        here = {"type": "scatter", "mode": "markers", "x": [0], "y": [0], "hoverinfo": "skip"}
        data.append(here | {"marker": {"color": SURFACE, "size": 9, "line": {"color": VAL, "width": 2.5}}})
    return {"data": data, "layout": layout(axis(x_title, showgrid=False), axis(y_title, showgrid=False))}


def _labels(order: list[str], x: list[float], y: list[float]) -> list[str]:
    """Labels of the points; points at the same place share one label, at the first of them."""
    groups: dict[tuple[float, float], list[str]] = {}
    spread = max(np.ptp(x), np.ptp(y), 1e-12)
    points = [
        (name, (round(a / spread, 2), round(b / spread, 2))) for name, a, b in zip(order, x, y) if name in CHECKPOINTS
    ]
    for name, key in points:
        groups.setdefault(key, []).append(name)
    names = {
        key: translated(
            "report.landscape.weights",
            "{names} weights",
            names=translated("report.and", " and ").join(str(CHECKPOINTS[one]) for one in groups[key]),
        )
        for key in groups
    }
    shown = {groups[key][0]: text for key, text in names.items()}
    return [shown.get(name, "") for name in order]


def _surface(drawn: Landscape) -> Figure:
    heights = _logarithms(drawn.losses)
    solid = {"type": "surface", "x": drawn.x.tolist(), "y": drawn.y.tolist(), "z": heights.round(5).tolist()}
    solid |= {"showscale": False, "customdata": drawn.losses.tolist()} | _colours()
    solid["hovertemplate"] = translated("report.hover.loss", "loss %{customdata:.4g}") + "<extra></extra>"
    bare = {"title": {"text": ""}, "showticklabels": False, "gridcolor": MUTED, "showbackground": False}
    up = (
        bare
        | {
            "title": {"text": translated("report.axis.loss", "loss")},
            "showticklabels": True,
            "tickfont": {"color": MUTED, "size": 10},
        }
        | _scale(heights)
    )
    eye = {"eye": {"x": 1.4, "y": -1.4, "z": 0.9}}
    scene = {"xaxis": bare, "yaxis": bare, "zaxis": up, "camera": eye}
    return {"data": [solid], "layout": layout(axis(), axis(), scene=scene)}
