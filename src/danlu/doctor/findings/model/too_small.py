"""Finding model.too_small: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from danlu.doctor.derived.layers import linear_layers, norms_of_one_value
from danlu.doctor.derived.progress import chance_loss, descent, last_loss, skills
from danlu.doctor.drawings.over_layers import widths
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.places import layer_place
from danlu.message import Message


def too_small(ledger: Ledger) -> Iterable[Finding]:
    """A layer too narrow for the number of classes, or a linear model that stays poor in training and validation."""
    skill, val_skill = (skills(ledger, "train") or [None])[-1], (skills(ledger, "val") or [None])[-1]
    layers, outputs = linear_layers(ledger), ledger.last("output.count", default=1)
    if skill is None or not layers or not math.isfinite(skill):
        return
    widths = {layer: _out_width(ledger, layer) for layer in layers[:-1]}
    epochs = len(ledger.values("loss.mean", "train"))
    facts: dict[str, Any] = {"skill": skill, "val_skill": val_skill, "layers": len(layers), "outputs": outputs}
    facts |= {"train": last_loss(ledger, "train"), "val": last_loss(ledger, "val"), "chance": chance_loss(ledger)}
    facts["course"] = _course(facts)
    layer = _bottleneck(ledger, layers, widths, outputs) if widths and skill < 0.8 else None
    if layer is not None:
        facts |= {"what": _narrow_text(layer, widths[layer], outputs), "width": widths[layer]}
        severity = "warning" if len(layers) <= 4 else "note"  # in deep networks it may be on a side branch
        yield Finding("model.too_small", severity, 0.9, layer, facts)
        return
    late = descent(ledger)
    if (
        val_skill is None
        or widths
        or epochs < 5
        or late is None
        or late > 0.05
        or skill > 0.85
        or skill - val_skill > 0.1
    ):
        return
    facts |= {"what": message("finding.model.too_small.no_hidden_layer", "the model has no hidden layer"), "width": 0}
    if skill > 0.05:
        yield Finding("model.too_small", "note", 0.7, layers[0], facts)
    elif abs(skill) < 0.05:
        yield Finding("model.too_small", "warning", 0.6, layers[0], facts)


def _course(facts: dict[str, Any]) -> Message:
    """Losses at the end of the training, of validation too where they are known."""
    if facts["val"] is None:
        return message(
            "finding.model.too_small.course_of_training",
            "Training ends at a loss of {train} (chance level {chance})",
            train=facts["train"],
            chance=facts["chance"],
        )
    return message(
        "finding.model.too_small.course",
        "Training ends at a loss of {train} and validation at {val} (chance level {chance})",
        **{name: facts[name] for name in ("train", "val", "chance")},
    )


def _bottleneck(ledger: Ledger, layers: list[str], widths: dict[str, int], outputs: int) -> str | None:
    """The narrowest hidden layer where it is too narrow for the classes, or one value that the next layer is given."""
    layer = min(widths, key=widths.__getitem__)
    kinds = ledger.facts("layer.kind")
    if norms_of_one_value(ledger):
        return None
    following = layers[layers.index(layer) + 1]
    linear = kinds.get(layer) == kinds.get(following) == "Linear"
    if linear and (ledger.last("layer.input_shape", following) or [widths[layer]])[-1] != widths[layer]:
        return None  # beside the path of the data, as the scores of attention
    if widths[layer] < 4 and widths[layer] < 0.5 * outputs and ledger.last("target.kind") == "classes":
        return layer
    return layer if linear and widths[layer] == 1 and ledger.has("layer.input_shape", following) else None


def _narrow_text(layer: str, width: int, outputs: int) -> Message:
    if width == 1:
        return message(
            "finding.model.too_small.one_unit",
            "All that {layer} passes on is one number per sample",
            layer=layer_place(layer),
        )
    return message(
        "finding.model.too_small.narrow",
        "{layer} has {width} outputs for {classes} classes",
        layer=layer_place(layer),
        width=width,
        classes=outputs,
    )


def _out_width(ledger: Ledger, layer: str) -> int:
    shape = ledger.last("layer.output_shape", layer) or [0, 10**9]
    return shape[1] if str(ledger.last("layer.kind", layer)).startswith("Conv") else shape[-1]


SPEC = FindingSpec(
    code="model.too_small",
    order=160,
    severities=(
        "warning",
        "note",
    ),
    rule=too_small,
    words=Words(
        title="The model is too small",
        cause="{what}. {course}: the model does not overfit, it lacks capacity.",
        fix="Add width, or a hidden layer with an activation.",
        snippet=(
            "model = nn.Sequential(nn.Flatten(), nn.LazyLinear(128), nn.ReLU(), nn.Linear(128, {outputs}))\n"
            "model(x)\n"
            "optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)"
        ),
    ),
    charts=(widths,),
    explains=(
        "activation.dead_relu",
        "activation.collapsed",
        "gradient.vanishing",
        "fit.*",
        "optim.*",
    ),
    contradicts=("model.too_large",),
    needs=(
        "loss.mean[train]",
        "layer.output_shape",
    ),
)
