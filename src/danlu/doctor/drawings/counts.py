"""Charts of a few numbers side by side: class frequencies, ranges of inputs, counts and sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from danlu.doctor.drawings.over_time import Fact
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.places import class_label, column_name
from danlu.doctor.presentation.plot import MAX_ROWS, Row, Rows
from danlu.message import Message

HARMLESS = ("clipped", "repeated", "nearly repeated")  # boxes that are used nevertheless
FAULTS = {
    "reversed": message("doctor.chart.reversed", "reversed"),
    "empty": message("doctor.chart.empty", "empty"),
    "outside the image": message("doctor.chart.outside_the_image", "outside the image"),
    "not finite": message("doctor.chart.not_finite", "not finite"),
    "clipped": message("doctor.chart.clipped", "clipped"),
    "repeated": message("doctor.chart.repeated", "repeated"),
    "nearly repeated": message("doctor.chart.nearly_repeated", "nearly repeated"),
    "tiny": message("doctor.chart.tiny", "tiny"),
    "unknown class": message("doctor.chart.unknown_class", "unknown class"),
    "other": message("doctor.chart.other", "other"),
}


def facts_of(finding: Fact) -> dict[str, Any]:
    """Copy of the evidence of a finding; empty if it has none."""
    return dict(finding.get("evidence") or {})


def counts(
    title: Message, axis: Message, rows: Sequence[tuple[str, Message, bool | None]], *, log: bool = False
) -> Callable[[Ledger, Fact], Rows | None]:
    """Make a drawing of some entries of the finding's evidence.

    rows: (key of the evidence, label, whether to mark it; None: mark it where it is zero).
    """

    def draw(ledger: Ledger, finding: Fact) -> Rows | None:
        facts = facts_of(finding)
        found = [(words, facts.get(key), bad) for key, words, bad in rows]
        numbers = [(w, v, bad) for w, v, bad in found if isinstance(v, int | float) and math.isfinite(v)]
        shown = [Row(w, v, bad=not v if bad is None else bad) for w, v, bad in numbers if v > 0 or not log]
        return Rows(title, axis, shown, log=log) if shown else None

    return draw


def against_threshold(
    title: Message, axis: Message, key: str, *, log: bool = False
) -> Callable[[Ledger, Fact], Rows | None]:
    """Make a drawing of a measured value of the evidence, `key`, beside the allowed one, "threshold"."""
    measured, allowed = message("doctor.chart.measured", "measured"), message("doctor.chart.allowed", "allowed")
    return counts(title, axis, [(key, measured, True), ("threshold", allowed, False)], log=log)


def classes(
    title: Message, first: tuple[str, str, Message], second: tuple[str, str, Message], *, late: bool = False
) -> Callable[[Ledger, Fact], Rows | None]:
    """Make a drawing of two fractions for each class; the finding's own class is marked.

    first, second: (name in the ledger, phase, label). late: values of the last epoch, else the mean over all epochs.
    """

    def draw(ledger: Ledger, finding: Fact) -> Rows | None:
        start = -1 if late else 0
        columns = [_means(ledger.values(name, phase)[start:]) for name, phase, _ in (first, second)]
        own = facts_of(finding).get("class", facts_of(finding).get("classes"))
        marked = set(own) if isinstance(own, list) else {own}
        size = len(columns[0])
        if not size or len(columns[1]) not in (0, size):
            return None
        other = columns[1] or [math.nan] * size
        order = sorted(range(size), key=lambda k: (k not in marked, -abs(columns[0][k] - other[k])))[: MAX_ROWS - 2]
        rows = [
            Row(
                message("doctor.chart.class", "class {number}", number=class_label(ledger, k)),
                columns[0][k],
                max(other[k], 0.0) if math.isfinite(other[k]) else None,
                bad=k in marked,
            )
            for k in sorted(order)
        ]
        keys = [first[2], second[2]]
        return Rows(
            title, message("doctor.chart.fraction", "fraction"), rows, percent=True, keys=keys, more=size - len(rows)
        )

    return draw


def label_span(ledger: Ledger, finding: Fact) -> Rows | None:
    """Range of the labels against the range that the loss allows; or the frequency of each label."""
    facts = facts_of(finding)
    if facts.get("problem") == "from one":
        frequencies = _means(ledger.values("class.actual", "train"))[: MAX_ROWS - 2]
        rows = [Row(str(k), frequency, bad=frequency == 0) for k, frequency in enumerate(frequencies)]
        return Rows(
            message("doctor.chart.labels_that_occur", "Labels that occur"),
            message("doctor.chart.fraction", "fraction"),
            rows,
            percent=True,
        )
    low, high, outputs = facts.get("low"), facts.get("high"), facts.get("outputs") or 2
    if low is None or high is None:
        return None
    top = 1 if facts.get("problem") == "sign" else max(1, outputs - 1)
    rows = [
        Row(message("doctor.chart.least_label", "least label"), low, bad=low < 0),
        Row(message("doctor.chart.greatest_label", "greatest label"), high, bad=high > top),
    ]
    return Rows(
        message("doctor.chart.labels_and_those_that_the", "Labels, and those that the loss knows"),
        message("doctor.chart.label", "label"),
        rows,
        band=(0, top, message("doctor.chart.allowed", "allowed")),
    )


def column_label(ledger: Ledger, number: int) -> Message:
    """The column by its name if the trainer passed names, otherwise by its number."""
    return message("doctor.chart.column", "column {number}", number=column_name(ledger, number))


def columns(ledger: Ledger, finding: Fact) -> Rows | None:
    """Mean ± standard deviation of each channel or column."""
    means, stds = ledger.last("input.feature_means", "train", []), ledger.last("input.feature_stds", "train", [])
    pairs = list(zip(means, stds)) or [
        (ledger.last("input.mean", "train", 0.0), ledger.last("input.std", "train", 0.0))
    ]
    spans = [(k, m, s) for k, (m, s) in enumerate(pairs) if math.isfinite(m) and math.isfinite(s)]
    widest = sorted(spans, key=lambda one: -abs(one[1]) - one[2])
    chosen = sorted(widest[:8] + widest[-4:] if len(widest) > 12 else widest)
    stds = [s for _, _, s in chosen if s > 0]
    if len(stds) > 1 and max(stds) > 50 * min(stds):
        rows = [Row(column_label(ledger, k), s, bad=not 0.1 < s < 10) for k, _, s in chosen if s > 0]
        title, axis = (
            message("doctor.chart.scale_of_each_input_column", "Scale of each input column"),
            message("doctor.chart.standard_deviation", "standard deviation"),
        )
        return Rows(
            title,
            axis,
            rows,
            log=True,
            band=(0.3, 3, message("doctor.chart.good", "good")),
            more=len(spans) - len(rows),
        )
    rows = [Row(column_label(ledger, k), m + s, low=m - s, bad=abs(m) > 3 or s > 10) for k, m, s in chosen]
    title, axis = (
        message("doctor.chart.inputs_mean_standard_deviation", "Inputs: mean ± standard deviation"),
        message("doctor.chart.value", "value"),
    )
    return (
        Rows(title, axis, rows, band=(-1, 1, message("doctor.chart.good", "good")), more=len(spans) - len(rows))
        if rows
        else None
    )


def input_ranges(ledger: Ledger, finding: Fact) -> Rows | None:
    """Inputs of training and validation, mean ± deviation; or, where labels differ, the class frequencies."""
    facts = facts_of(finding)
    if "train_mean" not in facts:
        draw = classes(
            message("doctor.chart.labels_of_both_splits", "Labels of both splits"),
            ("class.actual", "train", message("doctor.chart.training", "training")),
            ("class.actual", "val", message("doctor.chart.validation", "validation")),
        )
        return draw(ledger, finding)
    odd = "train" if finding.get("code") == "data.augmentation_harmful" else "val"
    rows = []
    for words, phase in (
        (message("doctor.chart.training", "training"), "train"),
        (message("doctor.chart.validation", "validation"), "val"),
    ):
        mean, std = float(facts[f"{phase}_mean"]), float(facts[f"{phase}_std"])
        rows.append(Row(words, mean + std, low=mean - std, bad=phase == odd))
    return Rows(
        message("doctor.chart.inputs_mean_standard_deviation", "Inputs: mean ± standard deviation"),
        message("doctor.chart.value", "value"),
        rows,
    )


def curvature(ledger: Ledger, finding: Fact) -> Rows | None:
    """Smallest and largest eigenvalue of the Hessian on a plateau of the loss."""
    low, high = facts_of(finding).get("lowest"), facts_of(finding).get("highest")
    if low is None or high is None:
        return None
    rows = [
        Row(message("doctor.chart.smallest", "smallest"), low, bad=low < 0),
        Row(message("doctor.chart.largest", "largest"), high),
    ]
    return Rows(
        message("doctor.chart.curvature_where_the_loss_stands", "Curvature on a plateau of the loss"),
        message("doctor.chart.eigenvalue_of_the_hessian", "eigenvalue of the Hessian"),
        rows,
    )


def box_faults(ledger: Ledger, finding: Fact) -> Rows | None:
    """Number of boxes with each fault."""
    found = ledger.facts("object.faults")
    rows = [
        Row(FAULTS.get(kind, kind), n, bad=kind not in HARMLESS)
        for kind, n in sorted(found.items(), key=lambda item: -item[1])
        if n
    ]
    return (
        Rows(
            message("doctor.chart.bad_boxes_by_kind", "Bad boxes by kind"), message("doctor.chart.boxes", "boxes"), rows
        )
        if rows
        else None
    )


def pixel_classes(ledger: Ledger, finding: Fact) -> Rows | None:
    """Fraction of the pixels of the training set in each class, and of the ignored ones."""
    counts, ignored = ledger.facts("pixel.count"), ledger.last("pixel.ignored", default=0)
    total = sum(counts.values()) + ignored
    if not total:
        return None
    largest = sorted(counts.items(), key=lambda item: -item[1])[: MAX_ROWS - 1]
    rows = [Row(name, n / total, bad=n == largest[0][1]) for name, n in largest]
    rows.append(Row(message("doctor.chart.ignored", "ignored"), ignored / total))
    title = message("doctor.chart.pixels_of_each_class", "Pixels of each class")
    label = message("doctor.chart.fraction", "fraction")
    return Rows(title, label, rows, percent=True, more=len(counts) + 1 - len(rows))


def object_sizes(ledger: Ledger, finding: Fact) -> Rows | None:
    """Object sizes against the receptive field, or against the stride of the finest map."""
    blind = facts_of(finding).get("problem") == "small field"
    quantiles = ledger.last("object.longer" if blind else "object.shorter") or []
    limit = ledger.last("model.receptive_field" if blind else "model.finest_stride")
    names = (
        message("doctor.chart.least", "least"),
        message("doctor.chart.a_tenth_are_smaller", "a tenth are smaller"),
        message("doctor.chart.median", "median"),
        message("doctor.chart.a_tenth_are_larger", "a tenth are larger"),
        message("doctor.chart.greatest", "greatest"),
    )
    if len(quantiles) != len(names) or not limit:
        return None
    rows = [Row(n, v, bad=v > limit if blind else v < limit) for n, v in zip(names, quantiles) if v > 0]
    title = message("doctor.chart.sizes_of_the_objects_as", "Sizes of the objects as the network sees them")
    axis = (
        message("doctor.chart.longer_side_pixels", "longer side, pixels")
        if blind
        else message("doctor.chart.shorter_side_pixels", "shorter side, pixels")
    )
    pixels = f"{limit:g}"
    words = (
        message("doctor.chart.receptive_field_px", "receptive field: {pixels} px", pixels=pixels)
        if blind
        else message("doctor.chart.stride_of_the_finest_map", "stride of the finest map: {pixels} px", pixels=pixels)
    )
    return Rows(title, axis, rows, log=True, level=(limit, words))


def coverage(ledger: Ledger, finding: Fact) -> Rows | None:
    """Fraction of the objects that some anchor matches, by size."""
    edges, fractions = ledger.last("anchor.edges") or [], ledger.last("anchor.coverage") or []
    rows = [
        Row(
            message("doctor.chart.pixel_range", "{low} to {high} px", low=f"{low:.3g}", high=f"{high:.3g}"),
            fraction,
            bad=fraction < 0.5,
        )
        for low, high, fraction in zip(edges, edges[1:], fractions)
        if fraction is not None and fraction >= 0
    ]
    title, axis = (
        message("doctor.chart.objects_with_a_like_anchor", "Objects with a like anchor, by size"),
        message("doctor.chart.fraction_with_an_anchor_of", "fraction with an anchor of IoU 0.5 or more"),
    )
    return Rows(title, axis, rows[:MAX_ROWS], percent=True) if rows else None


def _means(rows: list[Any]) -> list[float]:
    """Mean over the epochs of each entry; negative entries (class not seen) are ignored."""
    rows = [row for row in rows if isinstance(row, list) and len(row) == len(rows[0])]
    found = []
    for column in zip(*rows):
        seen = [v for v in column if v >= 0]
        found.append(sum(seen) / len(seen) if seen else 0.0)
    return found
