"""Report sections for detection and segmentation, from summary["evaluation"] of `tasks/detect.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from danlu.message import message, translated
from danlu.report import object_charts
from danlu.report.evaluation import confusion_cards, metrics_card, side_by_side
from danlu.report.markup import (
    Figures,
    card,
    chart,
    clip,
    escape,
    file_name,
    is_number,
    name_cell,
    number,
    number_cell,
    percent,
    table,
)
from danlu.report.mask_svg import outline

CONFUSION_NOTE = (
    "Rows are true classes, columns predicted classes, for scores of at least {score} and an IoU of at least 0.5. "
    "The last row holds false positives, the last column missed objects."
)
MAX_LABELLED_BOXES = 14  # per image; with more, only mistakes are labelled
MAX_LABELS = 30  # per image
Rectangle = tuple[float, float, float, float]  # left, top, right, bottom in pixels


def objects_section(summary: Mapping[str, Any], figures: Figures) -> str:
    """Metrics, precision-recall curves, classes, kinds of mistakes and the confusion matrix."""
    found = summary.get("evaluation") or {}
    curves = card(
        translated("report.precision_recall", "Precision-recall curves"),
        chart(object_charts.precision_recall(found.get("precision_recall") or {}), figures, "precision-recall", 420),
        note=translated(
            "report.precision_recall_note", "At IoU 0.5: precision of the detections at each recall of the objects."
        ),
    )
    kinds = card(
        translated("report.kinds_of_mistakes", "Kinds of mistakes"),
        chart(object_charts.error_kinds(found.get("errors") or {}), figures, "errors", 300),
        note=translated("report.errors_note", "mAP lost to each kind of mistake, after TIDE (Bolya et al. 2020)."),
    )
    parts = [
        side_by_side(metrics_card(summary.get("metrics") or {}), curves),
        side_by_side(_per_class(found), kinds),
    ]
    if found.get("confusion"):
        classes = [str(row.get("name", "")) for row in found.get("per_class") or []]
        score = (found.get("threshold") or {}).get("score")
        note = message("report.detector_confusion_note", CONFUSION_NOTE, score=number(score))
        parts.append(
            confusion_cards(found["confusion"], [*classes, translated("report.nothing", "nothing")], figures, note)
        )
    return "".join(parts)


def examples_section(examples: Sequence[Mapping[str, Any]]) -> str:
    """Images with the annotated objects on the left and the detections on the right, mistakes marked."""
    shown = "".join(_example(one, f"example-{i}") for i, one in enumerate(examples))
    right = translated("report.legend.right", "correct detection")
    wrong = translated("report.legend.wrong", "missed (left) or false positive (right)")
    legend = f'<p class="legend"><span><i></i>{right}</span><span><i class="wrong"></i>{wrong}</span></p>'
    return f'{legend}<div class="examples">{shown}</div>' if shown else ""


def sizes_section(found: Mapping[str, Any], figures: Figures) -> str:
    """Object sizes at training resolution, with anchor coverage or feature map strides."""
    side, tools = number(found.get("side")), ""
    notes = [
        translated(
            "report.sizes_note",
            "Objects of the training set, in pixels of the network's {width} x {height} input.",
            width=side,
            height=side,
        )
    ]
    if is_number(found.get("covered")):
        notes.append(
            translated(
                "report.covered_note",
                "The line shows the fraction of objects with an anchor of IoU 0.5 or more; others are hard to learn.",
            )
        )
        covered = translated(
            "report.covered", "{fraction} have a matching anchor", fraction=percent(found["covered"], 1)
        )
        tools = f'<span class="chip">{escape(covered)}</span>'
    elif found.get("strides"):
        notes.append(
            translated(
                "report.strides_note",
                "An object smaller than the finest stride shares a cell of the finest feature map with its neighbours.",
            )
        )
    sizes = chart(object_charts.sizes(found), figures, "sizes", 340)
    return card(
        translated("report.sizes", "Sizes"), sizes, note=translated("report.word_space", " ").join(notes), tools=tools
    )


def _per_class(found: Mapping[str, Any]) -> str:
    rows = []
    for row in found.get("per_class") or []:
        scores = [
            number_cell(v := row.get(key), percent(v, 1), bar=v if is_number(v) else 0)
            for key in ("mAP", "mAP50", "f1")
        ]
        counts = [number_cell(v := row.get(key), number(_rounded(v))) for key in ("score", "objects")]
        rows.append([name_cell(row.get("name", "")), *scores, *counts])
    best = found.get("threshold") or {}
    note = ""
    if is_number(best.get("score")):
        score, f1 = f"{best['score']:.2f}", percent(best.get("f1"), 1)
        text = (
            "Detections with a score of at least {score} give the best F1 over all classes, {f1}: "
            "danlu predict --score {score}."
        )
        note = translated("report.best_score", text, score=score, f1=f1)
    head = [
        translated("report.class", "Class"),
        translated("report.ap", "AP"),
        translated("report.ap50", "AP50"),
        translated("report.best_f1", "Best F1"),
        translated("report.at_score", "at score"),
        translated("report.objects", "Objects"),
    ]
    return card(
        translated("report.class_by_class", "Class by class"),
        table(head, rows, numbers=5, kind="sortable") if rows else "",
        note=note,
    )


def _rounded(value: object) -> object:
    return round(value, 3) if isinstance(value, float) else value


def _example(one: Mapping[str, Any], name: str) -> str:
    uri, size = one.get("image"), one.get("size") or [0, 0]
    if not (isinstance(uri, str) and uri.startswith("data:image/") and all(is_number(s) and s > 0 for s in size)):
        return ""
    true, found = one.get("true") or [], one.get("found") or []
    missed, false_positives = sum(bool(t.get("missed")) for t in true), sum(bool(f.get("false")) for f in found)
    height, width = size
    image = f'<image id="{name}" href="{escape(uri)}" width="{width}" height="{height}" preserveAspectRatio="none"/>'
    left = _panel(image, true, "missed", size, translated("report.annotated", "{count} annotated", count=len(true)))
    right = _panel(
        f'<use href="#{name}"/>',
        found,
        "false",
        size,
        translated("report.detected", "{count} detected", count=len(found)),
    )
    wrong = [translated("report.missed", "{count} missed", count=missed)] if missed else []
    wrong += (
        [
            translated("report.false_positive", "1 false positive")
            if false_positives == 1
            else translated("report.false_positives", "{count} false positives", count=false_positives)
        ]
        if false_positives
        else []
    )
    found_wrong = translated("report.comma", ", ").join(wrong) or translated("report.all_found", "all found")
    file = str(one.get("name", ""))
    return (
        f'<figure title="{escape(file)}"><div class="pair">{left}{right}</div>{_attention(one, name)}<figcaption>'
        f'<span class="{"wrong" if wrong else "right"}">{escape(found_wrong)}</span>'
        f'<span class="file">{file_name(file, 60)}</span></figcaption></figure>'
    )


def _attention(one: Mapping[str, Any], name: str) -> str:
    """A panel for each of the top detections: the image under the attention of its query, and its box."""
    size, panels = one.get("size") or [0, 0], []
    title = translated("report.attention", "attention of the query")
    for query in one.get("attention") or []:
        uri, area = query.get("map"), query.get("area") or []
        if isinstance(uri, str) and uri.startswith("data:image/") and len(area) == 4 and all(map(is_number, area)):
            left, top, right, bottom = area
            over = (
                f'<use href="#{name}"/><image href="{escape(uri)}" x="{left}" y="{top}" width="{right - left}" '
                f'height="{bottom - top}" preserveAspectRatio="none"/>'
            )
            panels.append(_panel(over, [query], "false", size, title))
    return f'<div class="pair queries">{"".join(panels)}</div>' if panels else ""


def _panel(image: str, boxes: Sequence[Mapping[str, Any]], mistake: str, size: Sequence[float], title: str) -> str:
    """SVG of an image and its boxes, with mistakes drawn on top."""
    height, width = size
    ordered = sorted(boxes, key=lambda box: bool(box.get(mistake)))
    shapes = [_shape(box, bool(box.get(mistake)), size) for box in ordered]
    named = [box for box in ordered if len(boxes) <= MAX_LABELLED_BOXES or box.get(mistake)][-MAX_LABELS:]
    taken: list[Rectangle] = []
    labels = [_label(box, bool(box.get(mistake)), size, taken) for box in reversed(named)]  # mistakes first
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
        f"{image}{''.join(shapes)}{''.join(reversed(labels))}</svg>"
    )


def _shape(box: Mapping[str, Any], wrong: bool, size: Sequence[float]) -> str:
    left, top, right, bottom = _corners(box, size)
    position = f'x="{left:g}" y="{top:g}" width="{right - left:g}" height="{bottom - top:g}"'
    score = f" {box['score']:.2f}" if is_number(box.get("score")) else ""
    title = f"<title>{escape(box.get('class', ''))}{score}</title>"
    mask = f'<path d="{outline(box["mask"])}"/>' if isinstance(box.get("mask"), Mapping) else ""
    kind = "wrong" if wrong else "right"
    return f'<g class="{kind}">{mask}<rect class="under" {position}/><rect {position}>{title}</rect></g>'


def _label(box: Mapping[str, Any], wrong: bool, size: Sequence[float], taken: list[Rectangle]) -> str:
    """SVG label with class and score at a free position; its rectangle is appended to `taken`."""
    font_size = 0.046 * max(size)
    name = clip(box.get("class", ""), 18)
    text = f"{name} {box['score']:.2f}" if is_number(box.get("score")) else name
    # A Latin letter is about half as wide as the font size, a Chinese one as wide.
    width = font_size * (0.6 + sum(1.0 if ord(c) > 0x2E7F else 0.56 for c in text))
    height = 1.3 * font_size
    x, y = _free_position(_corners(box, size), width, height, size, taken)
    taken.append((x, y, x + width, y + height))
    return (
        f'<g class="word {"wrong" if wrong else "right"}"><rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}"/><text x="{x + 0.3 * font_size:.1f}" y="{y + font_size:.1f}" '
        f'font-size="{font_size:.1f}">{escape(text)}</text></g>'
    )


def _free_position(
    corners: Rectangle, width: float, height: float, size: Sequence[float], taken: list[Rectangle]
) -> tuple[float, float]:
    """First position above, below or inside the box that overlaps no other label; above it if there is none."""
    left, top, right, bottom = corners
    positions = []
    for y in (top - height, bottom, top, bottom - height):
        for x in (left, right - width):
            positions.append((max(0.0, min(x, size[1] - width)), max(0.0, min(y, size[0] - height))))
    for x, y in positions:
        if not any(x < x2 and x1 < x + width and y < y2 and y1 < y + height for x1, y1, x2, y2 in taken):
            return x, y
    return positions[0]


def _corners(box: Mapping[str, Any], size: Sequence[float]) -> Rectangle:
    values = [float(v) if is_number(v) else 0.0 for v in box.get("box") or []]
    left, top, right, bottom = (*values, 0.0, 0.0, 0.0, 0.0)[:4]
    left, top = min(max(left, 0.0), size[1]), min(max(top, 0.0), size[0])
    return left, top, max(left, min(right, size[1])), max(top, min(bottom, size[0]))
