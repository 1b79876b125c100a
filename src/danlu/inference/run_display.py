"""A run as notebooks show it: a table of results, and curves of its metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from danlu.doctor.finding import Finding, findings_table
from danlu.message import as_html, message
from danlu.refuse import one_of, refusal
from danlu.run.folder import Run

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLOURS = {"train": "#2a6fdb", "val": "#d9480f"}


def run_html(run: Run) -> str:
    """Facts, metrics and findings of a run as HTML."""
    summary = run.summary
    if not summary:
        return f"<p>{as_html(run.name)}: not finished</p>"
    facts = f"{summary.task}, {summary.model}, {summary.epochs} epochs, {summary.parameters:,} parameters"
    findings = [Finding.from_dict(one) for one in run.findings]
    head = f"<p><b>{as_html(run.name)}</b>: {as_html(facts)}, data {as_html(summary.data.path)}</p>"
    return head + summary.metrics._repr_html_() + findings_table(findings)


def curves_figure(run: Run, metrics: Sequence[str] = ()) -> Figure:
    """Training and validation curves over the epochs, one panel per metric. Refusal for an unknown metric."""
    from plotly.graph_objects import Scatter
    from plotly.subplots import make_subplots

    rows = run.record.of("epoch")
    if not rows:
        raise refusal("RUN", message("inference.wanted.run_least_epoch", "a run with at least one epoch"), run.name)
    recorded = list(dict.fromkeys(key.partition(".")[2] for row in rows for key in row if "." in key))
    monitor = run.summary.monitor
    default = ["loss", *([monitor] if monitor in recorded and monitor != "loss" else [])]
    wanted = [
        one_of("metric", name, recorded, message("inference.wanted.metric_run", "a metric of the run"))
        for name in metrics or default
    ]
    figure: Any = make_subplots(rows=1, cols=len(wanted), subplot_titles=wanted)
    for column, name in enumerate(wanted, 1):
        for split, colour in COLOURS.items():
            points = [(row["epoch"], row[f"{split}.{name}"]) for row in rows if f"{split}.{name}" in row]
            if points:
                x, y = zip(*points)
                line = Scatter(
                    x=x, y=y, name=split, line={"color": colour}, mode="lines+markers", showlegend=column == 1
                )
                figure.add_trace(line, row=1, col=column)
        figure.update_xaxes(title_text="epoch", row=1, col=column)
    figure.update_layout(title=run.name, height=360, width=420 * len(wanted) + 80)
    return figure
