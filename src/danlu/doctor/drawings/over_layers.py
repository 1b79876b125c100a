"""Charts over depth: one value for each layer or parameter, from the input to the output."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from danlu.doctor.derived.gradients import EARLY, LATE, gradient_profile
from danlu.doctor.derived.progress import finite_median
from danlu.doctor.drawings.over_time import Fact, series
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.presentation.plot import MAX_ROWS, Chain, Curves, Line, Row, Rows
from danlu.message import Message

GOOD_UPDATES = (5e-4, 1e-2)  # update over weight: about a thousandth a step is right (Karpathy 2015)


def gradient_over_depth(ledger: Ledger, finding: Fact) -> Curves | None:
    """Gradient at each layer's output on a logarithmic axis, where a constant factor per layer is a straight line.

    The first or the last steps, as used by the finding; for a recurrence the growth from call to call.
    """
    facts, layer = finding.get("evidence") or {}, str(finding.get("where", ""))
    if "calls" in facts:
        title = message(
            "doctor.chart.gradient_at_the_first_call", "Gradient at the first call of the layer over that at its last"
        )
        return series(title, message("doctor.chart.factor", "factor"), "layer.gradient_growth", where=layer, log=True)(
            ledger, finding
        )
    profiles = [gradient_profile(ledger, when) for when in (LATE, EARLY)]
    first = float(facts.get("first", 0.0))
    nearest = min(profiles, key=lambda p: abs(p[0][1] - first) if p and first else 0.0)
    profile = [(layer, value) for layer, value in nearest if value > 1e-37]
    steep = not 1e-3 < float(facts.get("ratio", 1.0)) < 1e3
    if len(profile) < 4 or not steep:
        return series(
            message("doctor.chart.norm_of_the_gradient", "Norm of the gradient"),
            message("doctor.chart.norm_all_parameters", "norm, all parameters"),
            "gradient.norm",
            log=None,
        )(ledger, finding)
    return _profile(
        profile,
        message("doctor.chart.gradient_at_each_layer", "Gradient at each layer"),
        message("doctor.chart.root_mean_square_of_the", "root mean square of the gradient"),
        True,
    )


def scale_over_depth(ledger: Ledger, finding: Fact) -> Curves | Rows | None:
    """Standard deviation of each layer's output at the start; or the first loss; or the spread of the weights."""
    facts = finding.get("evidence") or {}
    if "factor" in facts:
        order, kinds = ledger.facts("layer.order"), ledger.facts("layer.kind")
        layers = [n for n in order if kinds.get(n) == "Linear" or str(kinds.get(n, "")).startswith("Conv")]
        layers.sort(key=lambda n: order[n])
        scales = [(n, ledger.first("activation.std", n)) for n in layers]
        found = [(n, s) for n, s in scales if s is not None and math.isfinite(s) and s > 0]
        if len(found) >= 2:
            title, y = (
                message("doctor.chart.outputs_of_each_layer_at", "Outputs of each layer at the first step"),
                message("doctor.chart.standard_deviation", "standard deviation"),
            )
            return _profile(found, title, y, True)
    if "expected" in facts:
        rows = [
            Row(message("doctor.chart.first_loss", "first loss"), facts["loss"], bad=True),
            Row(message("doctor.chart.of_equal_odds", "of equal odds"), facts["expected"]),
        ]
        return Rows(
            message("doctor.chart.the_first_loss_against_that", "The first loss against that at chance level"),
            message("doctor.chart.loss", "loss"),
            rows,
        )
    stds = ledger.facts("parameter.std")
    weights = [n for n, role in ledger.facts("parameter.role").items() if role in ("weight", "embedding") and n in stds]
    bad = {n for n in weights if ledger.last("parameter.constant", n, 0)}
    rows = [Row(n, stds[n], _he(ledger.last("parameter.shape", n)), bad=n in bad) for n in weights]
    keys = [
        message("doctor.chart.as_they_are", "as they are"),
        message("doctor.chart.he_initialisation", "He initialisation"),
    ]
    return _layers(
        message("doctor.chart.spread_of_the_weights_before", "Spread of the weights before the first step"),
        message("doctor.chart.standard_deviation", "standard deviation"),
        rows,
        keys=keys,
    )


