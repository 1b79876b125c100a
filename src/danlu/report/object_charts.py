"""Plotly figures for detection and segmentation, in the style of `charts.py`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from danlu.message import as_html, message, translated
from danlu.report.charts import GRID, INK, MUTED, TRAIN, VAL, Row, axis, layout
from danlu.report.markup import Figure, clip, is_number, short_label

SERIES_COLOURS = 8  # --series-0 to --series-7 in page.css
ERROR_KINDS = {
    "class": message("report.error_kind.class", "wrong class"),
    "place": message("report.error_kind.place", "poor localisation"),
    "both": message("report.error_kind.both", "class and localisation"),
    "duplicate": message("report.error_kind.duplicate", "duplicate"),
    "background": message("report.error_kind.background", "background"),
    "missed": message("report.error_kind.missed", "missed"),
}


def add_loss_parts(figure: Figure, rows: Sequence[Row], names: Sequence[str]) -> Figure:
    """Add the terms of the training loss to the figure of the total, as thin dotted lines."""
    epochs = [row for row in rows if row.get("kind") == "epoch"]
    for k, name in enumerate(names):
        line = {"color": f"var(--series-{(k + 2) % SERIES_COLOURS})", "width": 1.25, "dash": "dot"}
        x, y = [row["epoch"] for row in epochs], [row.get(f"train.{name}") for row in epochs]
        figure["data"].append(
            {"type": "scatter", "mode": "lines", "x": x, "y": y, "name": short_label(name), "line": line}
        )
    return figure


def precision_recall(curves: Mapping[str, Any]) -> Figure | None:
    """Precision-recall curves, one per class, and their mean; faint lines for more classes than colours.

    curves: {"recall": (R,), "precision": {class: (R,)}}.
    """
    recall, lines = curves.get("recall") or [], curves.get("precision") or {}
    if not lines:
        return None
    few = len(lines) <= SERIES_COLOURS
    data = []
    for k, (name, values) in enumerate(lines.items()):
        colour = {"color": f"var(--series-{k})", "width": 2} if few else {"color": GRID, "width": 1}
        data.append(_curve(recall, values, as_html(clip(name, 24), quote=False), colour))
    if len(lines) > 1:
        mean = np.mean(list(lines.values()), axis=0).round(4).tolist()
        data.append(
            _curve(
                recall,
                mean,
                translated("report.axis.mean", "mean"),
                {"color": INK, "width": 2, "dash": "dot" if few else "solid"},
            )
        )
    fraction = {"range": [0, 1.02], "tickformat": ".0%", "nticks": 6}
    legend = {"showlegend": few and len(lines) > 1, "hovermode": "closest"}
    return {
        "data": data,
        "layout": layout(
            axis(translated("report.axis.recall", "recall"), **fraction),
            axis(translated("report.axis.precision", "precision"), **fraction),
            **legend,
        ),
    }


def error_kinds(errors: Mapping[str, Mapping[str, float]]) -> Figure | None:
    """Bar chart of the mAP at IoU 0.5 lost to each kind of mistake, largest on top.

    errors: {kind: {"cost": lost mAP, "count": detections or objects}} (TIDE, Bolya et al. 2020).
    """
    known = {str(ERROR_KINDS[kind]): error for kind, error in errors.items() if kind in ERROR_KINDS}
    rows = [(name, error["cost"], error["count"]) for name, error in known.items() if is_number(error.get("cost"))]
    if not rows:
        return None
    rows.sort(key=lambda row: row[1])
    names, costs, counts = zip(*rows)
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": [max(cost, 0.0) for cost in costs],
        "y": names,
        "marker": {"color": VAL},
        "text": [f"{cost:.1%}" for cost in costs],
        "textposition": "outside",
        "textfont": {"color": MUTED},
        "cliponaxis": False,
        "customdata": counts,
        "hovertemplate": translated(
            "report.hover.errors", "%{y}: costs %{text}<br>%{customdata:,} detections or objects"
        )
        + "<extra></extra>",
    }
    largest = max(*costs, 0.01)
    x = axis(
        translated("report.axis.lost_map", "lost mAP at IoU 0.5"),
        range=[0, 1.18 * largest],
        tickformat=".2~p",
        nticks=5,
    )
    return {"data": [bars], "layout": layout(x, axis(showgrid=False), bargap=0.4)}


def sizes(found: Mapping[str, Any]) -> Figure | None:
    """Histogram of object sizes on a log2 axis, with feature map strides or anchor coverage.

    found: {"edges": (B + 1,) in pixels, "counts": (B,), "strides", "coverage": (B,) fractions or None}, from
    `preparation/object_sizes.py`.
    """
    edges, counts = found.get("edges") or [], found.get("counts") or []
    if not counts:
        return None
    logs = np.log2(edges)
    middle = ((logs[1:] + logs[:-1]) / 2).round(4).tolist()
    bars = {
        "type": "bar",
        "x": middle,
        "y": list(counts),
        "width": [0.94 * (logs[1] - logs[0])] * len(counts),
        "marker": {"color": TRAIN},
        "name": translated("report.axis.objects", "objects"),
        "customdata": [list(pair) for pair in pairwise(edges)],
        "hovertemplate": translated(
            "report.hover.sizes", "%{customdata[0]:.3~g} to %{customdata[1]:.3~g} px<br>%{y:,} objects"
        )
        + "<extra></extra>",
    }
    across = _log2_axis(logs, found.get("strides") or [])
    figure: Figure = {"data": [bars], "layout": layout(across, axis(translated("report.axis.objects", "objects")))}
    _mark_strides(figure, found.get("strides") or [])
    coverage = found.get("coverage")
    if coverage:
        line = {"type": "scatter", "mode": "lines+markers", "x": middle, "y": coverage, "yaxis": "y2"}
        line |= {"line": {"color": VAL, "width": 2}, "marker": {"color": VAL, "size": 6}, "connectgaps": True}
        line |= {
            "name": translated("report.axis.covered_short", "covered"),
            "hovertemplate": translated("report.hover.covered", "%{y:.0%} have a matching anchor") + "<extra></extra>",
        }
        figure["data"].append(line)
        right = {"overlaying": "y", "side": "right", "range": [0, 1.05], "tickformat": ".0%", "showgrid": False}
        right["tickvals"] = [0, 0.25, 0.5, 0.75, 1]
        figure["layout"] |= {
            "yaxis2": axis(translated("report.axis.covered", "objects with a matching anchor"), **right)
        }
    return figure


def _curve(x: Sequence[float], y: Sequence[float], name: str, line: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": list(x),
        "y": list(y),
        "name": name,
        "line": dict(line),
        "hovertemplate": "%{fullData.name}<br>"
        + translated("report.hover.precision_recall", "recall %{x:.0%}, precision %{y:.0%}")
        + "<extra></extra>",
    }


def _log2_axis(logs: np.ndarray, strides: Sequence[float]) -> dict[str, Any]:
    """Axis of log2 values with powers of two as tick labels."""
    low = min([float(logs[0]), *(math.log2(s) for s in strides if s > 0)])
    high = max([float(logs[-1]), *(math.log2(s) for s in strides if s > 0)])
    ticks = list(range(math.ceil(low), math.floor(high) + 1))
    named = {"tickmode": "array", "tickvals": ticks, "ticktext": [f"{2**t}" for t in ticks]}
    return axis(
        translated("report.axis.object_size", "square root of the area, in pixels of the network's input"),
        range=[low - 0.15, high + 0.15],
        **named,
    )


def _mark_strides(figure: Figure, strides: Sequence[float]) -> None:
    shapes, labels = [], []
    for stride in strides:
        x = math.log2(stride)
        dotted = {"color": MUTED, "width": 1, "dash": "dot"}
        shapes.append({"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "line": dotted})
        text = {
            "text": translated("report.stride", "stride {stride}", stride=f"{stride:g}"),
            "x": x,
            "xref": "x",
            "y": 1,
            "yref": "paper",
        }
        text |= {"yanchor": "bottom", "showarrow": False}
        labels.append(text | {"font": {"color": MUTED, "size": 11}, "xanchor": "center"})
    if shapes:
        figure["layout"] |= {"shapes": shapes, "annotations": labels, "margin": {"l": 8, "r": 12, "t": 24, "b": 8}}
