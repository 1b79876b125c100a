"""Report sections for several labels per image, from summary["evaluation"] of `tasks/multilabel.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from danlu.message import translated
from danlu.report.evaluation import metrics_card
from danlu.report.markup import (
    Figures,
    card,
    escape,
    file_name,
    image,
    is_number,
    name_cell,
    number,
    number_cell,
    percent,
    table,
)


def labels_section(summary: Mapping[str, Any], figures: Figures) -> str:
    """Metrics of every split, then average precision, threshold and F1 of each label."""
    found = summary.get("evaluation") or {}
    return metrics_card(summary.get("metrics") or {}) + _per_label(found.get("per_label") or [])


def label_mistakes_section(mistakes: Sequence[Mapping[str, Any]]) -> str:
    """Gallery of images with a wrong label, with true and predicted labels."""
    shown = "".join(map(_mistake, mistakes))
    return f'<div class="gallery mistakes">{shown}</div>' if shown else ""


def _per_label(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = []
    for row in rows:
        scores = [
            number_cell(v := row.get(key), percent(v, 1), bar=v if is_number(v) else 0)
            for key in ("ap", "f1", "precision", "recall")
        ]
        threshold, support = row.get("threshold"), row.get("support")
        cells.append(
            [
                name_cell(row.get("name", "")),
                *scores,
                number_cell(threshold, percent(threshold, 1)),
                number_cell(support, number(support)),
            ]
        )
    head = [
        translated("report.label", "Label"),
        translated("report.average_precision", "Average precision"),
        translated("report.f1", "F1"),
        translated("report.precision", "Precision"),
        translated("report.recall", "Recall"),
        translated("report.threshold", "Threshold"),
        translated("report.support", "Support"),
    ]
    note = translated(
        "report.labels_note",
        "F1, precision and recall at the threshold of each label, chosen on the validation set for the largest F1.",
    )
    return card(
        translated("report.label_by_label", "Label by label"),
        table(head, cells, numbers=6, kind="sortable") if rows else "",
        note=note if rows else "",
    )


def _mistake(mistake: Mapping[str, Any]) -> str:
    name, probability = mistake.get("name", ""), mistake.get("probability")
    none = translated("report.no_label", "no label")
    true, predicted = (
        translated("report.comma", ", ").join(map(str, mistake.get(key) or [])) or none for key in ("true", "predicted")
    )
    truth = escape(translated("report.true_is", "true: {name}", name=true))
    width = 100 * max(0.0, min(1.0, probability)) if is_number(probability) else 0.0
    wrong = f"{mistake.get('label', '')} {percent(probability, 1)}"
    return (
        f'<figure title="{escape(name)}">{image(mistake.get("image"), str(name))}<figcaption>'
        f'<span class="predicted">{escape(predicted)}</span><span class="true">{truth}</span>'
        f'<span class="confidence"><i style="width:{width:.1f}%"></i></span>'
        f'<span class="file">{file_name(name)}<b>{escape(wrong)}</b></span>'
        f"</figcaption></figure>"
    )
