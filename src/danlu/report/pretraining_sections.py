"""Report sections of a pretraining, from summary["evaluation"] of `tasks/pretrain.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from danlu.message import message, translated
from danlu.pretraining.methods import METHODS
from danlu.report.evaluation import metrics_card
from danlu.report.markup import Figures, card, escape, image, is_number, number, percent

PROBES_NOTE = message(
    "report.probes_note",
    "Nearest neighbours and the linear probe are measured on frozen features. They misjudge methods with masks, whose "
    "features become useful by fine-tuning: compare `danlu train DATA --init RUN` with a training without --init.",
)


def pretraining_section(summary: Mapping[str, Any], figures: Figures) -> str:
    """Metrics, loss beside the baseline, spread and rank in words, and reconstructions."""
    found = summary.get("evaluation") or {}
    facts = found.get("pretraining") or {}
    values = (summary.get("metrics") or {}).get(found.get("split", "val")) or {}
    return metrics_card(summary.get("metrics") or {}) + _in_words(facts, values) + _images(found)


def _in_words(facts: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """The numbers of the evaluated split in sentences."""
    loss, baseline, spread, rank = (values.get(name) for name in ("loss", "baseline", "std", "rank"))
    lines = []
    method = str(facts.get("method"))
    if is_number(loss) and is_number(baseline) and method in METHODS:
        text = "The loss is {loss}; an answer that ignores the image, {what}, has {baseline}."
        shown = {
            "loss": number(round(loss, 4)),
            "baseline": number(round(baseline, 4)),
            "what": METHODS[method].baseline,
        }
        lines.append(translated("report.loss_and_baseline", text, **shown))
    if is_number(spread) and is_number(rank) and is_number(facts.get("width")):
        text = (
            "The embeddings spread {spread} times as far as random directions (0 after a collapse). The features use "
            "{rank} of {width} directions (effective rank)."
        )
        shown = {"spread": number(round(spread, 3)), "rank": number(round(rank, 1)), "width": number(facts["width"])}
        lines.append(translated("report.spread_and_rank", text, **shown))
    if is_number(values.get("knn")) and is_number(values.get("linear")):
        text = "Nearest neighbours reach {knn}, a linear probe {linear}; the largest class has {majority} of images."
        shown = {name: percent(values[name], 1) for name in ("knn", "linear")}
        lines.append(
            translated("report.probes", text, **shown, majority=percent(facts.get("majority") or 0.0, 1))
            + " "
            + str(PROBES_NOTE)
        )
    if not lines:
        return ""
    return card(translated("report.in_words", "In words"), "".join(f"<p>{escape(line)}</p>" for line in lines))


def _images(found: Mapping[str, Any]) -> str:
    """Rows of three images: original, hidden part grey, prediction in its place."""
    names = {
        "image": translated("report.original_image", "original"),
        "hidden": translated("report.hidden_part", "hidden"),
        "predicted": translated("report.prediction_of_hidden", "predicted"),
    }
    rows = found.get("reconstructions") or []
    shown = "".join(
        "<figure>" + "".join(image(row[key], name) for key, name in names.items() if row.get(key)) + "</figure>"
        for row in rows
    )
    note = translated(
        "report.reconstructions_note",
        "From left to right: the image, what the network sees, and its prediction of the hidden part, in the pixels of "
        "the image (predictions of normalised patches are converted back by the mean and deviation of each patch).",
    )
    title = translated("report.reconstructions", "Reconstructions")
    return card(title, f'<div class="gallery reconstructions">{shown}</div>', note=note) if shown else ""
