"""Evidence that is a few numbers side by side: shares of classes, spans of inputs, counts and sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from danlu.doctor.drawings.over_time import Fact, Say
from danlu.doctor.ledger import Ledger
from danlu.doctor.plot import ROWS, Row, Rows

HARMLESS = ("clipped", "repeated")  # boxes that are used all the same


def facts_of(finding: Fact) -> dict[str, Any]:
    return dict(finding.get("evidence") or {})


def counts(
    title: str, axis: str, rows: Sequence[tuple[str, str, bool | None]], *, log: bool = False
) -> Callable[[Ledger, Fact, Say], Rows | None]:
    """A drawing of some of the finding's own numbers.

    rows: (key of the evidence, words, is it what is wrong; None: where it is zero).
    """

    def draw(ledger: Ledger, finding: Fact, say: Say) -> Rows | None:
        facts = facts_of(finding)
        found = [(say(words), facts.get(key), bad) for key, words, bad in rows]
        numbers = [(w, v, bad) for w, v, bad in found if isinstance(v, int | float) and math.isfinite(v)]
        shown = [Row(w, v, bad=not v if bad is None else bad) for w, v, bad in numbers if v > 0 or not log]
        return Rows(say(title), say(axis), shown, log=log) if shown else None

    return draw


def classes(
    title: str, first: tuple[str, str, str], second: tuple[str, str, str], *, late: bool = False
) -> Callable[[Ledger, Fact, Say], Rows | None]:
    """A drawing of two shares for each class: (name in the ledger, phase, words), late: of the last epoch, else the
    mean over all. The finding's own class is marked."""

    def draw(ledger: Ledger, finding: Fact, say: Say) -> Rows | None:
        start = -1 if late else 0
        columns = [_means(ledger.values(name, phase)[start:]) for name, phase, _ in (first, second)]
        own = facts_of(finding).get("class", facts_of(finding).get("classes"))
        marked = set(own) if isinstance(own, list) else {own}
        size = len(columns[0])
        if not size or len(columns[1]) not in (0, size):
            return None
        other = columns[1] or [math.nan] * size
        order = sorted(range(size), key=lambda k: (k not in marked, -abs(columns[0][k] - other[k])))[: ROWS - 2]
        rows = [
            Row(
                say("class {}", k),
                columns[0][k],
                max(other[k], 0.0) if math.isfinite(other[k]) else None,
                bad=k in marked,
            )
            for k in sorted(order)
        ]
        keys = [say(first[2]), say(second[2])]
        return Rows(say(title), say("share"), rows, share=True, keys=keys, more=size - len(rows))

    return draw


def label_span(ledger: Ledger, finding: Fact, say: Say) -> Rows | None:
    """Labels as they are against those that the loss can mean; where they merely begin at one, how often each comes."""
    facts = facts_of(finding)
    if facts.get("problem") == "from one":
        shares = _means(ledger.values("class.actual", "train"))[: ROWS - 2]
        rows = [Row(str(k), share, bad=share == 0) for k, share in enumerate(shares)]
        return Rows(say("Labels that occur"), say("share"), rows, share=True)
    low, high, outputs = facts.get("low"), facts.get("high"), facts.get("outputs") or 2
    if low is None or high is None:
        return None
    top = 1 if facts.get("problem") == "sign" else max(1, outputs - 1)
    rows = [
        Row(say("least label"), low, bad=low < 0),
        Row(say("greatest label"), high, bad=high > top),
    ]
    return Rows(say("Labels, and those that the loss knows"), say("label"), rows, band=(0, top, say("allowed")))


def columns(ledger: Ledger, finding: Fact, say: Say) -> Rows | None:
    """Mean and deviation of each channel or column: one deviation below to one above the mean."""
    means, stds = ledger.last("input.feature_means", "train", []), ledger.last("input.feature_stds", "train", [])
    pairs = list(zip(means, stds)) or [
        (ledger.last("input.mean", "train", 0.0), ledger.last("input.std", "train", 0.0))
    ]
    spans = [(k, m, s) for k, (m, s) in enumerate(pairs) if math.isfinite(m) and math.isfinite(s)]
    widest = sorted(spans, key=lambda one: -abs(one[1]) - one[2])
    chosen = sorted(widest[:8] + widest[-4:] if len(widest) > 12 else widest)
    stds = [s for _, _, s in chosen if s > 0]
    if len(stds) > 1 and max(stds) > 50 * min(stds):
        rows = [Row(say("column {}", k), s, bad=not 0.1 < s < 10) for k, _, s in chosen if s > 0]
        title, axis = say("Scale of each input column"), say("standard deviation")
        return Rows(title, axis, rows, log=True, band=(0.3, 3, say("good")), more=len(spans) - len(rows))
    rows = [Row(say("column {}", k), m + s, low=m - s, bad=abs(m) > 3 or s > 10) for k, m, s in chosen]
    title, axis = say("Inputs: mean ± standard deviation"), say("value")
    return Rows(title, axis, rows, band=(-1, 1, say("good")), more=len(spans) - len(rows)) if rows else None


