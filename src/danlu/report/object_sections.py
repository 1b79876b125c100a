"""The parts of the page that show how well a detector finds: from summary["evaluation"] of `tasks/detect.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from danlu.report import object_charts
from danlu.report.evaluation import confusion_cards, metrics_card, side_by_side
from danlu.report.markup import (
    card,
    chart,
    clip,
    escape,
    is_number,
    name_cell,
    number,
    number_cell,
    percent,
    table,
)
from danlu.report.mask_svg import outline
from danlu.report.wording import say

NOTHING = "nothing"
CONFUSION_NOTE = (
    "Rows are the class that is there, columns the one that was found, from a score of {} and an IoU of 0.5 on. "
    "The last row holds false alarms, the last column what was missed."
)
COVERED_NOTE = "The line tells how many of them some anchor overlaps by half or more (IoU): others are hard to learn."
STRIDES_NOTE = "An object smaller than the finest stride lies within one cell of the finest map, with its neighbours."
LABELLED = 14  # boxes of an image that bear a name; beyond, only mistakes do
NAMES_SHOWN = 30
Plate = tuple[float, float, float, float]  # left, top, right, bottom


def objects_section(summary: Mapping[str, Any], figures: dict[str, Any]) -> str:
    """Metrics of every split, then curves, classes, kinds of mistakes and the confusion of classes."""
    found = summary.get("evaluation") or {}
    curves = card(
        say("Precision over recall"),
        chart(object_charts.precision_recall(found.get("precision_recall") or {}), figures, "precision-recall", 420),
        note=say("At IoU 0.5: how much of what is found is right, when so much of what is there is found."),
    )
    kinds = card(
        say("Kinds of mistakes"),
        chart(object_charts.error_kinds(found.get("errors") or {}), figures, "errors", 300),
        note=say("What all mistakes of a kind cost together, after TIDE (Bolya et al. 2020)."),
    )
    parts = [
        side_by_side(metrics_card(summary.get("metrics") or {}), curves),
        side_by_side(_per_class(found), kinds),
    ]
    if found.get("confusion"):
        classes = [str(row.get("name", "")) for row in found.get("per_class") or []]
        score = (found.get("threshold") or {}).get("score")
        note = say(CONFUSION_NOTE, number(score))
        parts.append(confusion_cards(found["confusion"], [*classes, say(NOTHING)], figures, note))
    return "".join(parts)


def examples_section(examples: Sequence[Mapping[str, Any]]) -> str:
    """What is there, on the left, beside what was found: masks and boxes over the image, mistakes marked."""
    shown = "".join(_example(one, f"example-{i}") for i, one in enumerate(examples))
    legend = (
        f'<p class="legend"><span><i></i>{say("found, and there")}</span>'
        f'<span><i class="wrong"></i>{say("missed (left), or a false alarm (right)")}</span></p>'
    )
    return f'{legend}<div class="examples">{shown}</div>' if shown else ""


def sizes_section(found: Mapping[str, Any], figures: dict[str, Any]) -> str:
    """Object sizes at the training resolution; with the anchors' coverage, or the strides of the maps."""
    side, tools = number(found.get("side")), ""
    notes = [say("Objects of the training split, in pixels of the {} x {} that the network sees.", side, side)]
    if is_number(found.get("covered")):
        notes.append(say(COVERED_NOTE))
        covered = say("{} have a like anchor", percent(found["covered"], 1))
        tools = f'<span class="chip">{escape(covered)}</span>'
    elif found.get("strides"):
        notes.append(say(STRIDES_NOTE))
    sizes = chart(object_charts.sizes(found), figures, "sizes", 340)
    return card(say("Sizes"), sizes, note=say(" ").join(notes), tools=tools)


def _per_class(found: Mapping[str, Any]) -> str:
    rows = []
    for row in found.get("per_class") or []:
        shares = [
            number_cell(v := row.get(key), percent(v, 1), bar=v if is_number(v) else 0)
            for key in ("mAP", "mAP50", "f1")
        ]
        counts = [number_cell(v := row.get(key), number(_rounded(v))) for key in ("score", "objects")]
        rows.append([name_cell(row.get("name", "")), *shares, *counts])
    best = found.get("threshold") or {}
    note = ""
    if is_number(best.get("score")):
        score, f1 = f"{best['score']:.2f}", percent(best.get("f1"), 1)
        kept = "Keeping what scores {} or more gives the best F1 over all classes, {}: danlu predict --score {}."
        note = say(kept, score, f1, score)
    head = [say(word) for word in ("Class", "AP", "AP50", "Best F1", "at score", "Objects")]
    return card(say("Class by class"), table(head, rows, numbers=5, kind="sortable") if rows else "", note=note)


def _rounded(value: object) -> object:
    return round(value, 3) if isinstance(value, float) else value


