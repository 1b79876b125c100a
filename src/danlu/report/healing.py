"""Healing section of the report: the fixes that were tried on a run and their effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from danlu.message import translated
from danlu.report.charts import MUTED, SURFACE, TRAIN, VAL, axis, layout, metric_axis
from danlu.report.markup import (
    MISSING,
    Figure,
    Figures,
    card,
    chart,
    clip,
    escape,
    is_number,
    is_percentage,
    label,
    metric_value,
    number_cell,
    table,
    text_cell,
)
from danlu.run.names import SPLIT_TITLES, metric_key

ROW_HEIGHT = 34  # pixels per attempt in the chart


def healing_section(healing: Mapping[str, Any], figures: Figures) -> str:
    """Outcome, table and chart of the attempts in heal.json; empty without them."""
    attempts = healing.get("attempts") or []
    if not healing:
        return ""
    text = "Validation, {trials}. Noise: Student's t times the standard error of paired differences."
    note = translated("report.healing_note", text, trials=healing.get("trials", ""))
    rows = [_row(attempt) for attempt in attempts]
    head = [
        translated("report.finding", "Finding"),
        translated("report.change", "Change"),
        translated("report.before", "Before"),
        translated("report.after", "After"),
        translated("report.difference_noise", "Difference ± noise"),
        translated("report.kept", "Kept"),
    ]
    none = translated("report.healing_none", "There was no setting to try.")
    body = table([*head, ""], rows, kind="settings") if rows else f"<p>{none}</p>"
    drawn = chart(_before_and_after(attempts), figures, "healing", 70 + ROW_HEIGHT * len(attempts))
    untried = [
        translated("report.pair", "{name}: {text}", name=one.get("finding", ""), text=one.get("why", ""))
        for one in healing.get("not_tried") or []
    ]
    listed = "".join(f"<li>{escape(text)}</li>" for text in untried)
    return (
        _outcome(healing)
        + card(translated("report.fixes_tried", "Fixes tried"), body, note=note)
        + card(translated("report.before_and_after", "Before and after"), drawn)
        + card(translated("report.not_tried", "Not tried"), f'<ul class="notes">{listed}</ul>' if listed else "")
    )


def _outcome(healing: Mapping[str, Any]) -> str:
    metric = str(healing.get("metric", ""))
    if not healing.get("command"):
        text = translated("report.healing_unchanged", "No change improved the metric by more than the noise.")
        if not healing.get("attempts"):
            text = translated("report.healing_nothing_tried", "No change was tried.")
        return card(translated("report.outcome", "Outcome"), f"<p>{text}</p>")
    before, after = (metric_value(metric, healing.get(key)) for key in ("before", "after"))
    measured = label(metric, within=SPLIT_TITLES["val"])
    text = translated(
        "report.healing_result",
        "{metric} in the trials: {before} before, {after} after. To repeat the training in full:",
        metric=measured,
        before=before,
        after=after,
    )
    return card(
        translated("report.outcome", "Outcome"),
        f"<p>{escape(text)}</p><p><code>{escape(healing['command'])}</code></p>",
    )


def _row(attempt: Mapping[str, Any]) -> list[str]:
    metric = str(attempt.get("metric", ""))
    before, after = attempt.get("before"), attempt.get("after")
    return [
        text_cell(attempt.get("finding", "")),
        text_cell(clip(attempt.get("flags", ""), 160), "key"),
        number_cell(before, metric_value(metric, before)),
        number_cell(after, metric_value(metric, after)),
        text_cell(difference(attempt)),
        text_cell(translated("report.yes", "yes") if attempt.get("kept") else translated("report.no", "no")),
        text_cell(attempt.get("why", ""), "why"),
    ]


def difference(attempt: Mapping[str, Any]) -> str:
    """Format the change of the metric with its noise: "+0.319 ± 0.178"."""
    mean, noise = attempt.get("difference"), attempt.get("noise")
    if not is_number(mean):
        return MISSING
    return f"{mean:+.3g}" + (f" ± {noise:.2g}" if is_number(noise) else "")


def _before_and_after(attempts: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Chart with one line per attempt, from the metric before to after; error bars show the noise."""
    shown = [a for a in attempts if is_number(a.get("before")) and is_number(a.get("after"))]
    if not shown:
        return None
    names = [escape(f"{i}. {clip(a['flags'], 42)}") for i, a in enumerate(shown, 1)]
    lines = [
        {
            "type": "line",
            "x0": a["before"],
            "x1": a["after"],
            "y0": name,
            "y1": name,
            "line": {"color": MUTED, "width": 1},
        }
        for a, name in zip(shown, names)
    ]
    dots = {"type": "scatter", "mode": "markers", "y": names}
    ring = {"color": SURFACE, "size": 9, "line": {"color": MUTED, "width": 2}}
    colours = [TRAIN if a["kept"] else VAL for a in shown]
    noise = {"type": "data", "array": [a["noise"] or 0 for a in shown], "color": MUTED, "thickness": 1, "width": 3}
    old = dots | {"x": [a["before"] for a in shown], "marker": ring, "name": translated("report.axis.before", "before")}
    new = dots | {
        "x": [a["after"] for a in shown],
        "marker": {"color": colours, "size": 10},
        "name": translated("report.axis.after", "after"),
    }
    new["error_x"] = noise
    percentage = all(is_percentage(str(a["metric"])) for a in shown)
    across = metric_axis(
        percentage,
        translated("report.validation_metric", "validation {metric}", metric=metric_key(str(shown[0]["metric"]))),
    )
    down = axis(type="category", autorange="reversed", showgrid=False)
    return {"data": [old, new], "layout": layout(across, down, shapes=lines, hovermode="closest")}
