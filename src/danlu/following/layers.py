"""Charts of gradients and updates for each layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from danlu.doctor.drawings.over_layers import GOOD_UPDATES
from danlu.doctor.ledger import Ledger
from danlu.message import translated
from danlu.report.charts import axis, layout
from danlu.report.markup import Figure, clip, escape, is_number

MAX_LAYERS = 8  # as many as the palette has colours; evenly spread from the first to the last
MAX_POINTS = 200  # of a layer


def layer_charts(ledger: Ledger) -> dict[str, tuple[str, Figure]]:
    """Title and figure by name: update over weight, and norm of the gradient, of the weights over the steps."""
    updates = translated("live.updates", "Size of an update relative to the weights")
    gradients = translated("live.gradients", "Norm of the gradient")
    charts = {
        "updates": (updates, _over_steps(ledger, "update.ratio", GOOD_UPDATES)),
        "gradients": (gradients, _over_steps(ledger, "gradient.norm")),
    }
    return {name: (title, figure) for name, (title, figure) in charts.items() if figure is not None}


def _log_ticks(values: Sequence[float]) -> str | int | None:
    """Ticks of a logarithmic axis that do not touch one another: each decade, or 1, 2 and 5 of it.

    None, which leaves them to Plotly, within one decade.
    """
    decades = math.log10(max(values) / min(values))
    return None if decades < 1 else "D2" if decades < 3 else 1


def _over_steps(ledger: Ledger, name: str, band: tuple[float, float] | None = None) -> Figure | None:
    """A line for each weight on a logarithmic axis. band: range of usual values, shaded."""
    weights = [where for where in ledger.wheres(name) if where and not where.endswith("bias")]
    if len(weights) > MAX_LAYERS:
        last = len(weights) - 1
        weights = [weights[round(i * last / (MAX_LAYERS - 1))] for i in range(MAX_LAYERS)]
    lines = []
    for number, where in enumerate(weights):
        points = [(x, y) for x, y in zip(*ledger.series(name, where)) if is_number(y) and y > 0]
        points = points[:: -(-len(points) // MAX_POINTS) or 1]
        if not points:
            continue
        colour = f"var(--series-{number})"
        lines.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if len(points) < 3 else "lines",
                "x": [x for x, _ in points],
                "y": [float(f"{y:.4g}") for _, y in points],
                "line": {"color": colour, "width": 1.5},
                "marker": {"color": colour},
                "name": escape(clip(where.removesuffix(".weight"), 20)),
            }
        )
    if not lines:
        return None
    ends = [y for line in lines for y in line["y"]] + list(band or ())
    y_axis = axis(type="log", tickformat="~g", hoverformat=".3~g", nticks=6, dtick=_log_ticks(ends))
    shaded = []
    if band:
        shaded = [
            {
                "type": "rect",
                "xref": "paper",
                "x0": 0,
                "x1": 1,
                "yref": "y",
                "y0": band[0],
                "y1": band[1],
                "fillcolor": "var(--soft)",
                "line": {"width": 0},
                "layer": "below",
            }
        ]
    x_axis = axis(translated("live.step", "step"))
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"color": "var(--muted)", "size": 10}}
    return {
        "data": lines,
        "layout": layout(x_axis, y_axis, hovermode="closest", showlegend=True, shapes=shaded, legend=legend),
    }
