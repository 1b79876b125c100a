"""Results sections of the report for classification and regression, from summary["evaluation"]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from danlu.message import Message, message, translated
from danlu.metrics.classification import expanded
from danlu.report import charts
from danlu.report.markup import (
    Figures,
    card,
    chart,
    escape,
    file_name,
    image,
    is_number,
    metric_value,
    name_cell,
    number,
    number_cell,
    percent,
    table,
    text_cell,
)
from danlu.report.markup import label as metric_label
from danlu.run.names import SPLIT_TITLES

MAX_PAIRS = 12  # rows in the table of most frequent mistakes
CONFUSION_NOTE = message("report.confusion_note", "Rows are true classes, columns predicted classes.")


def evaluation_section(summary: Mapping[str, Any], figures: Figures) -> str:
    """Metrics of every split, then confusion matrix, classes and reliability, or the regression charts."""
    found = summary.get("evaluation") or {}
    parts = [metrics_card(summary.get("metrics") or {})]
    if found.get("confusion"):
        matrix = expanded(found["confusion"])
        parts.append(confusion_cards(matrix, _classes(summary, found, len(matrix)), figures))
    parts.append(side_by_side(_per_class(found.get("per_class") or []), _reliability(summary, found, figures)))
    if found.get("scatter"):
        parts.append(_regression(found["scatter"], figures))
    parts.append(_worst(found.get("worst") or []))
    return "".join(parts)


def mistakes_section(mistakes: Sequence[Mapping[str, Any]]) -> str:
    """Gallery of the most confident mistakes; a table if the inputs are not images."""
    if not mistakes:
        return ""
    if any(image(m.get("image"), "") for m in mistakes):
        return f'<div class="gallery mistakes">{"".join(_mistake(m) for m in mistakes)}</div>'
    rows = [
        [name_cell(m.get(key, "")) for key in ("name", "true", "said")]
        + [number_cell(m.get("confidence"), percent(m.get("confidence"), 1))]
        for m in mistakes
    ]
    head = [
        translated("report.sample", "Sample"),
        translated("report.true_class", "True class"),
        translated("report.predicted_class", "Predicted class"),
        translated("report.confidence", "Confidence"),
    ]
    return card(translated("report.samples", "Samples"), table(head, rows, numbers=1, kind="sortable"))


def augmented_section(images: Sequence[str]) -> str:
    """Gallery of augmented training images, given as data URIs."""
    shown = "".join(
        f"<figure>{element}</figure>"
        for uri in images
        if (element := image(uri, translated("report.augmented_training_image", "augmented training image")))
    )
    return f'<div class="gallery">{shown}</div>' if shown else ""


def folds_section(folds: Sequence[Mapping[str, Any]]) -> str:
    """Validation metrics of each fold, with mean and standard deviation (n - 1) over the folds."""
    import statistics

    names = list(dict.fromkeys(name for fold in folds for name in fold.get("val") or {}))
    rows = []
    for fold in folds:
        values = fold.get("val") or {}
        cells = [number_cell(values.get(name), metric_value(name, values.get(name))) for name in names]
        rows.append([text_cell(translated("report.fold", "Fold {fold}", fold=number(fold.get("fold")))), *cells])
    columns = {name: [v for f in folds if is_number(v := (f.get("val") or {}).get(name))] for name in names}
    mean = [number_cell(None, metric_value(n, statistics.fmean(v) if v else None)) for n, v in columns.items()]
    spread = [
        number_cell(None, metric_value(n, statistics.stdev(v) if len(v) > 1 else None)) for n, v in columns.items()
    ]
    rows += [
        [text_cell(translated("report.mean", "Mean"), "total"), *mean],
        [text_cell(translated("report.standard_deviation", "Standard deviation"), "total"), *spread],
    ]
    head = ["", *(metric_label(name) for name in names)]
    return card(
        translated("report.validation_fold_by_fold", "Validation, fold by fold"), table(head, rows, numbers=len(names))
    )


def _classes(summary: Mapping[str, Any], found: Mapping[str, Any], count: int) -> list[str]:
    names = (summary.get("data") or {}).get("classes") or [row.get("name") for row in found.get("per_class") or []]
    return [str(n) for n in names] if len(names) == count else [str(i) for i in range(count)]


def metrics_card(metrics: Mapping[str, Mapping[str, float]]) -> str:
    """Table of all metrics, one column per split. metrics: {split: {metric: value}}."""
    splits = [split for split in SPLIT_TITLES if metrics.get(split)]
    names = list(dict.fromkeys(name for split in splits for name in metrics[split]))
    rows = [
        [text_cell(metric_label(name))]
        + [number_cell(v := metrics[s].get(name), metric_value(name, v)) for s in splits]
        for name in names
    ]
    head = ["", *(str(SPLIT_TITLES[split]) for split in splits)]
    return (
        card(translated("report.all_metrics", "All metrics"), table(head, rows, numbers=len(splits), kind="whole"))
        if rows
        else ""
    )


def confusion_cards(
    matrix: Sequence[Sequence[int]], classes: Sequence[str], figures: Figures, note: Message = CONFUSION_NOTE
) -> str:
    """Confusion matrix beside a table of the most frequent mistakes. note: meaning of rows and columns."""
    figure, shown = charts.confusion(matrix, classes)
    height = max(420, min(580, 130 + 44 * shown))
    notes = [str(note), translated("report.confusion_colour", "Colour is the fraction of the row.")]
    if shown < len(classes):
        notes.append(
            translated(
                "report.confusion_cut",
                "Of {classes} classes, the {shown} with the most mistakes.",
                classes=number(len(classes)),
                shown=shown,
            )
        )
    matrix_chart = chart(figure, figures, "confusion", height, "square")
    pairs = _pairs(matrix, classes)
    left = card(
        translated("report.confusion_matrix", "Confusion matrix"),
        matrix_chart,
        note=translated("report.word_space", " ").join(notes),
    )
    pairs_note = translated(
        "report.pairs_note", "Predicted class for each true class, and the fraction of the true class."
    )
    right = card(translated("report.most_frequent_mistakes", "Most frequent mistakes"), pairs, note=pairs_note)
    return f'<div class="grid wide-left">{left}{right}</div>' if pairs else left


def _pairs(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    wrong = [
        (count, i, j, count / max(sum(row), 1))
        for i, row in enumerate(matrix)
        for j, count in enumerate(row)
        if i != j and count
    ]
    rows = [
        [
            name_cell(classes[i]),
            name_cell(classes[j]),
            number_cell(count, number(count)),
            number_cell(fraction, percent(fraction, 1)),
        ]
        for count, i, j, fraction in sorted(wrong, key=lambda w: (-w[0], -w[3]))[:MAX_PAIRS]
    ]
    head = [
        translated("report.true", "True"),
        translated("report.predicted_short", "Predicted"),
        translated("report.count", "Count"),
        translated("report.fraction", "Fraction"),
    ]
    return table(head, rows, numbers=2) if rows else ""


def _per_class(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = []
    for row in rows:
        scores = [
            number_cell(v := row.get(key), percent(v, 1), bar=v if is_number(v) else 0)
            for key in ("precision", "recall", "f1")
        ]
        support = row.get("support")
        cells.append([name_cell(row.get("name", "")), *scores, number_cell(support, number(support))])
    head = [
        translated("report.class", "Class"),
        translated("report.precision", "Precision"),
        translated("report.recall", "Recall"),
        translated("report.f1", "F1"),
        translated("report.support", "Support"),
    ]
    note = translated("report.click_a_heading_to_sort", "Click a heading to sort.") if rows else ""
    return card(
        translated("report.class_by_class", "Class by class"),
        table(head, cells, numbers=4, kind="sortable") if rows else "",
        note=note,
    )


def _reliability(summary: Mapping[str, Any], found: Mapping[str, Any], figures: Figures) -> str:
    figure = charts.reliability(found.get("reliability") or [])
    ece = ((summary.get("metrics") or {}).get(found.get("split") or "val") or {}).get("ece")
    tools = f'<span class="chip">ECE {escape(percent(ece))}</span>' if is_number(ece) else ""
    note = translated(
        "report.reliability_note", "Accuracy at each level of confidence. A calibrated model lies on the dotted line."
    )
    if scaled := _scaling(summary.get("calibration") or {}, found.get("split") or "val"):
        note = translated("report.word_space", " ").join([note, scaled])
    return card(
        translated("report.reliability", "Reliability"),
        chart(figure, figures, "reliability", 400),
        note=note,
        tools=tools,
    )


def _scaling(calibration: Mapping[str, Any], split: str) -> str:
    """Sentence on the temperature and the calibration error without and with it; empty if there is none."""
    before, after = ((calibration.get(key) or {}).get(split) for key in ("before", "after"))
    if not (is_number(before) and is_number(after)):
        return ""
    return translated(
        "report.temperature",
        "Outputs are divided by a temperature of {temperature} before softmax, fitted on the validation set: "
        "calibration error {before} without it, {after} with it.",
        temperature=number(calibration.get("temperature")),
        before=percent(before, 1),
        after=percent(after, 1),
    )


def _regression(pairs: Sequence[Sequence[float]], figures: Figures) -> str:
    notes = [translated("report.scatter_note", "Exact predictions lie on the dotted line.")]
    if len(pairs) > charts.MAX_POINTS:
        notes.append(translated("report.scatter_cut", "An even sample of {points} points.", points=number(len(pairs))))
    dots = chart(charts.scatter(pairs), figures, "scatter", 400)
    left = card(
        translated("report.predicted_vs_true", "Predicted vs. true"),
        dots,
        note=translated("report.word_space", " ").join(notes),
    )
    note = translated(
        "report.residuals_note", "Distribution of prediction errors. The outermost bars include all larger errors."
    )
    right = card(
        translated("report.residuals", "Residuals"),
        chart(charts.residuals(pairs), figures, "residuals", 400),
        note=note,
    )
    return side_by_side(left, right)


def _worst(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = []
    for row in rows:
        true, predicted = row.get("true"), row.get("predicted")
        error = predicted - true if is_number(true) and is_number(predicted) else None
        numbers = [number_cell(v, number(v)) for v in (true, predicted, error)]
        cells.append([name_cell(row.get("name", "")), *numbers])
    head = [
        translated("report.sample", "Sample"),
        translated("report.true", "True"),
        translated("report.predicted", "Predicted"),
        translated("report.error", "Error"),
    ]
    return card(
        translated("report.largest_errors", "Largest errors"),
        table(head, cells, numbers=3, kind="sortable") if rows else "",
    )


def _mistake(mistake: Mapping[str, Any]) -> str:
    true, predicted, name = (mistake.get(key, "") for key in ("true", "said", "name"))
    confidence = mistake.get("confidence")
    width = max(0.0, min(1.0, confidence)) if is_number(confidence) else 0.0
    truth = escape(translated("report.true_is", "true: {name}", name=true))
    return (
        f'<figure title="{escape(name)}">{image(mistake.get("image"), str(name))}<figcaption>'
        f'<span class="predicted">{escape(predicted)}</span><span class="true">{truth}</span>'
        f'<span class="confidence"><i style="width:{100 * width:.1f}%"></i></span>'
        f'<span class="file">{file_name(name)}<b>{escape(percent(confidence, 1))}</b></span>'
        f"</figcaption></figure>"
    )


def side_by_side(left: str, right: str) -> str:
    """Place two panels in a row; a single one takes the full width."""
    return f'<div class="grid">{left}{right}</div>' if left and right else left + right
