"""Curves of a run by epoch: losses, metrics, learning rate and speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from danlu.doctor.ledger import Ledger
from danlu.message import translated
from danlu.report import charts
from danlu.report.markup import Figures, card, chart, escape, label, short_label
from danlu.report.object_charts import add_loss_parts
from danlu.report.page_head import main_metric
from danlu.run.names import SPLIT_TITLES
from danlu.run.quantities import LOSS_TERMS, METRICS, is_certain

TABLE_ONLY = ("AR1", "AR10", "AR_small", "AR_medium", "AR_large")  # metrics without a curve


def curve_section(
    rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], ledger: Ledger | None, figures: Figures
) -> str:
    """Charts of a run as HTML: loss, metrics with a button each, learning rate and speed, and what the ledger adds.

    rows: epochs of the record. ledger: of the doctor, None without one. figures: collects the charts of the page.
    """
    best, main = summary.get("best_epoch"), main_metric(summary)
    recorded = {
        key.split(".", 1)[1] for row in rows for key in row if key.split(".", 1)[0] in SPLIT_TITLES and "." in key
    }
    parts = [name for name in LOSS_TERMS if name in recorded]
    classes = (summary.get("data") or {}).get("classes") or ()
    drawn = {name for name in recorded & set(METRICS) if name.removeprefix("mask_") not in TABLE_ONLY}
    drawn -= {name for name in drawn if is_certain(name, classes)}
    names = sorted(drawn - {"loss", *LOSS_TERMS}, key=lambda n: (n != main, list(METRICS).index(n)))
    names += sorted(recorded - set(METRICS))  # metrics of the user
    main = main if main in names or not names else names[0]  # of a task that is monitored by its loss
    losses = charts.curves(rows, "loss", best)
    loss = chart(add_loss_parts(losses, rows, parts) if losses else None, figures, "loss", 320)
    linear, log = translated("report.linear", "linear"), translated("report.log", "log")
    scale = (
        f'<span class="switch" data-scale="loss"><button value="linear" aria-pressed="true">{linear}</button>'
        f'<button value="log" aria-pressed="false">{log}</button></span>'
    )
    panels = "".join(
        chart(charts.curves(rows, n, best), figures, f"metric-{n}", 320, "" if n == main else "hidden") for n in names
    )
    buttons = "".join(
        f'<button aria-pressed="{str(n == main).lower()}" data-panel="metric-{n}">{escape(short_label(n))}</button>'
        for n in names
    )
    tabs = f'<span class="switch">{buttons}</span>' if len(names) > 1 else ""
    cards = [
        card(translated("report.loss", "Loss"), loss, tools=scale),
        card(label(names[0]) if len(names) == 1 else translated("report.metrics", "Metrics"), panels, tools=tabs),
        card(
            translated("report.learning_rate", "Learning rate"),
            chart(charts.learning_rate(rows, ledger), figures, "rate", 220),
        ),
        card(translated("report.speed", "Speed"), chart(charts.speed(rows), figures, "speed", 220)),
    ]
    shown = "".join(cards)
    return f'<div class="grid">{shown}</div>' if shown else ""