def _example(one: Mapping[str, Any], name: str) -> str:
    uri, size = one.get("image"), one.get("size") or [0, 0]
    if not (isinstance(uri, str) and uri.startswith("data:image/") and all(is_number(s) and s > 0 for s in size)):
        return ""
    true, found = one.get("true") or [], one.get("found") or []
    missed, alarms = sum(bool(t.get("missed")) for t in true), sum(bool(f.get("false")) for f in found)
    height, width = size
    image = f'<image id="{name}" href="{escape(uri)}" width="{width}" height="{height}" preserveAspectRatio="none"/>'
    left = _panel(image, true, "missed", size, say("{} there", len(true)))
    right = _panel(f'<use href="#{name}"/>', found, "false", size, say("{} found", len(found)))
    wrong = [say("{} missed", missed)] if missed else []
    wrong += [say("1 false alarm") if alarms == 1 else say("{} false alarms", alarms)] if alarms else []
    file = str(one.get("name", ""))
    return (
        f'<figure title="{escape(file)}"><div class="pair">{left}{right}</div><figcaption>'
        f'<span class="{"wrong" if wrong else "right"}">{escape(say(", ").join(wrong) or say("all found"))}</span>'
        f'<span class="file"><bdi>{escape(clip(file, 60))}</bdi></span></figcaption></figure>'
    )


def _panel(image: str, boxes: Sequence[Mapping[str, Any]], mistake: str, size: Sequence[float], title: str) -> str:
    """One drawing: the image and its boxes, mistakes last, so that they lie on top."""
    height, width = size
    ordered = sorted(boxes, key=lambda box: bool(box.get(mistake)))
    marks = [_mark(box, bool(box.get(mistake)), size) for box in ordered]
    named = [box for box in ordered if len(boxes) <= LABELLED or box.get(mistake)][-NAMES_SHOWN:]
    taken: list[Plate] = []
    words = [_word(box, bool(box.get(mistake)), size, taken) for box in reversed(named)]  # mistakes choose first
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
        f"{image}{''.join(marks)}{''.join(reversed(words))}</svg>"
    )


def _mark(box: Mapping[str, Any], wrong: bool, size: Sequence[float]) -> str:
    left, top, right, bottom = _corners(box, size)
    place = f'x="{left:g}" y="{top:g}" width="{right - left:g}" height="{bottom - top:g}"'
    score = f" {box['score']:.2f}" if is_number(box.get("score")) else ""
    title = f"<title>{escape(box.get('class', ''))}{score}</title>"
    mask = f'<path d="{outline(box["mask"])}"/>' if isinstance(box.get("mask"), Mapping) else ""
    kind = "wrong" if wrong else "right"
    return f'<g class="{kind}">{mask}<rect class="under" {place}/><rect {place}>{title}</rect></g>'


def _word(box: Mapping[str, Any], wrong: bool, size: Sequence[float], taken: list[Plate]) -> str:
    """The class, and its score, on a small plate at the box, where no other plate of `taken` lies if that can be."""
    letter = 0.046 * max(size)
    name = clip(box.get("class", ""), 18)
    text = f"{name} {box['score']:.2f}" if is_number(box.get("score")) else name
    # Letters are about half as wide as high, Chinese ones as wide as high.
    long, high = letter * (0.6 + sum(1.0 if ord(c) > 0x2E7F else 0.56 for c in text)), 1.3 * letter
    x, y = _free_place(_corners(box, size), long, high, size, taken)
    taken.append((x, y, x + long, y + high))
    return (
        f'<g class="word {"wrong" if wrong else "right"}"><rect x="{x:.1f}" y="{y:.1f}" width="{long:.1f}" '
        f'height="{high:.1f}"/><text x="{x + 0.3 * letter:.1f}" y="{y + letter:.1f}" '
        f'font-size="{letter:.1f}">{escape(text)}</text></g>'
    )


def _free_place(
    corners: Plate, long: float, high: float, size: Sequence[float], taken: list[Plate]
) -> tuple[float, float]:
    """Above the box, or below it, or within; the first where nothing is written yet."""
    left, top, right, bottom = corners
    places = []
    for y in (top - high, bottom, top, bottom - high):
        for x in (left, right - long):
            places.append((max(0.0, min(x, size[1] - long)), max(0.0, min(y, size[0] - high))))
    for x, y in places:
        if not any(x < end and start < x + long and y < under and over < y + high for start, over, end, under in taken):
            return x, y
    return places[0]


def _corners(box: Mapping[str, Any], size: Sequence[float]) -> Plate:
    values = [float(v) if is_number(v) else 0.0 for v in box.get("box") or []]
    left, top, right, bottom = (*values, 0.0, 0.0, 0.0, 0.0)[:4]
    left, top = min(max(left, 0.0), size[1]), min(max(top, 0.0), size[0])
    return left, top, max(left, min(right, size[1])), max(top, min(bottom, size[0]))
