"""Report sections of semantic segmentation, from summary["evaluation"] of `tasks/semantic.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from danlu.data.label_palette import palette
from danlu.message import translated
from danlu.report.evaluation import metrics_card
from danlu.report.markup import (
    Figures,
    card,
    clip,
    escape,
    file_name,
    image,
    is_number,
    name_cell,
    number_cell,
    percent,
    table,
)

KEYS = ("iou", "dice", "boundary_iou", "precision", "recall", "pixels")


def maps_section(summary: Mapping[str, Any], figures: Figures) -> str:
    """Metrics of every split, then the scores of each class and examples."""
    found = summary.get("evaluation") or {}
    rows = found.get("pixel_classes") or []
    return metrics_card(summary.get("metrics") or {}) + _per_class(rows)


def map_examples_section(found: Mapping[str, Any]) -> str:
    """Images with their true and predicted classes, those with the lowest mean IoU first."""
    names = [str(row.get("name", "")) for row in found.get("pixel_classes") or []]
    colours = palette(len(names))
    shown = "".join(_example(one, names, colours) for one in found.get("map_examples") or [])
    return f'<div class="gallery maps">{shown}</div>' if shown else ""


def _per_class(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [
        [
            name_cell(row.get("name", "")),
            *(number_cell(v := row.get(key), percent(v, 1), bar=v if is_number(v) else 0) for key in KEYS),
        ]
        for row in rows
    ]
    head = [
        translated("report.class", "Class"),
        translated("report.iou", "IoU"),
        translated("report.dice", "Dice"),
        translated("report.boundary_iou", "Boundary IoU"),
        translated("report.precision", "Precision"),
        translated("report.recall", "Recall"),
        translated("report.pixels", "Pixels"),
    ]
    note = translated(
        "report.map_classes_note",
        "All pixels of the split are counted together, at the original size of the images and without ignored ones. "
        "Boundary IoU compares only the pixels near a contour.",
    )
    return card(
        translated("report.class_by_class", "Class by class"),
        table(head, cells, numbers=len(KEYS), kind="sortable") if rows else "",
        note=note if rows else "",
    )


def _example(one: Mapping[str, Any], names: Sequence[str], colours: Sequence[tuple[int, int, int]]) -> str:
    name, iou = str(one.get("name", "")), one.get("iou")
    views = "".join(
        f'<div class="layer">{image(one.get("image"), name)}{image(one.get(key), title)}<b>{escape(title)}</b></div>'
        for key, title in (
            ("true", translated("report.map_true", "true")),
            ("found", translated("report.map_predicted", "predicted")),
        )
    )
    keys = "".join(
        f'<span class="key"><i style="background:rgb{colours[k]}"></i>{escape(clip(names[k], 24))}</span>'
        for k in one.get("classes") or []
        if isinstance(k, int) and k < len(names)
    )
    score = escape(translated("report.map_iou", "mean IoU {value}", value=percent(iou, 1)))
    return (
        f'<figure title="{escape(name)}"><div class="layers">{views}</div><figcaption><div class="keys">{keys}</div>'
        f'<span class="file">{file_name(name)}<b>{score}</b></span></figcaption></figure>'
    )