def spans_apart(ledger: Ledger, finding: Fact, say: Say) -> Rows | None:
    """Inputs of training and validation, mean ± deviation; or, where labels differ, the shares of the classes."""
    facts = facts_of(finding)
    if "train_mean" not in facts:
        draw = classes(
            "Labels of both splits", ("class.actual", "train", "training"), ("class.actual", "val", "validation")
        )
        return draw(ledger, finding, say)
    odd = "train" if finding.get("code") == "data.augmentation_harmful" else "val"
    rows = []
    for words, phase in (("training", "train"), ("validation", "val")):
        mean, std = float(facts[f"{phase}_mean"]), float(facts[f"{phase}_std"])
        rows.append(Row(say(words), mean + std, low=mean - std, bad=phase == odd))
    return Rows(say("Inputs: mean ± standard deviation"), say("value"), rows)


def curvature(ledger: Ledger, finding: Fact, say: Say) -> Rows | None:
    """The two ends of the Hessian's spectrum where the descent stood still."""
    low, high = facts_of(finding).get("lowest"), facts_of(finding).get("highest")
    if low is None or high is None:
        return None
    rows = [Row(say("smallest"), low, bad=low < 0), Row(say("largest"), high)]
    return Rows(say("Curvature where the loss stands still"), say("eigenvalue of the Hessian"), rows)


def kinds_of_faults(ledger: Ledger, finding: Fact, say: Say) -> Rows | None:
    """How many boxes have which fault."""
    found = ledger.facts("object.faults")
    rows = [
        Row(say(kind), n, bad=kind not in HARMLESS) for kind, n in sorted(found.items(), key=lambda item: -item[1]) if n
    ]
    return Rows(say("Bad boxes by kind"), say("boxes"), rows) if rows else None


def object_sizes(ledger: Ledger, finding: Fact, say: Say) -> Rows | None:
    """Sizes of the objects against what the network's maps see, or against the cells of the finest."""
    blind = facts_of(finding).get("problem") == "small field"
    quantiles = ledger.last("object.longer" if blind else "object.shorter") or []
    limit = ledger.last("model.receptive_field" if blind else "model.finest_stride")
    names = ("least", "a tenth are smaller", "median", "a tenth are larger", "greatest")
    if len(quantiles) != len(names) or not limit:
        return None
    rows = [Row(say(n), v, bad=v > limit if blind else v < limit) for n, v in zip(names, quantiles) if v > 0]
    title = say("Sizes of the objects as the network sees them")
    axis = say("longer side, pixels" if blind else "shorter side, pixels")
    words = "receptive field: {} px" if blind else "stride of the finest map: {} px"
    return Rows(title, axis, rows, log=True, level=(limit, say(words, f"{limit:g}")))


def coverage(ledger: Ledger, finding: Fact, say: Say) -> Rows | None:
    """Share of the objects that some anchor is like, by size."""
    edges, shares = ledger.last("anchor.edges") or [], ledger.last("anchor.coverage") or []
    rows = [
        Row(say("{} to {} px", f"{low:.3g}", f"{high:.3g}"), share, bad=share < 0.5)
        for low, high, share in zip(edges, edges[1:], shares)
        if share is not None and share >= 0
    ]
    title, axis = say("Objects with a like anchor, by size"), say("share with an anchor of IoU 0.5 or more")
    return Rows(title, axis, rows[:ROWS], share=True) if rows else None


def _means(rows: list[Any]) -> list[float]:
    """Mean over the epochs of each entry, those below zero (not seen) left out."""
    rows = [row for row in rows if isinstance(row, list) and len(row) == len(rows[0])]
    found = []
    for column in zip(*rows):
        seen = [v for v in column if v >= 0]
        found.append(sum(seen) / len(seen) if seen else 0.0)
    return found
