"""Features section of the report: samples in the space of a layer's features, from features.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from danlu.data.label_palette import palette
from danlu.message import printable, translated
from danlu.report.charts import MUTED, axis, layout
from danlu.report.document import SAMPLES
from danlu.report.markup import Figure, Figures, card, chart, clip, escape, is_number, number, percent
from danlu.run.names import SPLIT_WORDS

HEIGHT = 460  # pixels
SERIES_COLOURS = 8  # of the palette in page.css; more classes take those of label maps
MAX_LEGEND = 24  # classes; a longer legend leaves no room for the chart on a phone


def features_section(found: Mapping[str, Any], figures: Figures) -> str:
    """Map of t-SNE and principal components with a switch between them, and the neighbours of the chosen sample."""
    names = found.get("names") or []
    if not names:
        return ""
    figures[SAMPLES] = {"data": [], "layout": {}, "samples": _samples(found)}
    explained = [one for one in found.get("explained") or [] if is_number(one)]
    title = translated("report.features_map", "{samples} {samples:sample|samples}", samples=number(len(names)))
    pca = translated("report.pca", "PCA")
    switch = (
        '<span class="switch"><button aria-pressed="true" data-panel="features-tsne">t-SNE</button>'
        f'<button aria-pressed="false" data-panel="features-pca">{escape(pca)}</button></span>'
    )
    panels = chart(_scatter(found, "tsne", ("", "")), figures, "features-tsne", HEIGHT, "samples")
    panels += chart(_scatter(found, "pca", _components(explained)), figures, "features-pca", HEIGHT, "samples hidden")
    near = '<div id="neighbours" class="gallery neighbours"></div>'
    return card(title, panels, note=_note(found), tools=switch) + card(
        _nearest_title(), near, note=_nearest_note(found)
    )


def features_lead(found: Mapping[str, Any]) -> str:
    """One sentence: layer, width and split."""
    facts = {
        "layer": clip(found.get("layer", ""), 60),
        "width": number(found.get("width")),
        "split": SPLIT_WORDS.get(str(found.get("part")), ""),
    }
    if found.get("input_of_layer"):
        text = "Samples of the {split} set by the {width} numbers that layer {layer} receives."
        return escape(translated("report.lead.features_in", text, **facts))
    text = "Samples of the {split} set by the {width} numbers that layer {layer} returns, averaged over positions."
    return escape(translated("report.lead.features", text, **facts))


def _components(explained: Sequence[float]) -> tuple[str, str]:
    titles = [
        translated("report.component", "component {n} ({fraction} of the variance)", n=n + 1, fraction=percent(one, 1))
        for n, one in enumerate(explained[:2])
    ]
    return (titles[0], titles[1]) if len(titles) == 2 else ("", "")


def _note(found: Mapping[str, Any]) -> str:
    if found.get("predicted"):
        text = (
            "t-SNE keeps near samples near; sizes of groups and distances between them have no meaning. Crosses are "
            "wrong predictions. Point at a sample to see it, choose it to see its neighbours."
        )
        return translated("report.features_note_wrong", text)
    text = (
        "t-SNE keeps near samples near; sizes of groups and distances between them have no meaning. Point at a sample "
        "to see it, choose it to see its neighbours."
    )
    return translated("report.features_note", text)


def _nearest_title() -> str:
    return translated("report.nearest_neighbours", "Nearest neighbours")


def _nearest_note(found: Mapping[str, Any]) -> str:
    text = "The chosen sample, then the nearest others by the cosine similarity of their features."
    note = translated("report.nearest_note", text)
    if is_number(found.get("same_class")):
        same = "Of all neighbours, {fraction} have the class of their sample."
        note += translated("report.word_space", " ") + translated(
            "report.nearest_same", same, fraction=percent(found["same_class"], 1)
        )
    return note


def _samples(found: Mapping[str, Any]) -> dict[str, Any]:
    """Names, images, classes and neighbours of the samples, for samples.js."""
    classes = found.get("classes") or []
    labels, predicted = found.get("labels") or [], found.get("predicted") or []
    values = found.get("values") or []
    true = [str(classes[k]) for k in labels] if labels else [number(value) for value in values]
    return {
        "names": [printable(clip(name, 60)) for name in found["names"]],
        "images": found.get("images") or [],
        "true": true,
        "predicted": [str(classes[k]) for k in predicted] if labels and predicted else [],
        "neighbours": found.get("neighbours") or [],
        "first": _first(labels, predicted),
        "words": {"predicted": translated("report.predicted_as", "predicted: {name}", name="{name}")},
    }


def _first(labels: Sequence[int], predicted: Sequence[int]) -> int:
    """The sample that is shown at first: a wrong prediction, if there is one."""
    return next((i for i, (true, said) in enumerate(zip(labels, predicted)) if true != said), 0)


def _scatter(found: Mapping[str, Any], key: str, titles: tuple[str, str]) -> Figure:
    places, labels = found.get(key) or [], found.get("labels") or []
    data = _by_class(found, places) if labels else [_plain(found, places)]
    quiet = {} if any(titles) else {"showticklabels": False}
    legend = bool(labels) and len(found.get("classes") or []) <= MAX_LEGEND
    return {
        "data": data,
        "layout": layout(axis(titles[0], **quiet), axis(titles[1], **quiet), showlegend=legend, hovermode="closest"),
    }


def _by_class(found: Mapping[str, Any], places: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
    """A trace for each class, so that the legend hides and shows them; wrong predictions are crosses."""
    classes, labels, predicted = found["classes"], found["labels"], found.get("predicted") or []
    traces = []
    for k, name in enumerate(classes):
        own = [i for i, label in enumerate(labels) if label == k]
        if not own:
            continue
        symbols = ["x" if predicted and predicted[i] != k else "circle" for i in own]
        marker = {"color": _colour(k, len(classes)), "size": 7, "symbol": symbols, "opacity": 0.85}
        traces.append(_trace([places[i] for i in own], own, marker) | {"name": escape(clip(name, 24))})
    return traces


def _plain(found: Mapping[str, Any], places: Sequence[Sequence[float]]) -> dict[str, Any]:
    """One trace, coloured by the target value of a regression."""
    marker: dict[str, Any] = {"color": "var(--train)", "size": 7, "opacity": 0.85}
    if found.get("values"):
        scale = [[0, "var(--train)"], [0.5, "var(--series-3)"], [1, "var(--val)"]]
        bar = {"thickness": 12, "outlinewidth": 0, "tickfont": {"color": MUTED, "size": 11}}
        marker |= {"color": found["values"], "colorscale": scale, "showscale": True, "colorbar": bar}
    return _trace(places, list(range(len(places))), marker)


def _trace(places: Sequence[Sequence[float]], index: list[int], marker: dict[str, Any]) -> dict[str, Any]:
    x, y = ([one[axis_number] for one in places] for axis_number in (0, 1))
    trace = {"type": "scatter", "mode": "markers", "x": x, "y": y, "marker": marker, "customdata": index}
    return trace | {"hoverinfo": "none"}


def _colour(k: int, classes: int) -> str:
    if classes <= SERIES_COLOURS:
        return f"var(--series-{k})"
    red, green, blue = palette(classes)[min(k, 255)]
    return f"rgb({red},{green},{blue})"