def _he(shape: list[int] | None) -> float | None:
    """Standard deviation of He initialisation, sqrt(2 / inputs) (He et al. 2015)."""
    return math.sqrt(2 / math.prod(shape[1:])) if shape and len(shape) > 1 else None


def by_layer(
    title: Message, axis: Message, name: str, *, when_missing: str = "", **more: Any
) -> Callable[[Ledger, Fact], Rows | None]:
    """Make a drawing of the last value at each layer in order of depth; the finding's own layer is marked.

    log, percent, level (value, label): as in `Rows`. above, below: values beyond which a row is marked too.
    """
    above, below = more.pop("above", math.inf), more.pop("below", -math.inf)

    def draw(ledger: Ledger, finding: Fact) -> Rows | None:
        used = name if ledger.has(name) or not when_missing else when_missing
        order, where = ledger.facts("layer.order"), finding.get("where")
        values = {n: v for n, v in ledger.facts(used).items() if isinstance(v, int | float) and math.isfinite(v)}
        names = sorted(values, key=lambda n: order.get(n.removeprefix(">"), math.inf))
        rows = [
            Row(_called(n, ledger), values[n], bad=n == where or values[n] > above or values[n] < below) for n in names
        ]
        return _layers(title, axis, rows, **more)

    return draw


def updates_by_layer(ledger: Ledger, finding: Fact) -> Rows | Curves | None:
    """Update over weight of each weight matrix, with the range of good steps."""
    order, roles = ledger.facts("parameter.order"), ledger.facts("parameter.role")
    weights = [
        n for n in ledger.wheres("update.ratio") if n and roles.get(n, "weight") in ("weight", "embedding", "other")
    ]
    rows = []
    for name in sorted(weights, key=lambda n: order.get(n, 0)):
        ratio = finite_median([v for v in ledger.values("update.ratio", name) if v > 0])
        if ratio:
            rows.append(Row(name, ratio, bad=not GOOD_UPDATES[0] <= ratio <= GOOD_UPDATES[1]))
    band = (*GOOD_UPDATES, message("doctor.chart.good", "good"))
    if not rows:
        more = {"band": band, "log": True}
        return series(
            message("doctor.chart.update_over_weight", "Update over weight"),
            message("doctor.chart.norm_of_the_update_norm", "norm of the update / norm of the weights"),
            "update.ratio",
            **more,
        )(ledger, finding)
    axis = message("doctor.chart.norm_of_the_update_norm_of", "norm of the update / norm of the weights, median")
    return _layers(
        message("doctor.chart.update_over_weight_each_layer", "Update over weight, each layer"),
        axis,
        rows,
        log=True,
        band=band,
    )


def parameters_marked(title: Message, fact: str, bad: float) -> Callable[[Ledger, Fact], Rows | None]:
    """Make a drawing of parameter sizes; parameters whose fact in the ledger has the value `bad` are marked."""

    def draw(ledger: Ledger, finding: Fact) -> Rows | None:
        sizes, order, values = ledger.facts("parameter.size"), ledger.facts("parameter.order"), ledger.facts(fact)
        named = (finding.get("evidence") or {}).get("parameters") or []
        names = sorted(sizes, key=lambda n: order.get(n, 0))
        rows = [Row(n, sizes[n], bad=n in named or values.get(n) == bad) for n in names if sizes[n] > 0]
        return _layers(title, message("doctor.chart.elements", "elements"), rows, log=True)

    return draw


def widths(ledger: Ledger, finding: Fact) -> Rows | None:
    """Outputs of each layer, against the number of classes that must pass through it."""
    order, kinds = ledger.facts("layer.order"), ledger.facts("layer.kind")
    rows = []
    for name in sorted(order, key=lambda n: order[n]):
        shape, kind = ledger.last("layer.output_shape", name), str(kinds.get(name, ""))
        if shape and len(shape) > 1 and (kind == "Linear" or kind.startswith("Conv")):
            width = shape[1] if kind.startswith("Conv") else shape[-1]
            rows.append(Row(_called(name, ledger), width, bad=name == finding.get("where")))
    classes = (finding.get("evidence") or {}).get("outputs")
    level = (
        (classes, message("doctor.chart.outputs_2", "{outputs} outputs", outputs=classes))
        if classes and len(rows) > 1
        else None
    )
    return _layers(
        message("doctor.chart.outputs_of_each_layer", "Outputs of each layer"),
        message("doctor.chart.outputs", "outputs"),
        rows,
        log=True,
        level=level,
    )


