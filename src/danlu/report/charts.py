"""Plotly figures of the report, as dictionaries {"data": [...], "layout": {...}}.

Colours are written "var(--name)": page.css defines the palette for light and dark mode, and page.js replaces the names
when it draws. Names are escaped because Plotly interprets a subset of HTML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from danlu.doctor.ledger import Ledger
from danlu.message import as_html, translated
from danlu.report.markup import Figure, clip, is_number, is_percentage, number
from danlu.run.names import SPLIT_WORDS

Row = Mapping[str, Any]

INK, MUTED, GRID, SURFACE = "var(--ink)", "var(--muted)", "var(--line)", "var(--surface)"
TRAIN, VAL, FAINT = "var(--train)", "var(--val)", "var(--train-faint)"
MAX_POINTS = 3000  # per line or scatter chart; more are slow to draw as SVG and indistinguishable
MAX_CLASSES = 120  # of a full confusion matrix; with more, a cell is narrower than three pixels
REDUCED_CLASSES = 40  # shown of a confusion matrix with more than MAX_CLASSES classes
MAX_CLASSES_WITH_COUNTS = 16  # with more, the counts do not fit into the cells
MAX_CLASS_TICKS = 25


def axis(title: str = "", **more: Any) -> dict[str, Any]:
    """Plotly axis in the style of the report; `more` overrides its settings."""
    plain = {
        "gridcolor": GRID,
        "zeroline": False,
        "linecolor": GRID,
        "tickfont": {"color": MUTED, "size": 11},
        "title": {"text": title, "font": {"color": MUTED, "size": 12}, "standoff": 10},
        "automargin": True,
        "fixedrange": False,
    }
    return plain | more


def metric_axis(percent: bool, title: str = "", **more: Any) -> dict[str, Any]:
    """Axis of the values of a metric; a fraction has ticks in percent from 0 to 100 %, even if it is constant."""
    plain = {"tickformat": ".3~p", "minallowed": -0.02, "maxallowed": 1.02} if percent else {"tickformat": "~g"}
    return axis(title, **(plain | more))


def layout(x: dict[str, Any], y: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Plotly layout in the style of the report; `more` overrides its settings."""
    plain = {
        "xaxis": x,
        "yaxis": y,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 12, "t": 12, "b": 8},
        "font": {"color": INK, "size": 12},
        "hoverlabel": {"bgcolor": SURFACE, "bordercolor": GRID, "font": {"color": INK, "size": 12}, "align": "left"},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"color": MUTED}},
        "showlegend": False,
    }
    return plain | more


def curves(rows: Sequence[Row], metric: str, best_epoch: int | None = None) -> Figure | None:
    """Training and validation curves of one metric over the epochs, with the logged steps as a faint line.

    rows: all rows of metrics.jsonl, epochs and steps. Returns None if no row has the metric.
    """
    epochs = [row for row in rows if row.get("kind") == "epoch"]
    data = []
    for split, colour in (("train", TRAIN), ("val", VAL)):
        key = f"{split}.{metric}"
        if any(is_number(row.get(key)) for row in epochs):
            data.append(_line(epochs, key, str(SPLIT_WORDS[split]), colour))
    steps = _steps(rows, epochs, f"train.{metric}")
    if len(steps) > len(epochs):  # fewer would look like a second, contradictory curve
        x, y = zip(*steps)
        line = {"color": FAINT, "width": 1}
        data.insert(
            0,
            {
                "type": "scatter",
                "mode": "lines",
                "x": x,
                "y": y,
                "line": line,
                "hoverinfo": "skip",
                "name": translated("report.each_step", "each step"),
                "showlegend": False,
            },
        )
    if not data:
        return None
    form = ".2%" if is_percentage(metric) else ".4~g"
    y_axis = metric_axis(is_percentage(metric), hoverformat=form, nticks=7)
    figure = {"data": data, "layout": layout(epoch_axis(len(epochs)), y_axis, hovermode="x unified", showlegend=True)}
    return _mark_best(figure, epochs, metric, best_epoch)


