"""HTML building blocks of the report: escaped text, formatted numbers, tables, panels and chart placeholders.

Class names, file names and messages are untrusted input: all text of the page passes through `escape`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from danlu.message import Message, message, translated
from danlu.message import as_html as escape
from danlu.run.quantities import METRICS

Figure = dict[str, Any]  # Plotly figure: {"data": [...], "layout": {...}}
Figures = dict[str, Figure]  # figures of a page by the name of their placeholder

MISSING = "–"  # shown for missing values
LABELS: dict[str, str] = {
    "loss": message("metric.name.loss", "Loss"),
    "accuracy": message("metric.name.accuracy", "Accuracy"),
    "top5": message("metric.name.top5", "Top-5 accuracy"),
    "f1": message("metric.name.f1", "Mean F1"),
    "f1_micro": message("metric.name.f1_micro", "F1 of all labels"),
    "ece": message("metric.name.ece", "Calibration error"),
    "mae": message("metric.name.mae", "Mean absolute error"),
    "rmse": message("metric.name.rmse", "Root mean squared error"),
    "baseline": message("metric.name.baseline", "Loss of the baseline"),
    "std": message("metric.name.std", "Spread of the embeddings"),
    "rank": message("metric.name.rank", "Effective rank"),
    "knn": message("metric.name.knn", "Nearest neighbours"),
    "linear": message("metric.name.linear", "Linear probe"),
    "constant": message("metric.name.constant", "Constant patches"),
    "codes_right": message("metric.name.codes_right", "Tokens predicted"),
    "mAP50": message("metric.name.mAP50", "mAP at IoU 0.5"),
    "mAP75": message("metric.name.mAP75", "mAP at IoU 0.75"),
    "mAP_small": message("metric.name.mAP_small", "mAP, small objects"),
    "mAP_medium": message("metric.name.mAP_medium", "mAP, medium objects"),
    "mAP_large": message("metric.name.mAP_large", "mAP, large objects"),
    "AR1": message("metric.name.AR1", "Recall, 1 per image"),
    "AR10": message("metric.name.AR10", "Recall, 10 per image"),
    "AR100": message("metric.name.AR100", "Recall, 100 per image"),
    "AR_small": message("metric.name.AR_small", "Recall, small objects"),
    "AR_medium": message("metric.name.AR_medium", "Recall, medium objects"),
    "AR_large": message("metric.name.AR_large", "Recall, large objects"),
    "box": message("metric.name.box", "Box loss"),
    "class": message("metric.name.class", "Class loss"),
    "objectness": message("metric.name.objectness", "Objectness loss"),
    "proposal_box": message("metric.name.proposal_box", "Proposal box loss"),
    "mask": message("metric.name.mask", "Mask loss"),
    "l1": message("metric.name.l1", "L1 loss"),
    "auxiliary": message("metric.name.auxiliary", "Loss of earlier layers"),
    "mIoU": message("metric.name.mIoU", "Mean IoU"),
    "pixel_accuracy": message("metric.name.pixel_accuracy", "Pixel accuracy"),
    "class_accuracy": message("metric.name.class_accuracy", "Mean recall of pixels"),
    "fw_IoU": message("metric.name.fw_IoU", "IoU weighted by pixels"),
    "dice": message("metric.name.dice", "Dice"),
    "boundary_IoU": message("metric.name.boundary_IoU", "IoU near contours"),
    "add_s_01d": message("metric.name.add_s_01d", "ADD(-S) < 0.1 d"),
    "auc_add": message("metric.name.auc_add", "AUC of ADD"),
    "auc_add_s": message("metric.name.auc_add_s", "AUC of ADD-S"),
    "auc_add_ycb": message("metric.name.auc_add_ycb", "AUC of ADD, YCB toolbox"),
    "auc_add_s_ycb": message("metric.name.auc_add_s_ycb", "AUC of ADD-S, YCB toolbox"),
    "rotation": message("metric.name.rotation", "Rotation error, degrees"),
    "translation": message("metric.name.translation", "Translation error, m"),
    "centre": message("metric.name.centre", "Centre error, px"),
    "depth": message("metric.name.depth", "Depth error"),
    "found": message("metric.name.found", "Objects found"),
    "within_5cm_5deg": message("metric.name.within_5cm_5deg", "Within 5 cm and 5 degrees"),
    "projection_5px": message("metric.name.projection_5px", "Projected within 5 px"),
    "mssd": message("metric.name.mssd", "MSSD recall"),
    "mspd": message("metric.name.mspd", "MSPD recall"),
    "rotation_loss": message("metric.name.rotation_loss", "Rotation loss"),
    "score_loss": message("metric.name.score_loss", "Rotation anchor loss"),
    "centre_loss": message("metric.name.centre_loss", "Centre loss"),
    "depth_loss": message("metric.name.depth_loss", "Depth loss"),
    "pixel": message("metric.name.pixel", "Pixel label loss"),
    "r2": "R²",
}
SHORT_NAMES: dict[str, str] = {
    "top5": message("metric.short.top5", "top-5"),
    "baseline": message("metric.short.baseline", "baseline"),
    "std": message("metric.short.std", "spread"),
    "rank": message("metric.short.rank", "rank"),
    "knn": message("metric.short.knn", "kNN"),
    "linear": message("metric.short.linear", "linear probe"),
    "constant": message("metric.short.constant", "constant"),
    "codes_right": message("metric.short.codes_right", "tokens"),
    "mAP50": message("metric.short.mAP50", "at 0.5"),
    "mAP75": message("metric.short.mAP75", "at 0.75"),
    "mAP_small": message("metric.short.mAP_small", "small"),
    "mAP_medium": message("metric.short.mAP_medium", "medium"),
    "mAP_large": message("metric.short.mAP_large", "large"),
    "AR1": message("metric.short.AR1", "recall, 1"),
    "AR10": message("metric.short.AR10", "recall, 10"),
    "AR100": message("metric.short.AR100", "recall"),
    "AR_small": message("metric.short.AR_small", "recall, small"),
    "AR_medium": message("metric.short.AR_medium", "recall, medium"),
    "AR_large": message("metric.short.AR_large", "recall, large"),
    "loss": message("metric.short.loss", "loss"),
    "accuracy": message("metric.short.accuracy", "accuracy"),
    "box": message("metric.short.box", "box"),
    "class": message("metric.short.class", "class"),
    "objectness": message("metric.short.objectness", "objectness"),
    "proposal_box": message("metric.short.proposal_box", "proposal box"),
    "mask": message("metric.short.mask", "mask"),
    "l1": message("metric.short.l1", "l1"),
    "auxiliary": message("metric.short.auxiliary", "earlier layers"),
    "f1": "F1",
    "f1_micro": message("metric.short.f1_micro", "F1 of all labels"),
    "ece": "ECE",
    "r2": "R²",
    "mae": "MAE",
    "rmse": "RMSE",
    "rotation_loss": message("metric.short.rotation_loss", "rotation"),
    "score_loss": message("metric.short.score_loss", "anchor"),
    "centre_loss": message("metric.short.centre_loss", "centre"),
    "depth_loss": message("metric.short.depth_loss", "depth"),
    "pixel": message("metric.short.pixel", "pixel"),
    "auc_add_ycb": message("metric.short.auc_add_ycb", "ADD, YCB"),
    "auc_add_s_ycb": message("metric.short.auc_add_s_ycb", "ADD-S, YCB"),
    "within_5cm_5deg": message("metric.short.within_5cm_5deg", "5 cm, 5 degrees"),
    "projection_5px": message("metric.short.projection_5px", "projection"),
}
MASK = message("report.mask", "Mask")


def clip(value: object, length: int) -> str:
    """Shorten text to at most `length` characters by cutting its middle, as names differ at both ends. Not escaped."""
    text = str(value)
    if len(text) <= length:
        return text
    tail = (length - 1) // 3
    return f"{text[: length - 1 - tail]}…{text[len(text) - tail :]}"


def file_name(value: object, length: int = 80) -> str:
    """HTML of the name of a file or sample, whose folders are cut before the name of the file itself is."""
    folder, slash, file = clip(value, length).rpartition("/")
    folders = f"<i>{escape(folder)}/</i>" if slash else ""
    return f"<bdi>{folders}<span>{escape(file)}</span></bdi>"


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether a value is a finite number (bool does not count as a number)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def number(value: object) -> str:
    """Format with four significant digits and thousands separators; a dash for missing or non-finite values.

    >>> number(55000), number(0.023456), number(None)
    ('55,000', '0.02346', '–')
    """
    if not is_number(value):
        return MISSING
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:,.4g}"


def percent(value: object, digits: int = 2) -> str:
    """Format a fraction as percent: 0.1234 -> "12.34 %"."""
    return f"{100 * value:.{digits}f}\u202f%" if is_number(value) else MISSING


def is_percentage(metric: str) -> bool:
    """Return whether a metric is shown in percent: all fractions but R²."""
    return metric != "r2" and metric in METRICS and METRICS[metric].unit == "fraction"


def metric_value(metric: str, value: object) -> str:
    """Format the value of a metric, in percent where it is a fraction."""
    return percent(value) if is_percentage(metric) else number(value)


def label(metric: str, within: Message | None = None) -> str:
    """Display name of a metric, in lower case after a split title `within`, except for symbols such as R².

    >>> from danlu.run.names import SPLIT_TITLES
    >>> label("accuracy", within=SPLIT_TITLES["test"]), label("r2", within=SPLIT_TITLES["test"])
    ('Test accuracy', 'Test R²')
    >>> label("boundary_IoU", within=SPLIT_TITLES["test"])
    'Test IoU near contours'
    """
    own = metric.removeprefix("mask_")
    name = str(LABELS.get(own, own))
    for before in [*([MASK] if own != metric else []), *([within] if within else [])]:
        name = translated(
            "report.joined",
            "{first} {second}",
            first=before,
            second=name[0].lower() + name[1:] if name.split(maxsplit=1)[0][1:].islower() else name,
        )
    return name


def short_label(metric: str) -> str:
    """Display name of a metric for buttons and legends, shorter than `label` where there is a shorter one."""
    own = metric.removeprefix("mask_")
    name = str(SHORT_NAMES.get(own, LABELS.get(own, own)))
    return (
        name
        if own == metric
        else translated("report.joined", "{first} {second}", first=translated("report.mask_word", "mask"), second=name)
    )


def duration(seconds: object) -> str:
    """Format a duration in its two largest units.

    >>> duration(12.34), duration(252), duration(7500)
    ('12.3 s', '4 min 12 s', '2 h 5 min')
    """
    if not is_number(seconds):
        return MISSING
    if seconds < 60:
        return translated("report.seconds", "{seconds} s", seconds=f"{seconds:.1f}")
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return translated("report.minutes", "{minutes} min {seconds} s", minutes=minutes, seconds=rest)
    return translated("report.hours", "{hours} h {minutes} min", hours=minutes // 60, minutes=minutes % 60)


def words(value: object) -> str:
    """Format the value of a setting as one line of text. Not escaped."""
    if value is None:
        return translated("report.none", "none")
    if isinstance(value, bool):
        return translated("report.yes", "yes") if value else translated("report.no", "no")
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {words(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(words(item) for item in value)
    return str(value)


def text_cell(value: object, kind: str = "") -> str:
    """Table cell with text; kind: CSS classes."""
    return f'<td class="{kind}">{escape(value)}</td>' if kind else f"<td>{escape(value)}</td>"


def name_cell(value: object) -> str:
    """Table cell with the name of a class or file, shortened; the tooltip has the full name."""
    return f'<td class="name" title="{escape(value)}">{escape(clip(value, 72))}</td>'


def number_cell(value: object, shown: str, bar: float | None = None) -> str:
    """Table cell with a right-aligned number, sorted by `value`; `bar` in [0, 1] draws a bar below it."""
    raw = f' data-value="{value}"' if is_number(value) else ""
    width = f' style="--bar:{100 * min(max(bar, 0.0), 1.0):.1f}%"' if bar is not None else ""
    return f'<td class="number{" bar" if width else ""}"{raw}{width}>{escape(shown)}</td>'


def _is_number_cell(cell: str) -> bool:
    return cell.startswith('<td class="number')


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int = 0, kind: str = "") -> str:
    """Scrollable HTML table.

    Args:
        head: Column titles, plain text.
        rows: Rows of HTML cells (`text_cell`, `name_cell`, `number_cell`).
        numbers: Number of numeric columns, the last ones; their titles are right-aligned, as are those of other columns
            that hold only numbers.
        kind: CSS classes: "sortable", "settings", "whole" (no limit on the height), "stacked" (on a phone, the
            sentences of a row are below its name and value).
    """
    rows, first = [list(row) for row in rows], len(head) - numbers
    right = {i for i in range(len(head)) if i >= first or (rows and all(_is_number_cell(row[i]) for row in rows))}
    titles = "".join(f"<th{' class=number' if i in right else ''}>{escape(t)}</th>" for i, t in enumerate(head))
    body = "\n".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0"><table class="{kind}"><thead><tr>{titles}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def image(uri: object, alt: str) -> str:
    """<img> element of a data URI; empty for any other URI, as the page loads nothing from outside."""
    if not (isinstance(uri, str) and uri.startswith("data:image/")):
        return ""
    return f'<img src="{escape(uri)}" alt="{escape(alt)}">'


def chart(figure: Figure | None, figures: Figures, name: str, height: int, kind: str = "") -> str:
    """Placeholder element of a chart, `height` pixels high; adds the figure to `figures`, which page.js draws."""
    if figure is None:
        return ""
    figures[name] = figure
    return f'<div class="chart {kind}" data-figure="{name}" style="--height:{height}px"></div>'


def card(title: str, body: str, *, note: str = "", tools: str = "", kind: str = "") -> str:
    """Card with a title, a note and a body; empty if the body is. title, note: plain text; body, tools: HTML."""
    if not body:
        return ""
    note = f'<p class="note">{escape(note)}</p>' if note else ""
    return f'<div class="card {kind}"><header><h3>{escape(title)}</h3>{tools}</header>{note}{body}</div>'