def chain(ledger: Ledger, finding: Fact) -> Chain | None:
    """Layers in order of their first call around the finding's own layer."""
    order, kinds = ledger.facts("layer.order"), ledger.facts("layer.kind")
    facts, where = finding.get("evidence") or {}, finding.get("where")
    bad = {where, facts.get("first"), facts.get("second"), facts.get("norm"), facts.get("layer")} - {None, ""}
    names = sorted(order, key=lambda n: order[n])
    places = [i for i, n in enumerate(names) if n in bad]
    if not places:
        return None
    start = max(0, min(places) - 2)
    shown = names[start : start + 8]
    links = [(n, str(kinds.get(n, "")), n in bad) for n in shown]
    return Chain(message("doctor.chart.layers_in_the_order_of", "Layers in the order of their calls"), links)


def outputs_and_loss(ledger: Ledger, finding: Fact) -> Chain:
    """Chain from the outputs to the loss and the targets."""
    facts = finding.get("evidence") or {}
    outputs, last = ledger.last("output.count"), ledger.last("output.activation", default="none")
    targets = ledger.last("target.kind", default="")
    links = [(message("doctor.chart.outputs", "outputs"), str(outputs or "?"), False)]
    if last != "none" and finding.get("code") == "model.output_mismatch":
        links.append((message("doctor.chart.applied_last", "applied last"), str(last), True))
    links.append((message("doctor.chart.loss", "loss"), str(facts.get("loss") or ledger.last("loss.kind")), True))
    links.append(
        (
            message("doctor.chart.targets", "targets"),
            f"{targets} ({ledger.last('target.distinct', default='?')})",
            False,
        )
    )
    return Chain(message("doctor.chart.from_the_outputs_to_the", "From the outputs to the loss"), links)


def _profile(found: Sequence[tuple[str, float]], title: Message, y: Message, log: bool) -> Curves:
    points = [(i + 1, v) for i, (_, v) in enumerate(found)]
    first, last = message("doctor.chart.first", "first"), message("doctor.chart.last", "last")
    ends = (f"{found[0][0]} ({first})", f"{found[-1][0]} ({last})")
    return Curves(
        title,
        message("doctor.chart.layers_from_input_to_output", "{layers} layers, from input to output", layers=len(found)),
        y,
        [Line(y, points)],
        log,
        ends=ends,
    )


def _layers(title: Message, axis: Message, rows: list[Row], **more: Any) -> Rows | None:
    """Rows in order of depth; if too many, the marked ones and an even selection of the others."""
    if not rows:
        return None
    if len(rows) > MAX_ROWS:
        marked = [i for i, row in enumerate(rows) if row.bad]
        others = [i for i, row in enumerate(rows) if not row.bad]
        room = max(2, MAX_ROWS - len(marked))
        kept = set(_spread(marked, MAX_ROWS - min(2, len(others))) + _spread(others, room))
        more["more"] = len(rows) - len(kept)
        rows = [row for i, row in enumerate(rows) if i in kept]
    return Rows(title, axis, rows, **more)


def _spread(places: list[int], most: int) -> list[int]:
    """At most `most` of the places, evenly spread, with the first and the last."""
    if len(places) <= most:
        return places
    return [places[round(i * (len(places) - 1) / max(1, most - 1))] for i in range(most)]


def _called(layer: str, ledger: Ledger) -> str | Message:
    """Label of a layer: its name, with its kind where the name is a bare number, as in nn.Sequential."""
    if layer.startswith(">"):
        return message("doctor.chart.before", "before {layer}", layer=layer[1:])
    kind = ledger.last("layer.kind", layer) if layer.rpartition(".")[2].isdigit() else ""
    return f"{layer} {kind}" if kind else layer