def learning_rate(rows: Sequence[Row], ledger: Ledger | None = None) -> Figure | None:
    """Largest learning rate of all parameter groups over the epochs.

    Args:
        rows: Rows of metrics.jsonl: logged steps, or epochs where no step was logged.
        ledger: The doctor's measurements, which have nearly every step and so show a warmup of a few steps.
    """
    epochs = [row for row in rows if row.get("kind") == "epoch"]
    logged = _steps(rows, epochs, "lr") or [(row["epoch"], row["lr"]) for row in epochs if is_number(row.get("lr"))]
    points = dict(logged)
    if ledger is not None and (steps_per_epoch := _steps_per_epoch(epochs)):
        for step, value in _largest_lr(ledger).items():
            points.setdefault(round(step / steps_per_epoch, 4), value)
    thinned = sorted(points.items())[:: -(-len(points) // MAX_POINTS) or 1]
    return _single(thinned, epochs, translated("report.axis.learning_rate", "learning rate"), "~g", ".4~g")


def speed(rows: Sequence[Row]) -> Figure | None:
    """Training samples per second of each epoch."""
    epochs = [row for row in rows if row.get("kind") == "epoch"]
    points = [(r["epoch"], r["samples_per_second"]) for r in epochs if is_number(r.get("samples_per_second"))]
    return _single(points, epochs, translated("report.samples_s", "samples/s"), "~s", ",.0f")


def confusion(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> tuple[Figure, int]:
    """Confusion matrix: rows are true classes, columns predicted ones, colours fractions of the row.

    Of more than `MAX_CLASSES` classes only the `REDUCED_CLASSES` with the most mistakes are drawn.

    Args:
        matrix: Counts, (C, C).
        classes: C names.

    Returns:
        The figure and the number of classes it shows.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    fractions = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    names = _distinct([as_html(clip(name, 60), quote=False) for name in classes])
    kept = list(range(len(counts)))
    if len(counts) > MAX_CLASSES:
        wrong = counts.sum(0) + counts.sum(1) - 2 * counts.diagonal()
        kept = sorted(np.argsort(-wrong, kind="stable")[:REDUCED_CLASSES].tolist())
    counts, fractions, names = counts[np.ix_(kept, kept)], fractions[np.ix_(kept, kept)], [names[i] for i in kept]
    signed = np.where(np.eye(len(counts), dtype=bool), fractions, -fractions)
    # Denser stops near zero: one mistake in a hundred must be visible.
    stops = [
        (0, "--val"),
        (0.3, "--heat-wrong-2"),
        (0.47, "--heat-wrong-1"),
        (0.4995, "--heat-wrong-0"),
        (0.5, "--heat-none"),
    ]
    stops += [(0.5005, "--heat-right-0"), (0.7, "--heat-right-1"), (1, "--train")]
    few = len(counts) <= MAX_CLASSES_WITH_COUNTS
    cells = {
        "type": "heatmap",
        "x": names,
        "y": names,
        "z": np.round(signed, 4).tolist(),
        "zmin": -1,
        "zmax": 1,
        "customdata": np.stack([counts, np.round(100 * fractions, 1)], axis=-1).tolist(),
        "colorscale": [[at, f"var({name})"] for at, name in stops],
        "showscale": False,
        "xgap": 1 if few else 0,
        "ygap": 1 if few else 0,
        "hovertemplate": translated("report.hover.confusion", "true <b>%{y}</b><br>predicted <b>%{x}</b>")
        + "<br>"
        + translated("report.hover.confusion_count", "%{customdata[0]:,} (%{customdata[1]} % of the class)")
        + "<extra></extra>",
    }
    if few:  # zeros are left empty
        cells |= {"text": [[str(c) if c else "" for c in row] for row in counts.tolist()], "texttemplate": "%{text}"}
    short = [as_html(clip(classes[i], 14), quote=False) for i in kept]
    every = max(1, -(-len(names) // MAX_CLASS_TICKS))
    ticks = {"type": "category", "tickmode": "array", "tickvals": names[::every], "ticktext": short[::every]}
    bare = {
        "showgrid": False,
        "ticks": "outside",
        "ticklen": 6,
        "tickcolor": "rgba(0,0,0,0)",
        "showline": False,
    } | ticks
    y = axis(translated("report.axis.true_class", "true class"), autorange="reversed", **bare)
    return {
        "data": [cells],
        "layout": layout(axis(translated("report.axis.predicted_class", "predicted class"), **bare), y),
    }, len(counts)


def reliability(bins: Sequence[Row]) -> Figure | None:
    """Reliability diagram: accuracy against confidence per bin, with the counts below (Guo et al. 2017, figure 1).

    bins: {"low", "high", "count", "confidence", "accuracy"}; empty bins are left out.
    """
    full = [b for b in bins if b.get("count")]
    if not full:
        return None
    middle = [(b["low"] + b["high"]) / 2 for b in full]
    shared = {"type": "bar", "x": middle, "width": [0.94 * (b["high"] - b["low"]) for b in full]}
    values = [[b["confidence"], b["accuracy"], b["count"], b["low"], b["high"]] for b in full]
    hover = (
        translated("report.hover.confidence", "confidence %{customdata[3]:.0%} to %{customdata[4]:.0%}"),
        translated("report.hover.calibration", "confidence %{customdata[0]:.1%}, accuracy %{customdata[1]:.1%}"),
        translated("report.hover.samples", "%{customdata[2]:,} samples"),
    )
    hovering = {"customdata": values, "hovertemplate": "<br>".join(hover) + "<extra></extra>"}
    accuracy = {"y": [b["accuracy"] for b in full], "marker": {"color": TRAIN}} | shared | hovering
    gap = [b["confidence"] - b["accuracy"] for b in full]
    missing = {"y": gap, "base": accuracy["y"], "marker": {"color": "var(--val-faint)"}} | shared | hovering
    ideal = {"type": "scatter", "mode": "lines", "x": [0, 1], "y": [0, 1], "hoverinfo": "skip"}
    ideal["line"] = {"color": MUTED, "width": 1, "dash": "dot"}
    counts = {"y": [b["count"] for b in full], "yaxis": "y2", "marker": {"color": FAINT}} | shared | hovering
    fraction = {"range": [0, 1.02], "tickformat": ".0%"}
    figure = layout(
        axis(translated("report.axis.confidence", "confidence"), showgrid=False, anchor="y2", **fraction),
        axis(translated("report.accuracy", "accuracy"), domain=[0.3, 1], **fraction),
        yaxis2=axis(translated("report.axis.samples", "samples"), domain=[0, 0.2], nticks=3, tickformat="~s"),
        barmode="overlay",
        bargap=0,
    )
    return {"data": [accuracy, missing, ideal, counts], "layout": figure}


def scatter(pairs: Sequence[Sequence[float]]) -> Figure | None:
    """Scatter plot of predicted against true values, with the diagonal. pairs: (true, predicted)."""
    points = _finite(pairs)
    if not len(points):
        return None
    low, high = float(points.min()), float(points.max())
    shown = points[:: -(-len(points) // MAX_POINTS)]
    dots = {"type": "scatter", "mode": "markers", "x": _numbers(shown[:, 0]), "y": _numbers(shown[:, 1])}
    dots |= {"marker": {"color": TRAIN, "size": 5, "opacity": 0.35 if len(shown) > 500 else 0.6}}
    dots["hovertemplate"] = (
        translated("report.hover.scatter", "true %{x:.4~g}<br>predicted %{y:.4~g}") + "<extra></extra>"
    )
    ideal = {"type": "scatter", "mode": "lines", "x": [low, high], "y": [low, high], "hoverinfo": "skip"}
    ideal["line"] = {"color": MUTED, "width": 1, "dash": "dot"}
    return {
        "data": [dots, ideal],
        "layout": layout(
            axis(translated("report.axis.true", "true")),
            axis(translated("report.axis.predicted", "predicted")),
            hovermode="closest",
        ),
    }


def residuals(pairs: Sequence[Sequence[float]]) -> Figure | None:
    """Histogram of predicted - true; the outermost bars include all larger errors. pairs: (true, predicted)."""
    points = _finite(pairs)
    if not len(points):
        return None
    errors = points[:, 1] - points[:, 0]
    low, high = np.percentile(errors, [0.5, 99.5])
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(
        errors.clip(low, high), bins=int(np.clip(len(errors) ** 0.5, 5, 50)), range=(low, high)
    )
    bars = {
        "type": "bar",
        "x": _numbers((edges[1:] + edges[:-1]) / 2),
        "y": counts.tolist(),
        "marker": {"color": TRAIN},
    }
    bars["customdata"] = np.stack([edges[:-1], edges[1:]], axis=1).round(6).tolist()
    bars["hovertemplate"] = (
        translated("report.hover.residuals", "%{customdata[0]:.3~g} to %{customdata[1]:.3~g}<br>%{y:,} samples")
        + "<extra></extra>"
    )
    zero = {"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1}
    zero["line"] = {"color": MUTED, "width": 1, "dash": "dot"}
    figure = layout(
        axis(translated("report.axis.residual", "predicted − true"), showgrid=False),
        axis(translated("report.axis.samples", "samples")),
        bargap=0.06,
        shapes=[zero],
    )
    return {"data": [bars], "layout": figure}


def _line(epochs: Sequence[Row], key: str, name: str, colour: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(epochs) <= 30 else "lines",
        "x": [row["epoch"] for row in epochs],
        "y": [row.get(key) for row in epochs],
        "name": name,
        "line": {"color": colour, "width": 2},
        "marker": {"color": colour, "size": 5},
    }


def _single(
    points: Sequence[tuple[float, float]], epochs: Sequence[Row], name: str, ticks: str, hover: str
) -> Figure | None:
    if not points:
        return None
    x, y = zip(*points)
    line = {"type": "scatter", "mode": "lines" if len(points) > 30 else "lines+markers", "x": x, "y": y, "name": name}
    line |= {"line": {"color": TRAIN, "width": 2}, "marker": {"color": TRAIN, "size": 5}}
    y_axis = axis(tickformat=ticks, hoverformat=hover, nticks=6, rangemode="tozero")
    return {"data": [line], "layout": layout(epoch_axis(len(epochs)), y_axis, hovermode="x unified")}


def _steps(rows: Sequence[Row], epochs: Sequence[Row], key: str) -> list[tuple[float, float]]:
    """(fractional epoch, value) of the logged steps, thinned to at most `MAX_POINTS`."""
    steps_per_epoch = _steps_per_epoch(epochs)
    if not steps_per_epoch:
        return []
    steps = [
        row for row in rows if row.get("kind") == "step" and is_number(row.get(key)) and is_number(row.get("step"))
    ]
    thin = steps[:: -(-len(steps) // MAX_POINTS) or 1]
    return [(round(row["step"] / steps_per_epoch, 4), row[key]) for row in thin]


def _steps_per_epoch(epochs: Sequence[Row]) -> float | None:
    ratios = [row["step"] / row["epoch"] for row in epochs if row.get("step") and row.get("epoch")]
    return ratios[-1] if ratios else None


def _largest_lr(ledger: Ledger) -> dict[int, float]:
    """Map steps to the largest learning rate of all groups; without step 0, which precedes the schedule."""
    largest: dict[int, float] = {}
    for group in ledger.wheres("optimizer.lr"):
        for step, value in zip(*ledger.series("optimizer.lr", group)):
            if step and is_number(value):
                largest[step] = max(value, largest.get(step, value))
    return largest


def epoch_axis(epochs: int) -> dict[str, Any]:
    """Axis of a number of epochs, with ticks at whole ones."""
    few = {"dtick": 1} if epochs <= 12 else {"nticks": 10}
    return axis(
        translated("report.epoch", "epoch"),
        showgrid=False,
        hoverformat=".4~g",
        unifiedhovertitle={"text": translated("report.hover.epoch", "epoch %{x}")},
        **few,
    )


def _mark_best(figure: Figure, epochs: Sequence[Row], metric: str, best: int | None) -> Figure:
    values = [row.get(f"val.{metric}") for row in epochs if row.get("epoch") == best]
    if best is None or not values:
        return figure
    dotted = {"color": MUTED, "width": 1, "dash": "dot"}
    line = {"type": "line", "x0": best, "x1": best, "yref": "paper", "y0": 0, "y1": 1, "line": dotted, "layer": "below"}
    figure["layout"]["shapes"] = [line]
    right = best > 0.5 * max(row["epoch"] for row in epochs)
    text = {
        "text": translated("report.best_mark", "best: epoch {epoch}", epoch=number(best)),
        "x": best,
        "xref": "x",
        "y": 1,
        "yref": "paper",
    }
    text |= {"yanchor": "top", "xanchor": "right" if right else "left", "xshift": -6 if right else 6}
    text |= {"showarrow": False, "font": {"color": MUTED, "size": 11}}
    figure["layout"]["annotations"] = [text]
    if is_number(values[0]):
        ring = {"color": SURFACE, "size": 10, "line": {"color": VAL, "width": 2.5}}
        dot = {"type": "scatter", "mode": "markers", "x": [best], "y": values, "marker": ring}
        figure["data"].append(dot | {"hoverinfo": "skip", "showlegend": False})
    return figure


def _distinct(names: Sequence[str]) -> list[str]:
    """Number equal names, as a category axis would merge them."""
    seen: set[str] = set()
    out = []
    for index, name in enumerate(names):
        out.append(f"{name} ({index})" if name in seen else name)
        seen.add(name)
    return out


def _finite(pairs: Sequence[Sequence[float]]) -> np.ndarray:
    points = np.asarray([p for p in pairs if len(p) == 2 and all(is_number(v) for v in p)], dtype=float)
    return points.reshape(-1, 2)


def _numbers(values: np.ndarray) -> list[float]:
    """Round to six significant digits, which keeps the page small."""
    return [float(f"{v:.6g}") for v in values]
